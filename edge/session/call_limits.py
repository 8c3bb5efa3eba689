"""What ends a call by itself: its length, its silence, a carrier that sends nothing or takes nothing.  Pure.

The limits are the call's and not the connection's: a carrier that connects again, or to another edge, does not begin
them anew.  How old the call is, and since when nobody has said anything, stands in its record.
"""

from __future__ import annotations

from edge.session.call_options import CallOptions

SOCKET_BYTES_MAX = 256 * 1024
"""Unsent bytes of a socket (about 15 s of audio) at which its call is ended: nobody is listening."""
MEDIA_GAP_SECONDS = 60.0
"""Without a word of the carrier's for this long, nobody is there.  Media that are missing prove nothing: a carrier that
sends none while the caller is muted still tells what was played."""


class CallLimits:
    """One connection's view of them.  `now` is in milliseconds of any one monotonic clock."""

    def __init__(self, options: CallOptions, now: float) -> None:
        self.pace = options.pace
        """For the call's next connection, which goes on with it."""
        self._over_ms = now - options.age_ms + 1000 * options.call_s_max
        self._silence_ms_max = 1000 * options.silence_s_max
        self._active_ms = self._noted_ms = now - options.silent_ms

    def active(self, now: float) -> None:
        """Somebody says something, or presses a key."""
        self._active_ms = now

    def passed(self, now: float) -> str:
        """The limit of the call that is passed ("too long" or "silence"), or ""."""
        if now > self._over_ms:
            return "too long"
        return "silence" if now - self._active_ms > self._silence_ms_max else ""

    def silence_to_note(self, now: float) -> int | None:
        """For how many ms nobody has said anything, for the record; None: the record knows."""
        if self._noted_ms == self._active_ms:
            return None
        self._noted_ms = self._active_ms
        return max(0, round(now - self._active_ms))


def is_unreachable(now: float, alive_ms: float, unsent_bytes: int) -> bool:
    """Is nobody at the other end of the connection?  `alive_ms`: when the carrier last sent anything."""
    return unsent_bytes > SOCKET_BYTES_MAX or now - alive_ms > 1000 * MEDIA_GAP_SECONDS
