"""Recognises backchannels: sounds of a listener that claim no turn (Yngve 1970; Schegloff 1982)."""

from __future__ import annotations

import unicodedata

_SOUNDS = frozenset(("mm", "mmm", "mhm", "mmhm", "mmhmm", "mhmm", "hm", "hmm", "hmmm", "uh", "huh", "uhhuh", "um", "er",
                     "erm", "aha", "हम्म", "ह्म्म", "हूँ"))  # fmt: skip
"""The spellings that STT providers use, for English, most other languages, and Hindi."""


def is_backchannel(text: str) -> bool:
    """Whether the text has backchannels only.  Words that may be an answer ("yes", "okay") are none."""
    words = [_letters(word) for word in text.replace("-", "").split()]
    return bool(words) and all(word in _SOUNDS for word in words)


def _letters(word: str) -> str:
    return "".join(char for char in word.casefold() if unicodedata.category(char)[0] not in "PS")
