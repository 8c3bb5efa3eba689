"""Rewrites a text in passes and tracks, character by character, where the result came from.

    "It is ₹500."  ──Pass(₹…)──▶  "It is five hundred rupees."
     0     6   10                   0     6  6  6 …          10

A pass is a pattern and a rule.  Characters that a rule keeps at the beginning and the end of a match keep their own
source; everything that it writes anew has the beginning of the change as its source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Rule: TypeAlias = Callable[[re.Match[str]], str | None]
"""Returns the replacement of a match; None leaves it unchanged."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """Text for a voice, and the mapping back to the written text."""

    text: str
    sources: tuple[int, ...]
    """For each character of `text`, its offset in the written text; never decreases."""
    written_chars: int
    """The length of the written text."""

    def source(self, offset: int) -> int:
        """Return the offset in the written text of the character at `offset`; beyond the end, its length."""
        return self.sources[max(0, offset)] if offset < len(self.sources) else self.written_chars


@dataclass(frozen=True, slots=True)
class Pass:
    """One rewriting of the whole text, from left to right."""

    pattern: re.Pattern[str]
    rule: Rule
    needs: str = ""
    """A text without any of these characters cannot match, and is not searched."""
    apart: bool = True
    """True if its words are separated from the words around them; False for parts of a word: "caf&eacute;"."""


class Draft:
    """A text while the passes are applied.  `sources` is as long as `text`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sources: Sequence[int] = range(len(text))

    def apply(self, each: Pass) -> None:
        """Rewrite every match of the pass.  Takes linear time if the pattern does."""
        text, old = self.text, self.sources
        if each.needs and not any(sign in text for sign in each.needs):
            return
        done = 0
        pieces: list[str] = []
        sources: list[int] = []
        for match in each.pattern.finditer(text):
            spoken = each.rule(match)
            if spoken is None or spoken == match[0]:
                continue
            start, end, spoken = _change(text, match.start(), match.end(), spoken, each.apart)
            pieces += (text[done:start], spoken)
            sources += old[done:start]
            sources += [old[min(start, len(old) - 1)]] * len(spoken)
            done = end
        if pieces:
            pieces.append(text[done:])
            sources += old[done:]
            self.text, self.sources = "".join(pieces), sources

    def trim(self) -> None:
        """Remove the white space at both ends."""
        text = self.text.lstrip(" \n")
        start = len(self.text) - len(text)
        text = text.rstrip(" \n")
        self.text, self.sources = text, self.sources[start : start + len(text)]


def _change(text: str, start: int, end: int, spoken: str, apart: bool) -> tuple[int, int, str]:
    """Return the part of `text[start:end]` that changes, and its replacement, separated from the words around it."""
    if apart and spoken and _is_word(spoken[0]) and start and _is_word(text[start - 1]):
        spoken = f" {spoken}"
    if apart and spoken and _is_word(spoken[-1]) and end < len(text) and _is_word(text[end]):
        spoken = f"{spoken} "
    while start < end and spoken and text[start] == spoken[0]:
        start, spoken = start + 1, spoken[1:]
    while start < end and spoken and text[end - 1] == spoken[-1]:
        end, spoken = end - 1, spoken[:-1]
    return start, end, spoken


def _is_word(char: str) -> bool:
    return char.isalnum() or "\u0900" <= char <= "\u0963"  # the vowel signs of Devanagari are no letters to Python


def swapped(table: dict[str, str]) -> Rule:
    """Return the rule that looks the match up in a table."""
    return lambda match: table.get(match[0])


def erased(match: re.Match[str]) -> str:
    """The rule that removes the match."""
    return ""


def kept_stop(match: re.Match[str], spoken: str) -> str:
    """Return `spoken` with the full stop of a match such as "15 Aug." at the end of the text: it ends the sentence."""
    return f"{spoken}." if match[0].endswith(".") and match.end() == len(match.string) else spoken
