"""Limits log lines that strangers can cause: one per minute and reason.  Pure."""

from __future__ import annotations

QUIET_SECONDS = 60.0
"""Pause between two lines with the same reason."""


class RareLog:
    """Counts events by reason; the reasons must be a closed set."""

    def __init__(self) -> None:
        self._last_s: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def note(self, reason: str, now_s: float) -> int:
        """Count an event; returns the number to log now, including unlogged earlier ones, or 0 to log nothing."""
        count = self._unsaid.get(reason, 0) + 1
        if now_s - self._last_s.get(reason, float("-inf")) < QUIET_SECONDS:
            self._unsaid[reason] = count
            return 0
        self._last_s[reason], self._unsaid[reason] = now_s, 0
        return count
