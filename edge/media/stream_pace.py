"""Limits how fast the peer of a media stream may send.  Pure; times are milliseconds of any one monotonic clock.

A telephone line produces one second of audio per second, but a stalled network may deliver what it held in one burst.
So the audio is compared with the time since the stream began, not with the last second: after a pause of up to
`BEHIND_MS_MAX` its burst fits, and audio is never accepted more than `AHEAD_MS_MAX` ahead of real time.
"""

from __future__ import annotations

AHEAD_MS_MAX = 5000.0
"""Maximum of audio ahead of real time."""
BEHIND_MS_MAX = 30_000.0
"""A pause of this length and its burst fit; Redis keeps no more of a caller's audio than that (`AUDIO_MAXLEN`)."""
EVENTS_PER_SECOND = 20.0
"""Checkpoints, acknowledgements, and messages that are not understood."""
EVENTS_AT_ONCE = 40
"""Two seconds of events: a pause and its burst."""
KEYS_PER_SECOND = 10.0
"""Keys of the telephone; no finger presses faster for long."""
KEYS_AT_ONCE = 40
"""Keys after a pause of the network; more are dropped, for a stuck key must not cost the caller the call."""
FRAME_MS_MIN = 5.0
"""Minimum duration that a WebSocket frame counts as: carriers send 20 ms in one, a proxy may split it."""


class TooFast(Exception):
    """The peer sends more than a telephone can.  `reason` is "audio", "events", "frames" or "pings"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LineClock:
    """Compares received audio, in milliseconds, with the time that has passed."""

    def __init__(self, now: float) -> None:
        self._ahead_ms = 0.0
        self._at = now

    def take(self, ms: float, now: float) -> bool:
        """Count `ms` more of audio and return True; False, and nothing is counted, if it does not fit."""
        self._ahead_ms = max(self._ahead_ms - (now - self._at), -BEHIND_MS_MAX)
        self._at = now
        if self._ahead_ms + ms > AHEAD_MS_MAX:
            return False
        self._ahead_ms += ms
        return True


class EventRate:
    """A token bucket: `at_once`, then `per_second`."""

    def __init__(self, now: float, at_once: int = EVENTS_AT_ONCE, per_second: float = EVENTS_PER_SECOND) -> None:
        self._at_once, self._per_second = float(at_once), per_second
        self._left = self._at_once
        self._at = now

    def take(self, count: int, now: float) -> bool:
        """Count `count` more events and return True; False, and nothing is counted, if they do not fit."""
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_second / 1000)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True


class StreamPace:
    """The limits of one call.  Its next connection keeps them; otherwise reconnecting would reset them."""

    def __init__(self, now: float) -> None:
        self._audio, self._other_track = LineClock(now), LineClock(now)
        self._events = EventRate(now)
        self._keys = EventRate(now, KEYS_AT_ONCE, KEYS_PER_SECOND)

    def audio(self, ms: float, now: float) -> None:
        """Count `ms` of the caller's audio.  Raises TooFast."""
        if not self._audio.take(ms, now):
            raise TooFast("audio")

    def other_track(self, ms: float, now: float) -> None:
        """Count `ms` of the agent's own audio, sent back to us and not used.  Raises TooFast."""
        if not self._other_track.take(ms, now):
            raise TooFast("audio")

    def events(self, count: int, now: float) -> None:
        """Count `count` events.  Raises TooFast."""
        if not self._events.take(count, now):
            raise TooFast("events")

    def key(self, now: float) -> bool:
        """Count one key; False: it is one too many, and to be dropped."""
        return self._keys.take(1, now)


class FramePace:
    """The limits of one WebSocket, whatever its frames contain: even an empty frame costs processing time."""

    def __init__(self, now: float) -> None:
        self._frames, self._pings = LineClock(now), EventRate(now)

    def frame(self, now: float) -> str:
        """Count one data frame (a message or a fragment); returns "frames" if there are too many, else ""."""
        return "" if self._frames.take(FRAME_MS_MIN, now) else "frames"

    def ping(self, now: float) -> str:
        """Count one ping or pong; returns "pings" if there are too many, else ""."""
        return "" if self._pings.take(1, now) else "pings"
