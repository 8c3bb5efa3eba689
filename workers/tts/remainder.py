"""What of a clause is still to be spoken after a voice broke off.  Pure.

The next voice goes on with the word that was broken off: whole words before it are not said again, and no word is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.call.reply_state import MS_PER_CHARACTER


def synthesized_chars(text: str, spoken_ms: int, marks: Sequence[tuple[int, int]]) -> int:
    """Where in `text` the remainder begins, when `spoken_ms` of its audio exist.

    `marks` (see `Spelled`) say when each character begins; without them the speed of speech is guessed, and rather
    too slow: half a word twice is better than none.
    """
    begun = [offset for offset, at_ms in marks if at_ms < spoken_ms]
    reached = begun[-1] if begun else (0 if marks else spoken_ms // MS_PER_CHARACTER)
    if not marks and reached >= len(text):
        return len(text)
    return text.rfind(" ", 0, min(reached, len(text)) + 1) + 1
