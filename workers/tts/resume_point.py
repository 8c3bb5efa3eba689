"""Where in a clause the next connection goes on, when the one before broke off in its middle.  Pure.

At the beginning of the word that was being spoken: what was heard is not said again, and no word is left out.  What had
left the edge for the carrier in the last moment may not have been heard, so that moment does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.audio.g711 import FRAME_MS
from common.call.reply_state import MS_PER_CHARACTER

ON_ITS_WAY_MS = 100
"""The last so many ms that an edge believes heard may have been on their way to the caller still."""
WORD_MS_MAX = 1_000
"""No more than this is said again for the sake of a whole word: a number read out digit by digit is one, too."""


def resume_ms(text: str, heard_ms: int, duration_ms: int, marks: Sequence[tuple[int, int]]) -> int:
    """How much of a clause's audio to leave out, in whole frames.

    `heard_ms` is what the caller heard of it; `duration_ms` is 0 if it is not known yet, and `marks` (see `Spoken`)
    are empty if the voice told none: then the word is guessed by its letters.
    """
    sure_ms = heard_ms - ON_ITS_WAY_MS
    if sure_ms <= 0 or not text:
        return 0
    if marks:
        begin_ms = max((at_ms for _, at_ms in marks if at_ms <= sure_ms), default=0)
    else:
        whole_ms = max(duration_ms or len(text) * MS_PER_CHARACTER, 1)
        reached = min(len(text) * sure_ms // whole_ms, len(text))
        begin_ms = (text.rfind(" ", 0, reached + 1) + 1) * whole_ms // len(text)
    begin_ms = max(min(begin_ms, sure_ms), sure_ms - WORD_MS_MAX, 0)
    return begin_ms - begin_ms % FRAME_MS
