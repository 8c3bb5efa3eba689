"""A reply that was made before the caller's turn was over: kept at the edge until its `Release`.  Pure.

Audio and release come on different streams, in any order: a reply that is released before its audio is here is not
kept at all.  A newer reply replaces what is kept; nobody has heard it.
"""

from __future__ import annotations

from typing import TypeAlias

from common.protocol.messages import AudioOut, ReplySynthesized

KEPT_MAX = 1_000
"""Messages kept of one reply; with ten frames in each, more than the mouth makes ahead of time."""

Kept: TypeAlias = AudioOut | ReplySynthesized


class HeldReply:
    """One call's."""

    def __init__(self) -> None:
        self._turn = 0
        self._kept: list[Kept] = []
        self._released = 0

    def released(self, turn: int) -> bool:
        """May this reply be heard?  One before the released was taken back: its audio may come late, but not in."""
        return turn == self._released

    def keep(self, message: Kept) -> bool:
        """Keep a part of a tentative reply; False if there is no room, or a newer reply is kept."""
        if message.turn < self._turn or len(self._kept) >= KEPT_MAX:
            return False
        if message.turn > self._turn:
            self._turn = message.turn
            self._kept.clear()
        self._kept.append(message)
        return True

    def release(self, turn: int) -> None:
        """This reply is the answer."""
        self._released = max(self._released, turn)

    def take(self, turn: int) -> list[Kept]:
        """What was kept of this reply, in order; older ones are forgotten."""
        if turn < self._turn:
            return []
        kept, self._kept = self._kept, []
        return kept if turn == self._turn else []
