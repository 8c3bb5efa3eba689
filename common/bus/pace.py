"""Decides how long a lane gathers messages: longer, the more of them pass.  Pure; the clock is passed in.

A write or a read costs the same for one message and for fifty, and most of its price is the wake-up of both processes.
With few calls there is nobody to share that price with, so a caller should not wait for it.
"""

from __future__ import annotations

QUIET_PER_S = 250.0
"""Up to so many messages a second, of five calls, nothing is gathered: a timer would only be a further wake-up."""
BUSY_PER_S = 5_000.0
"""Messages a second from which on the longest delay is used: the frames of 100 calls in one direction."""
WINDOW_S = 0.1
"""The rate is counted over this time."""


class LoadPace:
    """The delay of one reader or writer: none while it is quiet, then between `least_ms` and `most_ms`."""

    def __init__(self, least_ms: float, most_ms: float) -> None:
        self._least_s = least_ms / 1000
        self._range_s = max(0.0, most_ms - least_ms) / 1000
        self._count = 0
        self._since_s = 0.0
        self.delay_s = 0.0
        """How long to gather now, in seconds."""

    def passed(self, messages: int, now_s: float) -> None:
        """Count messages that passed at `now_s`, in seconds of any monotonic clock."""
        self._count += messages
        elapsed_s = now_s - self._since_s
        if elapsed_s < WINDOW_S:
            return
        per_s = self._count / elapsed_s
        self.delay_s = self._least_s + self._range_s * min(1.0, per_s / BUSY_PER_S) if per_s > QUIET_PER_S else 0.0
        self._count, self._since_s = 0, now_s
