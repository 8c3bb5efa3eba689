"""A worker that cannot do its work says what to do, and does not start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.e2e


def test_without_a_usable_voice_a_worker_names_it_and_the_setting(tmp_path: Path) -> None:
    agent = "greeting: Hello.\ninstructions: Be kind.\nvoice: Rachel\n"
    (tmp_path / "desk.yaml").write_text(agent)
    environ = {**os.environ, "HOME": str(tmp_path), "TTS_PROVIDER": "local/piper-nobody", "AGENTS_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "workers.tts"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "nobody" in ended.stderr and "TTS_PROVIDER" in ended.stderr
    assert "the voice 'Rachel' of the agent 'desk'" in ended.stderr
