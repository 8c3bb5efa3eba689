"""Tells whether the caller speaks, or has just spoken and their words are not known yet.  Pure.

A reply to something else than speech, such as the late result of a tool, waits for that: it would be said into the
caller's words, or just before the answer to them.
"""

from __future__ import annotations

from common.protocol.messages import Message, OwnerChanged, SpeechEnded, SpeechStarted, UserTurn

WORDS_MS = 1_200
"""How long after the end of a speech its words may come; a noise has none."""


class CallerFloor:
    """Call `receive` with every event; `now_ms` is of any one monotonic clock."""

    def __init__(self) -> None:
        self._is_speaking = False
        self._free_from_ms = 0.0

    def receive(self, message: Message, now_ms: float) -> None:
        """Fold one event."""
        match message:
            case SpeechStarted():
                self._is_speaking = True
            case SpeechEnded():
                self._is_speaking, self._free_from_ms = False, now_ms + WORDS_MS
            case UserTurn() | OwnerChanged(pool="stt"):  # a new owner reports again what goes on
                self._is_speaking, self._free_from_ms = False, 0.0
            case _:
                pass

    def is_taken(self, now_ms: float) -> bool:
        """Whether a reply that answers no speech has to wait."""
        return self._is_speaking or now_ms < self._free_from_ms

    def wake_ms(self, now_ms: float) -> float | None:
        """When it is free if nothing happens before; None: it is free, or the caller speaks."""
        return self._free_from_ms if not self._is_speaking and now_ms < self._free_from_ms else None
