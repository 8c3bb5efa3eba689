"""Computes the rest of a clause after a voice broke off.  Pure.

The next voice begins with the word that was broken off: whole words before it are not repeated, and no word is left
out.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.call.reply_state import MS_PER_CHARACTER


def synthesized_chars(text: str, synthesized_ms: int, char_timings: Sequence[tuple[int, int]]) -> int:
    """Return the offset in `text` at which the rest begins, when `synthesized_ms` of its audio exist.

    `char_timings` (see `CharTimings`) give the start of each character.  Without them the speed of speech is estimated,
    and rather too slow: repeating half a word is better than omitting it.
    """
    begun = [offset for offset, at_ms in char_timings if at_ms < synthesized_ms]
    reached = begun[-1] if begun else (0 if char_timings else synthesized_ms // MS_PER_CHARACTER)
    if not char_timings and reached >= len(text):
        return len(text)
    return text.rfind(" ", 0, min(reached, len(text)) + 1) + 1
