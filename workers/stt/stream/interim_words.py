"""Finds words that stood in interim results and are missing in the final one.  Pure; shared by every engine.

A short answer ("yes", a name) is often in two or three interims, and the final that should settle it is empty: then
the caller would get no answer.  A word that stood in two results was spoken.  A noise never had words, and a word that
stood once was a guess.  The LLM worker decides whether the words are wanted: only while the agent waits for an answer.
"""

from __future__ import annotations

import unicodedata


class InterimWords:
    """The words of one stretch of speech.  Call `interim` for each, in order; `final` settles it and begins anew."""

    def __init__(self) -> None:
        self._newest: list[str] = []
        self._stood: list[str] = []

    def interim(self, text: str) -> None:
        """Take a result that may still change.  One without words is ignored."""
        words = text.split()
        if not words:
            return
        before = [_letters(word) for word in self._newest]
        stood: list[str] = []
        for word in words:
            if _letters(word) in before:
                del before[: before.index(_letters(word)) + 1]  # each counts once, in order
                stood.append(word)
        self._stood = stood or self._stood
        self._newest = words

    def final(self, text: str) -> str:
        """Take the result that does not change.  Returns the words missing in it; "" if it has any itself."""
        stood, self._stood, self._newest = self._stood, [], []
        return "" if text.strip() else " ".join(stood)


def _letters(word: str) -> str:
    kept = "".join(char for char in word.casefold() if unicodedata.category(char)[0] not in "PS")
    return kept or word
