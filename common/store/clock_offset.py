"""Measures how far this host's clock is from that of the server with the calls.

No decision depends on it: what one host judges about another is decided by the server's clock.  But `stage_ms` come
from the hosts' clocks, and latencies are worthless if one is seconds off.
"""

from __future__ import annotations

from common.telemetry import metrics

ROUND_TRIP_MS_MAX = 500
"""Longest round trip of a usable reading, which may be wrong by half of it."""


def clock_offset_s(asked_ms: int, server_ms: int, answered_ms: int) -> float | None:
    """Seconds by which this host's clock is ahead of the server's; None if the answer took too long, or time went back.

    `asked_ms` and `answered_ms` are Unix ms of this host; the server read its clock between them.
    """
    if not 0 <= answered_ms - asked_ms <= ROUND_TRIP_MS_MAX:
        return None
    return ((asked_ms + answered_ms) / 2 - server_ms) / 1000


def note_clock_offset(server: str, asked_ms: int, server_ms: int, answered_ms: int) -> None:
    """Report the offset as a metric; `server` is the server's number in REDIS_URL."""
    if (offset_s := clock_offset_s(asked_ms, server_ms, answered_ms)) is not None:
        metrics.CLOCK_OFFSET_SECONDS.labels(server).set(offset_s)
