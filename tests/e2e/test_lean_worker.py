"""A worker of an image without engines, and without a key: what it says, before it stops."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.processes
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "onnxruntime", "faster_whisper", "soxr", "piper"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = [sys.argv[1]]
import runpy
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(("pool", "key"), [("stt", "DEEPGRAM_API_KEY"), ("tts", "ELEVENLABS_API_KEY")])
def test_it_names_the_variables_to_set_before_anything_else(pool: str, key: str, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, f"workers.{pool}"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    variable, _, told = ended.stderr.partition(": set ")
    assert variable == f"{pool.upper()}_PROVIDER" and key in told.partition(":")[0]
    assert "voice-local" in ended.stderr
