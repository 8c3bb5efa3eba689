"""Models that are fetched at the first use: nothing of them is read before somebody has vouched for its SHA-256.

A hub serves what its owner puts there today.  So the checksums stand in a file of the operator's, as `sha256sum` writes
it, with the engine before the file's name:

    $HOME/.cache/voice-models.sha256
    8f6c…e1  piper/en_US-lessac-medium.onnx
    0d1f…a7  whisper-base/model.bin

Without a line for each file the engine is refused, with the lines that were found: whoever has compared them with the
publisher's appends them.  Files are read whole at every start: one that was changed on the disk is refused, too.
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
    """Where the operator's checksums are: in the home, which is the volume `/models` in the image."""
    return Path.home() / ".cache" / "voice-models.sha256"


def known(file: Path) -> dict[str, str]:
    """Name -> SHA-256; empty without the file.  Raises `Down` on a line that is none."""
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
    """See that every file is one that was vouched for.  Blocks for a read of all; call it off the event loop.

    Raises `Down`: with the lines to add if there are none, or the name of the file that is another.
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
            f"nobody has vouched for {engine}'s downloaded files, and they were not loaded. Compare these SHA-256 with "
            f"the publisher's, then append them to {file}: " + "; ".join(missing)
        )
