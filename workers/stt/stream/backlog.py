"""Measures how far the audio sent is ahead of real time, as in a replay after a takeover.  Pure; seconds."""

from __future__ import annotations

FREE_S = 5.0
"""This much audio at once makes no vendor late; they document real time, and most are far quicker."""


class ReplayBacklog:
    """Counts the audio of one stream."""

    def __init__(self) -> None:
        self._done_at = 0.0  # when a vendor that works in real time has processed all

    def feed(self, audio_ms: float, now: float) -> None:
        """Take note of audio that is sent now."""
        self._done_at = max(self._done_at, now) + audio_ms / 1000

    def allowance_s(self, now: float) -> float:
        """The time to add to a deadline, so that a vendor that works in real time can keep it."""
        return max(0.0, self._done_at - now - FREE_S)
