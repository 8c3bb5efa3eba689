"""`docker` and `docker compose` as a tester uses them: the project's own file, no .env, a project name of our own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "voice-test"
COMMAND_SECONDS = 120.0
OUTPUT_CHARS = 4000
OURS = ("edge", "stt", "llm", "tts", "tools", "redis")


class NoEngine(Exception):
    """There is no Docker engine with Compose; the text says what is missing."""


class Failed(Exception):
    """A command or a call did not do what it should; the text has its last words."""


@dataclass(slots=True)
class Engine:
    """One Compose project.  `settings` are what a .env would hold."""

    settings: dict[str, str] = field(default_factory=lambda: {"HTTP_PORT": str(free_port())})

    @classmethod
    def found(cls) -> Engine:
        """The engine of this machine.  Raises NoEngine."""
        for command in (("info",), ("compose", "version")):
            try:
                ran = subprocess.run(["docker", *command], capture_output=True, text=True, timeout=30)
            except FileNotFoundError:
                raise NoEngine("the program `docker` is not installed") from None
            if ran.returncode:
                raise NoEngine(f"`docker {' '.join(command)}` failed: {ran.stderr.strip()[-200:]}")
        return cls()

    def compose(self, *arguments: str, seconds: float = COMMAND_SECONDS, code: int | None = 0) -> str:
        """What the command prints.  Raises Failed if it takes too long or ends with another code (None: any)."""
        return self._run(["docker", "compose", *self._project(), *arguments], seconds, code)

    def docker(self, *arguments: str, seconds: float = COMMAND_SECONDS, code: int | None = 0) -> str:
        """The same for `docker` itself."""
        return self._run(["docker", *arguments], seconds, code)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A `docker compose` command in the background; its output is in its `stdout`."""
        command = ["docker", "compose", *self._project(), *arguments]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def containers(self) -> dict[str, list[str]]:
        """Service -> names of its containers that run, `run` ones left out."""
        found: dict[str, list[str]] = {}
        for line in self.compose("ps", "--format", "json").splitlines():
            for one in _objects(line):
                if one["State"] == "running" and "-run-" not in one["Name"]:
                    found.setdefault(one["Service"], []).append(one["Name"])
        return {service: sorted(names) for service, names in found.items()}

    def exit_codes(self) -> dict[str, int]:
        """Service -> the highest exit code of its containers that have stopped."""
        codes: dict[str, int] = {}
        for line in self.compose("ps", "--all", "--format", "json").splitlines():
            for one in _objects(line):
                if one["State"] == "exited":
                    codes[one["Service"]] = max(codes.get(one["Service"], 0), int(one["ExitCode"]))
        return codes

    def logs(self, service: str, since: str = "") -> str:
        """The log of a service."""
        return self.compose("logs", "--no-color", "--no-log-prefix", *(["--since", since] if since else []), service)

    def megabytes(self, image: str) -> float:
        """The size of an image, its base included."""
        return int(self.docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6

    def _project(self) -> Sequence[str]:
        return ("--project-name", PROJECT, "--env-file", os.devnull)

    def _environ(self) -> dict[str, str]:
        passed = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "PIP_INDEX_URL")
        passed += ("PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
        return {name: os.environ[name] for name in passed if name in os.environ} | self.settings

    def _run(self, command: list[str], seconds: float, code: int | None) -> str:
        try:
            ran = subprocess.run(
                command,
                cwd=ROOT,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"`{_shown(command)}` took more than {seconds:.0f} s") from None
        if code is not None and ran.returncode != code:
            raise Failed(f"`{_shown(command)}` ended with {ran.returncode}:\n{ran.stdout[-OUTPUT_CHARS:]}")
        return ran.stdout


def _shown(command: list[str]) -> str:
    return " ".join(word for word in command if word not in ("--project-name", PROJECT, "--env-file", os.devnull))


def _objects(line: str) -> list[dict[str, str]]:
    """One object a line, or one list of them: Compose has printed both."""
    if not line.startswith(("{", "[")):
        return []
    read = json.loads(line)
    return read if isinstance(read, list) else [read]
