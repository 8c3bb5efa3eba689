"""How fast the peer of a media stream may send.  Pure; all times are milliseconds of any one monotonic clock.

A telephone line makes one second of audio in a second.  A network that stood still may bring what it held in one burst,
so the audio is compared with the time since the stream began and not with the last second: after a pause of any
length up to `BEHIND_MS_MAX` its burst fits, and never is more than `AHEAD_MS_MAX` taken ahead of the line.
"""

from __future__ import annotations

AHEAD_MS_MAX = 5000.0
"""Audio ahead of the line's clock."""
BEHIND_MS_MAX = 30_000.0
"""A pause of this length and its burst fit; Redis keeps no more of a caller's audio than that (`AUDIO_MAXLEN`)."""
EVENTS_PER_SECOND = 20.0
"""Keys, checkpoints, acknowledgements, and whatever is not understood."""
EVENTS_AT_ONCE = 40
"""Those of two seconds: a pause and its burst, or all the keys of one message."""
FRAME_MS_MIN = 5.0
"""What a WebSocket frame counts on a line's clock, at least: carriers send 20 ms in one, a proxy may cut it."""


class TooFast(Exception):
    """The peer is ahead of what a telephone can do.  `reason` is "audio", "events", "frames" or "pings"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LineClock:
    """What came, in milliseconds of a line, against the time that has passed."""

    def __init__(self, now: float) -> None:
        self._ahead_ms = 0.0
        self._at = now

    def take(self, ms: float, now: float) -> bool:
        """Does so much more fit?  What does not fit is not counted."""
        self._ahead_ms = max(self._ahead_ms - (now - self._at), -BEHIND_MS_MAX)
        self._at = now
        if self._ahead_ms + ms > AHEAD_MS_MAX:
            return False
        self._ahead_ms += ms
        return True


class EventRate:
    """`EVENTS_AT_ONCE`, and `EVENTS_PER_SECOND` after them."""

    def __init__(self, now: float) -> None:
        self._left = float(EVENTS_AT_ONCE)
        self._at = now

    def take(self, count: int, now: float) -> bool:
        """Do so many more fit?"""
        self._left = min(float(EVENTS_AT_ONCE), self._left + (now - self._at) * EVENTS_PER_SECOND / 1000)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True


class StreamPace:
    """What one call may send; the call's next connection goes on with it, or to connect again would begin it anew."""

    def __init__(self, now: float) -> None:
        self._audio, self._other_track = LineClock(now), LineClock(now)
        self._events = EventRate(now)

    def audio(self, ms: float, now: float) -> None:
        """So much of the caller's audio.  Raises TooFast."""
        if not self._audio.take(ms, now):
            raise TooFast("audio")

    def other_track(self, ms: float, now: float) -> None:
        """So much of the agent's own audio, sent back to us, which is not used.  Raises TooFast."""
        if not self._other_track.take(ms, now):
            raise TooFast("audio")

    def events(self, count: int, now: float) -> None:
        """So many events.  Raises TooFast."""
        if not self._events.take(count, now):
            raise TooFast("events")


class FramePace:
    """What one WebSocket may send, whatever is in it: each frame costs us some time, the emptiest too."""

    def __init__(self, now: float) -> None:
        self._frames, self._pings = LineClock(now), EventRate(now)

    def frame(self, now: float) -> str:
        """One data frame, a whole message or a piece of one; "frames" if there are too many, else ""."""
        return "" if self._frames.take(FRAME_MS_MIN, now) else "frames"

    def ping(self, now: float) -> str:
        """One ping or pong; "pings" if there are too many, else ""."""
        return "" if self._pings.take(1, now) else "pings"
