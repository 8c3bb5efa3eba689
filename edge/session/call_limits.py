"""Limits that end a call: its length, silence, a carrier that sends nothing or takes nothing.  Pure.

The limits are of the call, not of the connection: a carrier that connects again, or to another edge, does not reset
them.  The call's record holds its age and the time since anybody last spoke.
"""

from __future__ import annotations

from edge.session.call_options import CallOptions

SOCKET_BYTES_MAX = 256 * 1024
"""Unsent bytes of a socket (about 15 s of audio) at which the call is ended: the peer does not read."""
MEDIA_GAP_SECONDS = 60.0
"""A carrier that sends no message at all for this long is gone.  Missing media prove nothing: a carrier that sends none
while the caller is muted still reports what was played.
"""


class CallLimits:
    """The limits as one connection sees them.  `now` is in milliseconds of any one monotonic clock."""

    def __init__(self, options: CallOptions, now: float) -> None:
        self.pace = options.pace
        """Rate limits of the stream, which the call's next connection continues."""
        self._over_ms = now - options.age_ms + 1000 * options.call_s_max
        self._silence_ms_max = 1000 * options.silence_s_max
        self._active_ms = self._noted_ms = now - options.silent_ms

    def active(self, now: float) -> None:
        """The caller or the agent speaks, or a key is pressed."""
        self._active_ms = now

    def passed(self, now: float) -> str:
        """The limit that the call has passed: "too long" or "silence", or ""."""
        if now > self._over_ms:
            return "too long"
        return "silence" if now - self._active_ms > self._silence_ms_max else ""

    def silence_to_note(self, now: float) -> int | None:
        """The ms of silence to write to the record; None if the record is up to date."""
        if self._noted_ms == self._active_ms:
            return None
        self._noted_ms = self._active_ms
        return max(0, round(now - self._active_ms))


def is_unreachable(now: float, alive_ms: float, unsent_bytes: int) -> bool:
    """Whether the other end of the connection is gone.  `alive_ms` is when the carrier last sent anything."""
    return unsent_bytes > SOCKET_BYTES_MAX or now - alive_ms > 1000 * MEDIA_GAP_SECONDS
