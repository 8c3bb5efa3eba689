"""A child process gets none of our secrets: neither Piper's, which parses models, nor eSpeak's."""

import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.settings import Settings
from tests.deadlines import WAIT_S
from workers.providers.child_environment import DOWNLOADS, NEEDED, child_environment
from workers.providers.interfaces import Down, ProviderError, VoiceOptions
from workers.tts.engines.local_espeak import LocalEspeak
from workers.tts.engines.piper_child import Deadlines, PiperChild

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

VARIABLES = sorted(Settings.variables())
ROOT = Path(__file__).resolve().parents[4]
SECRETS = sorted(item.name.upper() for item in dataclasses.fields(Settings) if item.metadata["rule"].secret)


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is set that a process of ours may read, and what others keep in an environment."""
    for name in (*VARIABLES, "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"secret of {name}")


def test_no_setting_of_ours_is_among_what_a_child_is_given() -> None:
    assert not (NEEDED | DOWNLOADS) & set(VARIABLES)
    assert not [value for value in child_environment().values() if value.startswith("secret of")]
    assert [n for n, v in child_environment(downloads=True).items() if v.startswith("secret of")] == ["HTTPS_PROXY"]


def seen(folder: Path) -> set[str]:
    return set((folder / "seen").read_text().split())


async def test_espeak_sees_no_secret(tmp_path: Path) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text(f"#!/bin/sh\nenv | sed 's/=.*//' > {tmp_path}/seen\n")
    program.chmod(0o755)
    with pytest.raises(ProviderError):
        async for _ in LocalEspeak(program=str(program)).say("Hello.", VoiceOptions()):
            pass
    assert not seen(tmp_path) & {*SECRETS, *VARIABLES, "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"}


@pytest.mark.parametrize("downloads", [False, True])
async def test_piper_sees_no_secret(tmp_path: Path, downloads: bool) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nenv | sed 's/=.*//' > {tmp_path}/seen\n")
    python.chmod(0o755)
    child = PiperChild(lambda: ["--voice", "x"] if downloads else ["--model", "x"], Deadlines(), str(python))
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(Down):
            await child.ready()
        await child.aclose()
    assert not seen(tmp_path) & {*SECRETS, *VARIABLES, "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"}
    assert ("HTTPS_PROXY" in seen(tmp_path)) == downloads


def test_a_child_of_the_same_user_cannot_read_its_parents_environment_instead() -> None:
    """Root may, so what is looked at is the switch that the kernel goes by."""
    program = (
        "import ctypes; from workers.providers.child_environment import child_environment; "
        "ask = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0); "
        "before = ask(); child_environment(); print(before, ask())"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ran.stdout.split() == ["1", "0"], ran.stderr


def test_another_process_of_the_same_user_is_refused() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    program = (
        "import ctypes, os, subprocess; from workers.providers.child_environment import child_environment; "
        "os.setuid(65534); ctypes.CDLL(None).prctl(4, 1, 0, 0, 0); given = child_environment(); "
        "print(subprocess.run(['cat', f'/proc/{os.getpid()}/environ'], env=given, capture_output=True).returncode)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ran.stdout.strip() == "1", ran.stderr
