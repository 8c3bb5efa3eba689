"""How long the check of a configuration takes, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[3]


def test_it_takes_less_than_a_second_and_loads_no_engine() -> None:
    """Measured in a process of its own, for every vendor at once."""
    program = (
        "import sys, time; began = time.process_time()\n"
        "from common.process.env_file import EnvFile\nfrom pathlib import Path\nfrom tools.check import check\n"
        "specs = {'STT_PROVIDER': 'local/whisper-small,deepgram/nova-3,sarvam/saaras:v3,cartesia/ink-whisper',"
        "'LLM_PROVIDER': 'openai/gpt-4o-mini,local/receptionist',"
        "'TTS_PROVIDER': 'local/piper,openai/tts-1,elevenlabs/eleven_flash_v2_5,deepgram/aura-2-luna-en'}\n"
        "keys = {f'{name}_API_KEY': 'k' for name in ('OPENAI', 'DEEPGRAM', 'SARVAM', 'CARTESIA', 'ELEVENLABS')}\n"
        "found = check(EnvFile(Path('.env')), {**specs, **keys})\nassert not found.mistakes, found.mistakes\n"
        "print([m for m in ('numpy', 'openai', 'onnxruntime', 'faster_whisper', 'piper') if m in sys.modules])\n"
        "print(time.process_time() - began)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    loaded, seconds = ended.stdout.splitlines()
    assert loaded == "[]" and float(seconds) < 1.0, ended
