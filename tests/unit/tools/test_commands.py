"""The commands as a newcomer tries them: `--help`, from another folder, with a host of one's own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tools.install import make_importable
from tools.ports import is_free

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = {
    "edge": "python -m edge",
    "edge.call": "python -m edge.call",
    "edge.setup": "python -m edge.setup",
    "edge.recordings": "python -m edge.recordings",
    "workers.stt": "python -m workers.stt",
    "workers.llm": "python -m workers.llm",
    "workers.tts": "python -m workers.tts",
    "workers.tools": "python -m workers.tools",
    "tools.run": "make run",
    "tools.demo": "make demo",
}


def ran(*command: str, folder: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("module", PROGRAMS)
def test_help_tells_and_starts_nothing(module: str) -> None:
    """A Redis that is not there, and a setting that is none, would be met by a process that starts."""
    told = ran(sys.executable, "-m", module, "--help", REDIS_URL="nonsense", CALLS_MAX="many")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"usage: {PROGRAMS[module]} ")


@pytest.mark.parametrize("module", ["edge", "workers.stt", "workers.llm", "workers.tts", "workers.tools", "tools.run"])
def test_an_argument_that_means_nothing_is_refused(module: str) -> None:
    refused = ran(sys.executable, "-m", module, "--prot", "8010")
    assert refused.returncode == 2 and "unrecognized arguments: --prot 8010" in refused.stderr


def test_the_installer_tells_too() -> None:
    told = ran(sys.executable, "tools/install.py", "--help")
    assert told.returncode == 0 and "requirements.lock" in told.stdout


def test_commands_work_from_any_folder(tmp_path: Path) -> None:
    """As `make install` leaves them: the repository is on the path of the virtual environment."""
    make_importable(tmp_path)
    make_importable(tmp_path)
    program = (
        "import site, sys; site.addsitedir(sys.argv[1]); import edge.call; from common.settings import Settings; "
        "print(edge.call.__file__, Settings().agents_folder)"
    )
    told = ran(sys.executable, "-c", program, str(tmp_path), folder=tmp_path)
    assert told.stdout.split() == [str(ROOT / "edge/call.py"), str(ROOT / "agents")], told.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1"])
def test_a_port_is_taken_on_its_own_address(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(host, port)
        if host == "127.0.0.2":
            assert is_free("127.0.0.1", port)
    assert is_free(host, port)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(OSError, match=r"[Aa]ssign|address"):
        is_free("192.0.2.1", 8000)
