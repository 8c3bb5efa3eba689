"""Models the caller's audio in both directions, frame by frame.  Pure: time is passed in.

The carrier plays audio in real time, at once when its queue is empty.  A connection that breaks drops the queue: audio
that was not played is never heard.
"""

from __future__ import annotations

from collections import deque

from benchmarks.chaos.tones import QUIET
from common.audio.g711 import FRAME_BYTES, FRAME_MS


class Microphone:
    """The caller's speech: `say` it, then take a frame every 20 ms."""

    def __init__(self) -> None:
        self._audio = b""

    def say(self, audio: bytes) -> None:
        """Queue whole frames behind the present speech."""
        self._audio += audio

    @property
    def speaking(self) -> bool:
        return bool(self._audio)

    def frame(self) -> bytes:
        """Return the next 20 ms."""
        frame, self._audio = self._audio[:FRAME_BYTES], self._audio[FRAME_BYTES:]
        return frame or QUIET


class Receiver:
    """The carrier's playout queue of one connection after another."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, bytes]] = deque()
        self._marks: deque[tuple[float, str]] = deque()
        self._dry_ms = 0.0

    def play(self, mulaw: bytes, now_ms: float) -> None:
        """Queue audio and pad its last frame."""
        self._dry_ms = max(self._dry_ms, now_ms)
        for at in range(0, len(mulaw), FRAME_BYTES):
            self._queue.append((self._dry_ms, mulaw[at : at + FRAME_BYTES].ljust(FRAME_BYTES, QUIET[:1])))
            self._dry_ms += FRAME_MS

    def mark(self, name: str, now_ms: float) -> None:
        """Queue a checkpoint behind all audio."""
        self._marks.append((max(self._dry_ms, now_ms), name))

    def clear(self, now_ms: float) -> None:
        """Drop audio that was not played, for clearAudio or a lost connection."""
        self._queue.clear()
        self._marks.clear()
        self._dry_ms = now_ms

    def heard(self, now_ms: float) -> tuple[list[tuple[float, bytes]], list[str]]:
        """Return the frames that were completely played since the last call, and the checkpoints that were passed."""
        frames: list[tuple[float, bytes]] = []
        marks: list[str] = []
        while self._queue and self._queue[0][0] + FRAME_MS <= now_ms:
            frames.append(self._queue.popleft())
        while self._marks and self._marks[0][0] <= now_ms:
            marks.append(self._marks.popleft()[1])
        return frames, marks
