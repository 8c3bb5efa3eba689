"""Maps positions in a call's audio to wall clock time and to entries of the audio stream.  Pure."""

from __future__ import annotations

from collections import deque

from common.audio.g711 import BYTES_PER_MS
from common.bus import START
from common.protocol.redis_keys import AUDIO_MAXLEN


class Timeline:
    """Knows the frames of the last 30 s of one call.  Note each frame, in order."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, int, int, str]] = deque(maxlen=AUDIO_MAXLEN)  # (begin_ms, end_ms, at_ms, entry)

    def note(self, entry_id: str, position_ms: int, at_ms: int, mulaw: bytes) -> None:
        """Take note of a frame that begins at `position_ms` and had reached the edge, whole, at `at_ms`."""
        self._frames.append((position_ms, position_ms + len(mulaw) // BYTES_PER_MS, at_ms, entry_id))

    def wall(self, position_ms: int, now_ms: int) -> int:
        """The wall clock time, in ms, at which the audio up to this position was complete at the edge.

        A frame comes when its end was spoken, so its end stands for its arrival and its beginning for a frame earlier.
        A position after the newest frame stands for that frame's arrival: more has not come, and a later time would lie
        in the future.  `now_ms` if no frame begins before the position.
        """
        for begin_ms, end_ms, at_ms, _ in reversed(self._frames):
            if begin_ms < position_ms:
                newest_ms = self._frames[-1][2]
                return min(at_ms + position_ms - end_ms, newest_ms)
        return now_ms

    def entry(self, position_ms: int) -> str:
        """The entry before the audio at this position."""
        for begin_ms, _, _, entry_id in reversed(self._frames):
            if begin_ms < position_ms:
                return entry_id
        return START
