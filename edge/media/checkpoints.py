"""Names the checkpoints sent to the carrier: `epoch.turn.clause`.  Pure."""

from __future__ import annotations

import re

from edge.media.playout import Checkpoint

_NAME = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")


def name_of(checkpoint: Checkpoint, epoch: int) -> str:
    """The name of the checkpoint on the connection with this epoch."""
    return f"{epoch}.{checkpoint.turn}.{checkpoint.clause}"


def checkpoint_of(name: str, epochs: range) -> Checkpoint | None:
    """The checkpoint with this name; None if the name is malformed or of an epoch outside `epochs`."""
    parts = _NAME.fullmatch(name)
    if parts is None or int(parts[1]) not in epochs:
        return None
    return Checkpoint(int(parts[2]), int(parts[3]))
