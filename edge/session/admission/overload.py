"""Detects that the event loop is so late that another call would harm those in progress.  Pure.

    calm ── late for more than 10 % of the last 5 s ──▶ overloaded ── half as late for at most 10 % of 5 s ──▶ calm

A wake is late if it comes more than `lag_ms_max` after its time, and it counts with all its lateness: a loop that stood
still for 300 ms was late for 300 ms, however few timers were waiting.  So the share is one of time, and an edge with
one call measures like one with hundreds.

Only new calls are refused, at /answer, and only while there are others to protect.  A call that was answered gets its
stream: a caller who is refused then is worse off than one who is refused at once.
"""

from __future__ import annotations

from collections import deque

WINDOW_MS = 5000
LATE_SHARE = 0.1
"""Share of the window: 500 ms.  Playing ahead (PLAYOUT_LEAD_MS) hides one stall, not that much."""


class Overload:
    """Feed it the lateness of each wake of the loop, and ask `overloaded`."""

    def __init__(self, lag_ms_max: int) -> None:
        """`lag_ms_max` 0: never overloaded."""
        self._late, self._calm = _Lateness(lag_ms_max), _Lateness(lag_ms_max / 2)
        self._on = lag_ms_max > 0
        self._shedding = False

    def feed(self, now_ms: float, lag_ms: float) -> None:
        """A timer that was due at `now_ms - lag_ms` was woken at `now_ms`."""
        self._late.feed(now_ms, lag_ms)
        self._calm.feed(now_ms, lag_ms)

    def overloaded(self, now_ms: float) -> bool:
        """Whether new calls should be refused."""
        lateness = self._calm if self._shedding else self._late
        self._shedding = self._on and lateness.share(now_ms) > LATE_SHARE
        return self._shedding


class _Lateness:
    """The share of the window by which the loop was later than a limit."""

    def __init__(self, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._wakes: deque[tuple[float, float]] = deque()
        self._sum_ms = 0.0

    def feed(self, now_ms: float, lag_ms: float) -> None:
        self._forget(now_ms)
        if lag_ms > self._limit_ms:  # a wake follows the one before by its lag, so the window holds few
            self._wakes.append((now_ms, lag_ms))
            self._sum_ms += lag_ms

    def share(self, now_ms: float) -> float:
        self._forget(now_ms)
        return self._sum_ms / WINDOW_MS

    def _forget(self, now_ms: float) -> None:
        while self._wakes and self._wakes[0][0] <= now_ms - WINDOW_MS:
            self._sum_ms -= self._wakes.popleft()[1]
        if not self._wakes:
            self._sum_ms = 0.0  # clears rounding errors
