"""Computes where in a clause a new connection begins, when the one before broke off within it.  Pure.

It begins with the word that was being spoken: whole words before it are not repeated, and no word is left out.  Audio
that left the edge in the last `ON_ITS_WAY_MS` may not have been heard, so it does not count as heard.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.audio.g711 import FRAME_MS
from common.call.reply_state import MS_PER_CHARACTER

ON_ITS_WAY_MS = 100
"""Ms at the end of what an edge counts as heard that may still have been on their way to the caller."""
WORD_MS_MAX = 1_000
"""Most ms that are repeated to begin with a whole word; a number that is read digit by digit is one word, too."""


def sound_resume_ms(heard_ms: int) -> int:
    """As `resume_ms`, of a sound: it goes on where the caller stopped to hear it."""
    sure_ms = max(heard_ms - ON_ITS_WAY_MS, 0)
    return sure_ms - sure_ms % FRAME_MS


def resume_ms(text: str, heard_ms: int, duration_ms: int, char_timings: Sequence[tuple[int, int]]) -> int:
    """Return the ms of a clause's audio to leave out, in whole frames.

    `heard_ms`: what the caller heard of it.  `duration_ms`: the clause's length, 0 if it is not known yet.
    `char_timings` (see `ClauseSynthesized`) are empty if the voice gave none: its letters then give the word.
    """
    sure_ms = heard_ms - ON_ITS_WAY_MS
    if sure_ms <= 0 or not text:
        return 0
    if char_timings:
        begin_ms = max((at_ms for _, at_ms in char_timings if at_ms <= sure_ms), default=0)
    else:
        whole_ms = max(duration_ms or len(text) * MS_PER_CHARACTER, 1)
        reached = min(len(text) * sure_ms // whole_ms, len(text))
        begin_ms = (text.rfind(" ", 0, reached + 1) + 1) * whole_ms // len(text)
    begin_ms = max(min(begin_ms, sure_ms), sure_ms - WORD_MS_MAX, 0)
    return begin_ms - begin_ms % FRAME_MS
