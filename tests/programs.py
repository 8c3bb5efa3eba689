"""Programs that some tests need and `make test` does not install: skipped with a word without one, failed in CI.

A laptop that the README describes has none of them.  `CI=true`, as every CI sets it, says that they must be there.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

REMEDIES = {
    "amtool": "apt-get install prometheus-alertmanager",
    "check-jsonschema": "make install-dev",
    "docker-compose": "make install-dev",
    "espeak-ng": "apt-get install espeak-ng",
    "hadolint": "make install-dev",
    "kubectl": "make install-dev",
    "nginx": "apt-get install nginx-light",
    "openssl": "apt-get install openssl",
    "prometheus": "apt-get install prometheus",
    "prometheus-alertmanager": "apt-get install prometheus-alertmanager",
    "promtool": "apt-get install prometheus",
    "redis-cli": "apt-get install redis-server",
    "redis-server": "apt-get install redis-server",
}


def program(name: str) -> str:
    """The path of a program, beside this Python or on the PATH; without it the test is skipped, in CI failed."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    return found or without(f"{name} is not installed: {REMEDIES.get(name, 'see docs/testing.md')}")


def without(message: str) -> NoReturn:
    """Something optional is missing: skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
