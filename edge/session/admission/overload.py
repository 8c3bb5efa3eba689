"""Is the event loop so late that another call would hurt those that are on the line?  Pure.

    calm ── late for more than 10 % of the last 5 s ──▶ overloaded ── half as late for at most 10 % of 5 s ──▶ calm

"Late" is a wake that came more than `lag_ms_max` after its time, and counts with all its lateness: a loop that stood
still for 300 ms was late for 300 ms, however few timers were waiting.  So the percentile is one over time, and an edge
with one call measures like one with hundreds.

Only new calls are turned away, at /answer, and only while there are others to protect.  Those that were answered get
their stream, for a caller who is refused then is worse off than one who is refused at once.
"""

from __future__ import annotations

from collections import deque

WINDOW_MS = 5000
LATE_SHARE = 0.1
"""Of the window: 500 ms.  Playing ahead (PLAYOUT_LEAD_MS) hides one hiccup, not that."""


class Overload:
    """`feed` it how late each wake of the loop was; ask `overloaded`."""

    def __init__(self, lag_ms_max: int) -> None:
        """0: never overloaded."""
        self._late, self._calm = _Lateness(lag_ms_max), _Lateness(lag_ms_max / 2)
        self._on = lag_ms_max > 0
        self._shedding = False

    def feed(self, now_ms: float, lag_ms: float) -> None:
        """A timer that was due at `now_ms - lag_ms` was woken at `now_ms`."""
        self._late.feed(now_ms, lag_ms)
        self._calm.feed(now_ms, lag_ms)

    def overloaded(self, now_ms: float) -> bool:
        """Should new calls go elsewhere?"""
        lateness = self._calm if self._shedding else self._late
        self._shedding = self._on and lateness.share(now_ms) > LATE_SHARE
        return self._shedding


class _Lateness:
    """The share of the window in which the loop was later than a limit."""

    def __init__(self, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._wakes: deque[tuple[float, float]] = deque()
        self._sum_ms = 0.0

    def feed(self, now_ms: float, lag_ms: float) -> None:
        self._forget(now_ms)
        if lag_ms > self._limit_ms:  # each is that long after the one before, so the window holds few
            self._wakes.append((now_ms, lag_ms))
            self._sum_ms += lag_ms

    def share(self, now_ms: float) -> float:
        self._forget(now_ms)
        return self._sum_ms / WINDOW_MS

    def _forget(self, now_ms: float) -> None:
        while self._wakes and self._wakes[0][0] <= now_ms - WINDOW_MS:
            self._sum_ms -= self._wakes.popleft()[1]
        if not self._wakes:
            self._sum_ms = 0.0  # no rest of rounding stays
