"""Silence for the ears while the carrier sends none: a line goes on in time, whether it is heard or not.  Pure.

Vobiz's guide says that media come "every 20 ms while the caller is speaking", and a muted phone or a network that
stands still sends nothing, either.  Everything behind the edge counts time in frames received: without any, no turn
would end.

    media ... GAP_MS without any ──▶ silence at the pace of the line ── SURE_MS ──▶ and what was missed of it
                                              │
                            late media come in a heap: what is silent of them stands there already, and is left out

A word that comes late is never left out.  All times are milliseconds of any one monotonic clock.
"""

from __future__ import annotations

from common.audio.g711 import FRAME_MS

GAP_MS = 160
"""Without media for so long, silence is written.  Above the jitter of a line: a hole in a word costs the word."""
SURE_MS = 320
"""Without media for so long it is no jitter: then the silence is as long as the gap itself."""
LATE_MS = 500
"""For so long after a gap media may come that belong into it."""
AHEAD_MS = 40
"""Media so far ahead of the line's pace are late: they come in a heap."""

_QUIET = bytes(code for code in range(256) if code & 0x7F >= 0x60)
"""mu-law codes of the two lowest segments: a line's own noise, below -39 dB of full scale."""
_ZERO = b"\xff\x7f"
"""The two codes of no sound at all."""


class SilenceFill:
    """One connection's.  Tell it of all `media`, and write as much silence as `due` says, when `next_due` says so."""

    def __init__(self, now: float) -> None:
        self._media_ms = now  # when media came last, or the connection began
        self._payload_ms = float(FRAME_MS)  # how much came then: carriers send 20 ms at a time, or more
        self._filled = 0  # frames of silence in the gap that is open
        self._owed = 0  # frames of silence in the last gap that late media may still replace
        self._resumed_ms = now - LATE_MS
        self._since = 0  # frames taken since then

    def media(self, frames: list[bytes], now: float) -> list[bytes]:
        """The frames of one payload; returns those that the ears must get."""
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
            return frames  # they keep the line's pace
        late, self._owed = frames[: self._owed], max(0, self._owed - len(frames))
        return [frame for frame in late if not is_quiet(frame)] + frames[len(late) :]

    def due(self, now: float) -> int:
        """How many frames of silence must be written now."""
        gap_ms = now - self._media_ms - (self._payload_ms - FRAME_MS)
        if gap_ms < GAP_MS:
            return 0
        wanted = int(gap_ms if gap_ms >= SURE_MS else gap_ms - GAP_MS + FRAME_MS) // FRAME_MS
        missing = max(0, wanted - self._filled)
        self._filled += missing
        return missing

    def next_due(self, now: float) -> float:
        """When to ask again."""
        if self._filled:
            return now + FRAME_MS
        return max(now + 1, self._media_ms + (self._payload_ms - FRAME_MS) + GAP_MS)  # never at once: times are floats


def is_quiet(frame: bytes) -> bool:
    """Is there nothing in this mu-law but silence, or a line's own noise?  Noise moves: a constant level is none."""
    if frame.count(frame[:1]) == len(frame):
        return frame[:1] in _ZERO
    return not frame.translate(None, _QUIET)
