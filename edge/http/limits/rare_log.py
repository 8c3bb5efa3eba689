"""A log line for what strangers can make happen as often as they like: one in a while for each reason.  Pure."""

from __future__ import annotations

QUIET_SECONDS = 60.0
"""Between two lines with the same reason."""


class RareLog:
    """`note` what happened; the reasons are a closed set."""

    def __init__(self) -> None:
        self._last_s: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def note(self, reason: str, now_s: float) -> int:
        """How many to write into a line now, the earlier ones without a line included; 0: write none."""
        count = self._unsaid.get(reason, 0) + 1
        if now_s - self._last_s.get(reason, float("-inf")) < QUIET_SECONDS:
            self._unsaid[reason] = count
            return 0
        self._last_s[reason], self._unsaid[reason] = now_s, 0
        return count
