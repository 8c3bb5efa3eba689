"""Decides how much silence to publish while the carrier sends no media.  Pure.

Vobiz's guide says that media come "every 20 ms while the caller is speaking"; a muted phone or a stalled network sends
nothing either.  The STT workers count time in frames received, so without frames no turn would end.

    media ... no media for GAP_MS ──▶ silence in real time ── SURE_MS ──▶ and the part of the gap that was not filled
                                              │
                            media of the gap arrive in a burst: their silent frames are left out, being published
                            already

A frame with sound is never left out.  All times are milliseconds of any one monotonic clock.
"""

from __future__ import annotations

from common.audio.g711 import FRAME_MS

GAP_MS = 160
"""Silence is published after this long without media.  Above the jitter of a connection: a gap in a word loses it."""
SURE_MS = 320
"""A gap this long is not jitter: the published silence is then as long as the gap itself."""
LATE_MS = 500
"""For this long after a gap, media that belong to the gap may still arrive."""
AHEAD_MS = 40
"""Media this far ahead of real time are late media that arrive in a burst."""

_QUIET = bytes(code for code in range(256) if code & 0x7F >= 0x60)
"""mu-law codes of the two lowest segments: line noise, below -39 dB of full scale."""
_ZERO = b"\xff\x7f"
"""The two mu-law codes of zero."""


class SilenceFill:
    """Tracks one connection: report all `media`, publish as much silence as `due` returns, ask at `next_due`."""

    def __init__(self, now: float) -> None:
        self._media_ms = now  # when media came last, or the connection began
        self._payload_ms = float(FRAME_MS)  # length of the last payload: carriers send 20 ms at a time, or more
        self._filled = 0  # frames of silence published in the current gap
        self._owed = 0  # frames of silence of the last gap that late media may still replace
        self._resumed_ms = now - LATE_MS
        self._since = 0  # frames taken since then

    def media(self, frames: list[bytes], now: float) -> list[bytes]:
        """Report the frames of one payload; returns the frames to publish."""
        pause_ms, self._media_ms = now - self._media_ms, now
        self._payload_ms = float(max(len(frames), 1) * FRAME_MS)
        if self._filled:
            self._owed, self._filled = self._filled, 0
            self._resumed_ms, self._since = now, 0
        elif self._owed:
            frames = self._without_what_is_there(frames, pause_ms, now)
        self._since += len(frames)
        return frames

    def _without_what_is_there(self, frames: list[bytes], pause_ms: float, now: float) -> list[bytes]:
        since_ms = now - self._resumed_ms
        if since_ms > LATE_MS:
            self._owed = 0
        if self._since * FRAME_MS - since_ms <= AHEAD_MS or pause_ms > self._payload_ms / 2:
            return frames  # they arrive in real time
        late, self._owed = frames[: self._owed], max(0, self._owed - len(frames))
        return [frame for frame in late if not is_quiet(frame)] + frames[len(late) :]

    def due(self, now: float) -> int:
        """The number of silent frames to publish now."""
        gap_ms = now - self._media_ms - (self._payload_ms - FRAME_MS)
        if gap_ms < GAP_MS:
            return 0
        wanted = int(gap_ms if gap_ms >= SURE_MS else gap_ms - GAP_MS + FRAME_MS) // FRAME_MS
        missing = max(0, wanted - self._filled)
        self._filled += missing
        return missing

    def next_due(self, now: float) -> float:
        """The time at which to ask `due` again, always after `now`."""
        if self._filled:
            return now + FRAME_MS
        return max(
            now + 1, self._media_ms + (self._payload_ms - FRAME_MS) + GAP_MS
        )  # after `now` even with float error


def is_quiet(frame: bytes) -> bool:
    """Whether this mu-law holds only silence or line noise.  A constant level other than zero is sound."""
    if frame.count(frame[:1]) == len(frame):
        return frame[:1] in _ZERO
    return not frame.translate(None, _QUIET)
