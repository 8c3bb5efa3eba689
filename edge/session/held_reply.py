"""Holds the parts of a reply that was made before the caller's turn was over, until its `ReplyReleased`.  Pure.

Audio and release arrive on different streams, in any order: a reply that is released before its audio arrives is not
held at all.  A newer reply replaces the held one, which the caller has not heard.
"""

from __future__ import annotations

from typing import TypeAlias

from common.protocol.messages import AudioOut, ReplySynthesized

KEPT_MAX = 1_000
"""Messages kept of one reply; at ten frames each, more than a TTS worker synthesizes ahead of time."""

Part: TypeAlias = AudioOut | ReplySynthesized


class HeldReply:
    """The held reply of one call."""

    def __init__(self) -> None:
        self._turn = 0
        self._kept: list[Part] = []
        self._released = 0

    def admit(self, message: Part) -> list[Part] | None:
        """The parts to play now, in order, `message` last; empty while it is held, None if it could not be kept."""
        if message.held and not self.released(message.turn):
            return [] if self.keep(message) else None
        return [*self.take(message.turn), message]

    def released(self, turn: int) -> bool:
        """Whether this reply may be heard.  Replies before the released one were discarded; late audio of them is not
        played.
        """
        return turn == self._released

    def keep(self, message: Part) -> bool:
        """Keep a part of a preemptive reply; False if there is no room, or if a newer reply is kept."""
        if message.turn < self._turn or len(self._kept) >= KEPT_MAX:
            return False
        if message.turn > self._turn:
            self._turn = message.turn
            self._kept.clear()
        self._kept.append(message)
        return True

    def release(self, turn: int) -> None:
        """This reply answers the caller's turn: it may be heard."""
        self._released = max(self._released, turn)

    def take(self, turn: int) -> list[Part]:
        """Remove and return the kept parts of this reply, in order; parts of older replies are discarded."""
        if turn < self._turn:
            return []
        kept, self._kept = self._kept, []
        return kept if turn == self._turn else []
