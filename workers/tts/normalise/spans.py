"""A text that is rewritten in passes and remembers, character by character, where it came from.

    "It is ₹500."  ──Pass(₹…)──▶  "It is five hundred rupees."
     0     6   10                   0     6  6  6 …          10

A pass is a pattern and a rule.  What a rule leaves at the beginning and the end of a match keeps its own place; all
that it writes anew comes from where the change begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Rule: TypeAlias = Callable[[re.Match[str]], str | None]
"""What to say for a match; None leaves it as it is."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """Text for a voice, and the way back to the text that it was made of."""

    text: str
    sources: tuple[int, ...]
    """For each character of `text` the offset in the written text that it came from; never decreases."""
    written_chars: int
    """The length of the written text."""

    def source(self, offset: int) -> int:
        """The offset in the written text of the character at `offset`; beyond the end it is the written end."""
        return self.sources[max(0, offset)] if offset < len(self.sources) else self.written_chars


@dataclass(frozen=True, slots=True)
class Pass:
    """One rewriting of the whole text, from left to right."""

    pattern: re.Pattern[str]
    rule: Rule
    needs: str = ""
    """A text without any of these characters cannot match; spares the search."""
    apart: bool = True
    """Do its words stand apart from the words around them?  Else what it writes is a part of a word: "caf&eacute;"."""


class Draft:
    """A text on its way through the passes.  `sources` is as long as `text`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sources: Sequence[int] = range(len(text))

    def apply(self, each: Pass) -> None:
        """Rewrite every match of the pass.  Takes time linear in the text if its pattern does."""
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
        """Drop the white space at both ends."""
        text = self.text.lstrip(" \n")
        start = len(self.text) - len(text)
        text = text.rstrip(" \n")
        self.text, self.sources = text, self.sources[start : start + len(text)]


def _change(text: str, start: int, end: int, spoken: str, apart: bool) -> tuple[int, int, str]:
    """The part of `text[start:end]` that really changes into `said`, which stands apart from words around it."""
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
    """The rule that looks the match up in a table."""
    return lambda match: table.get(match[0])


def erased(match: re.Match[str]) -> str:
    """The rule that drops the match."""
    return ""
