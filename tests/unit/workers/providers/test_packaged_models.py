"""Models that come as packages: found without an import, and refused when they are not what was tested."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from workers.providers.interfaces import Down
from workers.providers.packaged_models import PackagedModel, model_path

pytestmark = pytest.mark.fast

WEIGHTS = b"weights" * 1000


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package that must not be imported."""
    name = f"voice_of_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name / "data"
    folder.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "voice.onnx").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def pinned(package: str, weights: bytes = WEIGHTS, path: str = "data/voice.onnx") -> PackagedModel:
    return PackagedModel(package, path, hashlib.sha256(weights).hexdigest(), "example-voice==1.0")


def test_a_model_is_found_without_importing_its_package(package: str, tmp_path: Path):
    assert model_path(pinned(package)) == tmp_path / package / "data" / "voice.onnx"


def test_a_changed_model_is_refused_until_it_is_repaired(package: str, tmp_path: Path):
    file = tmp_path / package / "data" / "voice.onnx"
    file.write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(Down, match=r"has changed.*--force-reinstall --no-deps example-voice==1.0.*change the pin"):
        model_path(pinned(package))
    file.write_bytes(WEIGHTS)
    assert model_path(pinned(package)) == file


@pytest.mark.parametrize("missing", ["package", "file"])
def test_a_missing_model_says_what_to_install(package: str, missing: str):
    model = pinned("no_such_voice_package") if missing == "package" else pinned(package, path="data/other.onnx")
    with pytest.raises(Down, match=r"not installed; run: pip install example-voice==1\.0"):
        model_path(model)


def test_the_file_is_read_once_per_process(package: str, tmp_path: Path):
    model = pinned(package)
    path = model_path(model)
    path.write_bytes(b"changed later")
    assert model_path(model) == path
