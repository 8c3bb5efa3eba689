"""Where the ears go on listening: what one member leaves for the next, or an edge for all after a loss.

It is the checkpoint of the pool "stt" in the ledger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from common.bus import START


@dataclass(frozen=True, slots=True)
class Resume:
    """`utterance` is the last that was understood, `entry` the one of the call's audio after which the next begins."""

    utterance: int = 0
    entry: str = START

    @classmethod
    def of(cls, checkpoint: str) -> Resume:
        """Read a checkpoint; an empty one is the beginning of the call."""
        note = json.loads(checkpoint) if checkpoint else {}
        return cls(int(note.get("utterance", 0)), str(note.get("entry", START)))

    def checkpoint(self) -> str:
        """As it is kept in the ledger."""
        return json.dumps({"utterance": self.utterance, "entry": self.entry})
