"""What ends a call by itself: its length, its silence, a carrier that sends nothing or takes nothing.  Pure.

The limits are the call's and not the connection's: a carrier that connects again does not begin them anew.
"""

from __future__ import annotations

SOCKET_BYTES_MAX = 256 * 1024
"""Unsent bytes of a socket (about 15 s of audio) at which its call is ended: nobody is listening."""
MEDIA_GAP_SECONDS = 60.0
"""Without media for this long, nobody is there; what we fill in is none (the carrier's own limit is the same)."""


class CallLimits:
    """One connection's view of them.  All times are milliseconds of any one monotonic clock."""

    def __init__(self, call_s_max: int, silence_s_max: int, started_ms: float) -> None:
        """`started_ms`: when the call began, perhaps at another edge."""
        self._over_ms = started_ms + 1000 * call_s_max
        self._silence_ms_max = 1000 * silence_s_max

    def passed(self, now: float, active_ms: float) -> str:
        """The limit of the call that is passed ("too long" or "silence"), or "".

        `active_ms`: when anybody last said anything.
        """
        if now > self._over_ms:
            return "too long"
        return "silence" if now - active_ms > self._silence_ms_max else ""


def is_lost(now: float, media_ms: float, unsent_bytes: int) -> bool:
    """Is nobody at the other end of the connection?  `media_ms`: when the carrier last sent media."""
    return unsent_bytes > SOCKET_BYTES_MAX or now - media_ms > 1000 * MEDIA_GAP_SECONDS
