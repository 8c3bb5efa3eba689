"""Defines the checkpoint of the pool "stt": the position from which the next STT worker reads a call.

A member leaves it for the next one, or an edge writes it after Redis lost the call.
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
    """`utterance`: the last final transcript.  `entry`: the entry of the call's audio after which the next begins."""

    utterance: int = 0
    entry: str = START

    @classmethod
    def of(cls, checkpoint: str) -> ListeningPosition:
        """Read a checkpoint; an empty or unreadable one is the beginning of the call.  Never raises."""
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
        """The text that is kept in the call store."""
        return msgspec.json.encode(self).decode()
