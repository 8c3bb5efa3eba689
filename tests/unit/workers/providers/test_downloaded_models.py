"""A model from a hub is loaded only if somebody has vouched for its SHA-256."""

import hashlib
from pathlib import Path

import pytest

from workers.providers.downloaded_models import known, verify
from workers.providers.interfaces import Down
from workers.stt.engines.whisper_decoder import downloaded
from workers.tts import piper_process

pytestmark = pytest.mark.fast

WEIGHTS = b"weights"
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def vouch(home: Path, *lines: str) -> None:
    (home / ".cache").mkdir(exist_ok=True)
    (home / ".cache" / "voice-models.sha256").write_text("\n".join(lines) + "\n")


def test_a_file_that_nobody_vouched_for_is_refused_with_the_line_to_add(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(WEIGHTS)
    with pytest.raises(Down, match=f"{DIGEST}  whisper-base/model.bin"):
        verify("whisper-base", [tmp_path / "model.bin"])
    vouch(tmp_path, "# compared on a Monday", f"{DIGEST}  whisper-base/model.bin")
    verify("whisper-base", [tmp_path / "model.bin"])


def test_a_file_that_is_another_now_is_refused(tmp_path: Path) -> None:
    vouch(tmp_path, f"{DIGEST}  piper/voice.onnx")
    (tmp_path / "voice.onnx").write_bytes(b"other weights")
    with pytest.raises(Down, match="is not the file"):
        verify("piper", [tmp_path / "voice.onnx"])


def test_each_file_needs_its_own_line(tmp_path: Path) -> None:
    for name in ("voice.onnx", "voice.onnx.json"):
        (tmp_path / name).write_bytes(WEIGHTS)
    vouch(tmp_path, f"{DIGEST}  piper/voice.onnx")
    with pytest.raises(Down, match=r"voice\.onnx\.json"):
        verify("piper", [tmp_path / "voice.onnx", tmp_path / "voice.onnx.json"])


@pytest.mark.parametrize("line", ["abc  piper/voice.onnx", f"{DIGEST} voice", "piper/voice.onnx"])
def test_a_line_that_is_none_is_told_by_its_number(tmp_path: Path, line: str) -> None:
    vouch(tmp_path, "# first", line)
    with pytest.raises(Down, match="line 2"):
        known(tmp_path / ".cache" / "voice-models.sha256")


def test_a_piper_voice_is_checked_before_it_is_used(tmp_path: Path) -> None:
    """Also one that lies there already: the folder may be a volume that others write."""
    for name in ("en_US-lessac-medium.onnx", "en_US-lessac-medium.onnx.json"):
        (tmp_path / name).write_bytes(WEIGHTS)
    pytest.importorskip("piper")
    with pytest.raises(Down, match=r"piper/en_US-lessac-medium\.onnx"):
        piper_process.download("en_US-lessac-medium", tmp_path)
    vouch(tmp_path, *(f"{DIGEST}  piper/en_US-lessac-medium.onnx{end}" for end in ("", ".json")))
    assert piper_process.download("en_US-lessac-medium", tmp_path).name == "en_US-lessac-medium.onnx"


def test_a_whisper_model_is_checked_before_any_of_it_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    for name in ("model.bin", "tokenizer.json"):
        (folder / name).write_bytes(WEIGHTS)
    with pytest.raises(Down, match=r"whisper-base/tokenizer\.json"):
        downloaded("base", lambda size: str(folder))
    vouch(tmp_path, *(f"{DIGEST}  whisper-base/{name}" for name in ("model.bin", "tokenizer.json")))
    assert downloaded("base", lambda size: str(folder)) == folder
