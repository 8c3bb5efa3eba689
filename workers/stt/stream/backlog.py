"""How far the audio fed is ahead of real time, as it is when an utterance is heard again.  Pure; seconds."""

from __future__ import annotations

FREE_S = 5.0
"""So much a vendor takes at once without being late for it; they document real time, and most are far quicker."""


class ReplayBacklog:
    """Counts one ear's audio."""

    def __init__(self) -> None:
        self._done_at = 0.0  # when a vendor that works in real time will have heard all

    def feed(self, audio_ms: float, now: float) -> None:
        """Take note of audio that is sent now."""
        self._done_at = max(self._done_at, now) + audio_ms / 1000

    def allowance_s(self, now: float) -> float:
        """What to add to a deadline, so that a vendor who works in real time can keep it."""
        return max(0.0, self._done_at - now - FREE_S)
