"""The queue of audio and texts to a vendor, and the map from the vendor's time to positions in the call.

A vendor counts the audio of one socket from zero.  The call counts its own: a stream opens in its middle, and frames
go missing.  So every run of audio without a gap is noted when it is taken for sending.
"""

from __future__ import annotations

from collections import deque

from common.audio import g711
from common.audio.g711 import BYTES_PER_MS, FRAME_BYTES

RUNS_MAX = 256
"""Runs remembered; vendors refer to the last seconds only."""
TEXTS_MAX = 16
"""Texts that wait to be sent; further ones are refused."""
GAP_MS_MAX = 30_000
"""A longer gap is not filled with silence: the call goes on elsewhere."""


class AudioFeed:
    """The outgoing queue of one socket.  `backlog_ms_max` is how much audio may wait; then the oldest is dropped.

    `gap_fill_ms` is how much silence stands for audio that is missing; positions after a gap are right in any case.
    """

    def __init__(self, backlog_ms_max: int, gap_fill_ms: int = 0) -> None:
        self._bytes_max = backlog_ms_max * BYTES_PER_MS
        self._gap_fill_bytes = gap_fill_ms * BYTES_PER_MS
        self._waiting: deque[tuple[int, bytes | str]] = deque()  # (where it begins, in bytes of the call, message)
        self._waiting_bytes = 0
        self._texts = 0  # among `_waiting`
        self._end = -1  # of what was put, in bytes of the call; -1: nothing yet
        self._runs: deque[tuple[int, int]] = deque(maxlen=RUNS_MAX)  # (bytes of the vendor, bytes of the call)
        self._taken = 0  # bytes of the vendor

    @property
    def fed_ms(self) -> int:
        """The position in the call up to which audio was put; 0 before the first."""
        return max(0, self._end) // BYTES_PER_MS

    @property
    def taken_ms(self) -> int:
        """How much audio was taken for sending, by the vendor's count."""
        return self._taken // BYTES_PER_MS

    @property
    def waiting_bytes(self) -> int:
        """Audio that waits to be sent."""
        return self._waiting_bytes

    def unseen(self, position_ms: int, mulaw: bytes) -> tuple[int, bytes]:
        """The part of the audio that was not put before, and its position; a replay brings frames twice."""
        known = self._end - position_ms * BYTES_PER_MS
        if self._end < 0 or known <= 0:
            return position_ms, mulaw
        return self._end // BYTES_PER_MS, mulaw[known:]

    def put(self, position_ms: int, mulaw: bytes) -> int:
        """Add audio that begins at `position_ms`; what was put before is skipped.  Returns how many frames it cost."""
        start = position_ms * BYTES_PER_MS
        known = self._end - start
        if known > 0:
            mulaw, start = mulaw[known:], self._end
        if not mulaw:
            return 0
        if self._end >= 0 and self._gap_fill_bytes and 0 < -known <= GAP_MS_MAX * BYTES_PER_MS:
            self._append(self._end, g711.SILENCE * min(-known, self._gap_fill_bytes))
        self._append(start, mulaw)
        self._end = start + len(mulaw)
        return -(-self._drop_oldest() // FRAME_BYTES)

    def put_text(self, text: str) -> bool:
        """Add a text, which is sent after the audio put so far and is never dropped.  False: too many wait."""
        if self._texts >= TEXTS_MAX:
            return False
        self._texts += 1
        self._waiting.append((0, text))
        return True

    def take(self, bytes_max: int, bytes_min: int = 0) -> bytes | str:
        """The next message: a text, or whole frames joined, at least one.  Empty if nothing is due.

        Less than `bytes_min` of audio is not due, unless a text waits behind it.
        """
        if not self._texts and self._waiting_bytes < bytes_min:
            return b""
        taken: list[bytes] = []
        size = 0
        while self._waiting:
            start, message = self._waiting[0]
            if isinstance(message, str):
                if taken:
                    break
                self._waiting.popleft()
                self._texts -= 1
                return message
            if taken and size + len(message) > bytes_max:
                break
            self._waiting.popleft()
            if not self._runs or self._runs[-1][1] + self._taken - self._runs[-1][0] != start:
                self._runs.append((self._taken, start))
            taken.append(message)
            size += len(message)
            self._taken += len(message)
        self._waiting_bytes -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def clear(self) -> None:
        """Drop all that waits."""
        self._waiting.clear()
        self._waiting_bytes = self._texts = 0

    def position(self, vendor_ms: float) -> int:
        """The position in the call of the vendor's `vendor_ms`.  The border of a gap belongs to the audio before it."""
        at = round(vendor_ms * BYTES_PER_MS)
        theirs, ours = self._runs[0] if self._runs else (0, max(0, self._end))
        for run in reversed(self._runs):
            if run[0] < at:
                theirs, ours = run
                break
        return max(0, ours + at - theirs) // BYTES_PER_MS

    def _append(self, start: int, mulaw: bytes) -> None:
        self._waiting.append((start, mulaw))
        self._waiting_bytes += len(mulaw)

    def _drop_oldest(self) -> int:
        """Drop the oldest audio beyond the bound, and no text.  Returns how many bytes."""
        dropped = 0
        texts: list[tuple[int, bytes | str]] = []
        while self._waiting_bytes > self._bytes_max:
            start, message = self._waiting.popleft()
            if isinstance(message, str):
                texts.append((start, message))
            else:
                dropped += len(message)
                self._waiting_bytes -= len(message)
        self._waiting.extendleft(reversed(texts))
        return dropped
