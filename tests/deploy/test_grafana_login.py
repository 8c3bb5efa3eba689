"""Grafana in Compose: a password of one's own, or no login at all, and never the one that everybody knows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose_file import ROOT, environment, services

pytestmark = pytest.mark.processes

START = ROOT / "deploy/grafana/start.sh"
OFF = {
    "GF_AUTH_DISABLE_LOGIN_FORM": "true",
    "GF_AUTH_BASIC_ENABLED": "false",
    "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
}


def started(tmp_path: Path, **given: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the environment that Grafana would be started with."""
    run = tmp_path / "run.sh"
    run.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    run.chmod(0o755)
    ran = subprocess.run(
        ["sh", START],
        env={"PATH": os.environ["PATH"], "GRAFANA_RUN": str(run), **given},
        timeout=10,
        capture_output=True,
    )
    seen = tmp_path / "seen"
    lines = seen.read_text().splitlines() if seen.exists() else []
    return ran.returncode, dict(line.split("=", 1) for line in lines if "=" in line)


def grafana(tmp_path: Path, dot_env: str) -> dict[str, str]:
    file = tmp_path / "env"
    file.write_text(dot_env)
    return environment(services(("dashboards",), file)["grafana"])


def test_without_a_password_nobody_can_log_in(tmp_path: Path) -> None:
    given = grafana(tmp_path, "")
    assert given["GF_SECURITY_ADMIN_PASSWORD"] == ""
    code, seen = started(tmp_path, **given)
    assert code == 0 and OFF.items() <= seen.items() and "GF_SECURITY_ADMIN_PASSWORD" not in seen
    assert seen["GF_AUTH_ANONYMOUS_ENABLED"] == "true" and seen["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_with_a_password_of_ones_own_admin_can(tmp_path: Path) -> None:
    code, seen = started(tmp_path, **grafana(tmp_path, "GRAFANA_PASSWORD=correct horse"))
    assert code == 0 and seen["GF_SECURITY_ADMIN_PASSWORD"] == "correct horse" and not OFF.keys() & seen.keys()


def test_the_password_that_everybody_knows_is_refused(tmp_path: Path) -> None:
    code, seen = started(tmp_path, **grafana(tmp_path, "GRAFANA_PASSWORD=admin"))
    assert code == 1 and not seen


@pytest.mark.parametrize("name", ["grafana", "prometheus", "alertmanager"])
def test_it_is_reached_from_this_machine_only_and_has_no_password_of_its_own(name: str) -> None:
    service = services(("dashboards", "alerts"))[name]
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    assert "admin" not in [*environment(service).values(), *(service.get("command") or [])]
    if name == "grafana":
        folder = next(mount["target"] for mount in service["volumes"] if mount["source"] == str(START.parent))
        assert service["entrypoint"] == ["sh", f"{folder}/{START.name}"]
