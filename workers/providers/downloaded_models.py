"""Verifies downloaded models: no file is loaded before an operator has confirmed its SHA-256.

A hub serves whatever its owner publishes at the time.  So the checksums are in a file of the operator, as `sha256sum`
writes it, with the engine in front of the file's name:

    $HOME/.cache/voice-models.sha256
    8f6c…e1  piper/en_US-lessac-medium.onnx
    0d1f…a7  whisper-base/model.bin

Without a line for each file the engine is refused, with the lines that were computed; the operator compares them with
the publisher's and appends them.  Files are read whole at every start, so a file that was changed on disk is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from workers.providers.interfaces import Down

CHECKSUMS_BYTES_MAX = 1 << 20
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")


def checksums_file() -> Path:
    """The path of the operator's checksums, in the home folder, which is the volume `/models` in the image."""
    return Path.home() / ".cache" / "voice-models.sha256"


def known(file: Path) -> dict[str, str]:
    """Name -> SHA-256; empty without the file.  Raises `Down` for an invalid line."""
    if not file.is_file():
        return {}
    found = {}
    for number, line in enumerate(file.read_text("utf-8")[:CHECKSUMS_BYTES_MAX].splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if match:
            found[match[2]] = match[1]
        elif line.strip() and not line.startswith("#"):
            raise Down(f"{file}: line {number} is not `<sha256>  <engine>/<file>`")
    return found


def verify(engine: str, files: Sequence[Path], checksums: Path | None = None) -> None:
    """Verify every file against the confirmed checksums.  Reads all of them; call it off the event loop.

    Raises `Down` with the lines to add if some are missing, or with the name of a file that differs.
    """
    file = checksums or checksums_file()
    wanted = known(file)
    missing = []
    for path in files:
        name = f"{engine}/{path.name}"
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if name not in wanted:
            missing.append(f"{digest}  {name}")
        elif wanted[name] != digest:
            raise Down(f"{name} is not the file that {file} names: its SHA-256 is {digest[:12]}…; it was not loaded")
    if missing:
        raise Down(
            f"{engine}'s downloaded files are not confirmed, and they were not loaded. Compare these SHA-256 with "
            f"the publisher's, then append them to {file}: " + "; ".join(missing)
        )
