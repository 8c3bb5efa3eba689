"""Audio on its way to a vendor, and which part of the call each of the vendor's milliseconds was.

A vendor counts the audio that one socket brought it, from zero.  The call counts its own: an ear opens in its middle,
and frames go missing.  So every run of audio without a gap is noted when it is taken for sending.
"""

from __future__ import annotations

from collections import deque

from common.audio.g711 import BYTES_PER_MS, FRAME_BYTES

RUNS_MAX = 256
"""Runs remembered; vendors speak of the last seconds only."""


class VendorFeed:
    """The audio of one socket.  `backlog_ms_max` is how much may wait; then the oldest goes."""

    def __init__(self, backlog_ms_max: int) -> None:
        self._bytes_max = backlog_ms_max * BYTES_PER_MS
        self._waiting: deque[tuple[int, bytes]] = deque()  # (where it begins, in bytes of the call, audio)
        self._waiting_bytes = 0
        self._end = -1  # of what was put, in bytes of the call; -1: nothing yet
        self._runs: deque[tuple[int, int]] = deque(maxlen=RUNS_MAX)  # (bytes of the vendor, bytes of the call)
        self._taken = 0  # bytes of the vendor

    @property
    def fed_ms(self) -> int:
        """Up to where in the call audio was put; 0 before the first."""
        return max(0, self._end) // BYTES_PER_MS

    @property
    def taken_ms(self) -> int:
        """How much audio the vendor has got, or is about to get."""
        return self._taken // BYTES_PER_MS

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    def put(self, position_ms: int, mulaw: bytes) -> int:
        """Add audio that begins at `position_ms`; what was put before is skipped.  Returns how many frames it cost."""
        start = position_ms * BYTES_PER_MS
        known = self._end - start
        if known > 0:
            mulaw, start = mulaw[known:], self._end
        if not mulaw:
            return 0
        self._waiting.append((start, mulaw))
        self._waiting_bytes += len(mulaw)
        self._end = start + len(mulaw)
        dropped = 0
        while self._waiting_bytes > self._bytes_max:
            dropped += len(self._waiting[0][1])
            self._waiting_bytes -= len(self._waiting.popleft()[1])
        return -(-dropped // FRAME_BYTES)

    def take(self, bytes_max: int) -> bytes:
        """The next audio to send, whole frames joined, at least one; empty if none waits."""
        taken: list[bytes] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0][1]) <= bytes_max):
            start, mulaw = self._waiting.popleft()
            if not self._runs or self._runs[-1][1] + self._taken - self._runs[-1][0] != start:
                self._runs.append((self._taken, start))
            taken.append(mulaw)
            size += len(mulaw)
            self._taken += len(mulaw)
        self._waiting_bytes -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def position(self, vendor_ms: float) -> int:
        """Where in the call the vendor's `vendor_ms` is.  The border of a gap belongs to the audio before it."""
        at = round(vendor_ms * BYTES_PER_MS)
        theirs, ours = self._runs[0] if self._runs else (0, max(0, self._end))
        for run in reversed(self._runs):
            if run[0] < at:
                theirs, ours = run
                break
        return max(0, ours + at - theirs) // BYTES_PER_MS
