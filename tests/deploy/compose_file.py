"""docker-compose.yml as Compose itself reads it: anchors merged, variables filled in, profiles chosen."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.programs import program

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_SECONDS = 30
PROFILES = ("providers", "demo", "tunnel", "metrics", "dashboards", "alerts")


def compose(*arguments: str, profiles: tuple[str, ...] = (), env_file: Path = Path(os.devnull)) -> str:
    """What `docker compose config …` prints, whatever `.env` and the shell say here.  Needs no Docker."""
    command = [program("docker-compose"), "--file", str(ROOT / "docker-compose.yml"), "--env-file", str(env_file)]
    command += [word for profile in profiles for word in ("--profile", profile)]
    ran = subprocess.run(
        [*command, "config", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=COMPOSE_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def services(profiles: tuple[str, ...] = (), env_file: Path = Path(os.devnull)) -> dict[str, dict[str, Any]]:
    """The services by name."""
    read: dict[str, dict[str, Any]] = project(profiles, env_file)["services"]
    return read


def project(profiles: tuple[str, ...] = (), env_file: Path = Path(os.devnull)) -> dict[str, Any]:
    """The whole file."""
    read: dict[str, Any] = json.loads(compose("--format", "json", profiles=profiles, env_file=env_file))
    return read


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """The variables that are set in a container of it, beside the image's own."""
    given = service.get("environment") or {}
    return {name: str(value) for name, value in given.items() if value is not None}


def seconds(duration: str) -> float:
    """`1m30s` as 90."""
    total, digits = 0.0, ""
    for character in duration:
        if character.isdigit() or character == ".":
            digits += character
        else:
            total += float(digits) * {"h": 3600, "m": 60, "s": 1}[character]
            digits = ""
    return total
