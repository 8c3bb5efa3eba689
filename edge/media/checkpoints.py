"""What our checkpoints are called at the carrier: `epoch.turn.clause`."""

from __future__ import annotations

import re

from edge.media.playout import Mark

_NAME = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")


def name_of(mark: Mark, epoch: int) -> str:
    """The checkpoint's name on a connection."""
    return f"{epoch}.{mark.turn}.{mark.clause}"


def mark_of(name: str, epochs: range) -> Mark | None:
    """The checkpoint of this name, if it is one of this connection's."""
    parts = _NAME.fullmatch(name)
    if parts is None or int(parts[1]) not in epochs:
        return None
    return Mark(int(parts[2]), int(parts[3]))
