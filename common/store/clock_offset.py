"""How far this host's clock is from that of the server that has the calls.

Nothing is decided by it: where one host judges what another wrote, the server's own clock does.  But the stamps of an
answer's stages are of the hosts' clocks, and a clock that is seconds off makes their figures worthless.
"""

from __future__ import annotations

from common.telemetry import metrics

ROUND_TRIP_MS_MAX = 500
"""A reading whose question and answer took longer says too little: it may be wrong by half of that."""


def clock_offset_s(asked_ms: int, server_ms: int, answered_ms: int) -> float | None:
    """Seconds that this host's clock is ahead of the server's; None if the answer took too long, or time went back.

    `asked_ms` and `answered_ms` are of this host; the server read its clock somewhere between them.
    """
    if not 0 <= answered_ms - asked_ms <= ROUND_TRIP_MS_MAX:
        return None
    return ((asked_ms + answered_ms) / 2 - server_ms) / 1000


def note_clock_offset(server: str, asked_ms: int, server_ms: int, answered_ms: int) -> None:
    """Show it as a metric; `server` is the server's number in REDIS_URL."""
    if (offset_s := clock_offset_s(asked_ms, server_ms, answered_ms)) is not None:
        metrics.CLOCK_OFFSET_SECONDS.labels(server).set(offset_s)
