"""Where the ears go on listening: what one member leaves for the next, or an edge for all after a loss.

It is the checkpoint of the pool "stt" in the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from common.bus import START
from common.process.skipped import unreadable

_ENTRY = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class ListeningPosition:
    """`utterance` is the last that was understood, `entry` the one of the call's audio after which the next begins."""

    utterance: int = 0
    entry: str = START

    @classmethod
    def of(cls, checkpoint: str) -> ListeningPosition:
        """Read a checkpoint; an empty one, or one that cannot be read, is the beginning of the call."""
        if not checkpoint:
            return cls()
        try:
            found = msgspec.json.decode(checkpoint, type=cls)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            found = None
        if found is None or found.utterance < 0 or not _ENTRY.fullmatch(found.entry):
            unreadable("checkpoint")
            return cls()
        return found

    def checkpoint(self) -> str:
        """As it is kept in the ledger."""
        return msgspec.json.encode(self).decode()
