"""Tests whether a text has a word that can be spoken.  Pure.

A reply of "", "…", "**", "👍", "<br/>" or "*nods*" is silence on the phone, whatever it is on a screen.
"""

from __future__ import annotations

import re

TAG_CHARS_MAX = 200
DIRECTION_CHARS_MAX = 40

_NO_WORDS = re.compile(
    rf"<[A-Za-z/!?][^<>]{{0,{TAG_CHARS_MAX}}}>"  # HTML, SSML
    r"|&(?:#?\w{1,31});"  # an entity
    r"|```[\w-]*"  # a fence
    r"|!?\[\]\([^()]*\)"  # an image without a description
    rf"|\[[^\[\]]{{0,{DIRECTION_CHARS_MAX}}}\](?!\()"  # [laughs]
    rf"|(?<!\*)\*[^*.!?]{{1,{DIRECTION_CHARS_MAX}}}\*(?!\*)"  # *nods*
    rf"|\([a-z][^().!?]{{0,{DIRECTION_CHARS_MAX}}}\)"  # (nods)
    "|.\ufe0f\u20e3?"  # shown as an emoji: 1️⃣, ℹ️
)
_STILL_OPEN = re.compile(
    rf"(?:<[A-Za-z/!?][^<>]{{0,{TAG_CHARS_MAX}}}|[\[(][^\[\]()]{{0,{DIRECTION_CHARS_MAX}}}"
    rf"|(?<!\*)\*[^*.!?]{{1,{DIRECTION_CHARS_MAX}}}|&#?\w{{0,31}})$"
)


def is_speakable(text: str) -> bool:
    """True if a letter or a digit is left without the marks, tags, emojis and stage directions."""
    return has_letters(text) and has_letters(_NO_WORDS.sub(" ", text))


def begins_to_speak(text: str) -> bool:
    """Like `is_speakable`, for text that continues: an unclosed tag at its end ("<bre") does not count yet."""
    return has_letters(text) and has_letters(_STILL_OPEN.sub("", _NO_WORDS.sub(" ", text)))


def has_letters(text: str) -> bool:
    """True if the text has a letter or a digit of any script."""
    return any(char.isalnum() for char in text)
