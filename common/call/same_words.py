"""Compares two transcripts of one speech.  Pure."""

from __future__ import annotations

import unicodedata


def same_words(one: str, other: str) -> bool:
    """Compare without case, punctuation and spaces: the final polish of a transcript does not change its meaning."""
    return one == other or _letters(one) == _letters(other)


def _letters(text: str) -> str:
    # By category and not `isalnum`, which would drop the vowel signs of Indian scripts.
    return "".join(char for char in text.casefold() if unicodedata.category(char)[0] not in "PZSC")
