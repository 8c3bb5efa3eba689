"""Generates the callers' questions and the agent's answers; each names its caller and number.  Pure.

    caller 3, sentence 17   "ask one seven by zero three"
    its answer              "Alpha one seven for zero three. Bravo one seven … . Charlie one seven … ."

Digits are words, so that text normalisation before synthesis does not change them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARTS = ("alpha", "bravo", "charlie")
GREETING = "Welcome to the line."
ANNOUNCEMENT = "One moment, I will put you through."
"""What the platform says before a transfer, if the model says nothing."""
PARDON = "Pardon me, what was that."
"""The answer to an unreadable question; it may only be heard after a broken connection."""
POISON = "poison"
"""The word that kills an LLM worker (crashing_llm.py)."""
NUMBER_MAX = 99
_DIGIT = f"({'|'.join(DIGITS)})"
_QUESTION = re.compile(rf"ask {_DIGIT} {_DIGIT} by {_DIGIT} {_DIGIT}")
_CLAUSE = re.compile(rf"({'|'.join(PARTS)}) {_DIGIT} {_DIGIT} for {_DIGIT} {_DIGIT}\.?")


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A part (0 to 2) of an answer."""

    caller: int
    number: int
    part: int


def question(caller: int, number: int) -> str:
    """Return the question with this number; both arguments are 0 to `NUMBER_MAX`."""
    return f"ask {_digit_words(number)} by {_digit_words(caller)}"


def answer(utterance: str) -> str:
    """Return the whole answer to a caller's last utterance."""
    found = _QUESTION.search(utterance.lower())
    if found is None:
        return PARDON
    number, caller = " ".join(found.groups()[:2]), " ".join(found.groups()[2:])
    return " ".join(f"{part.capitalize()} {number} for {caller}." for part in PARTS)


def read_clause(text: str) -> AnswerPart | None:
    """Return the answer part that this clause is; None if it is something else."""
    found = _CLAUSE.fullmatch(text.strip().lower())
    if found is None:
        return None
    part, *digits = found.groups()
    values = [DIGITS.index(digit) for digit in digits]
    return AnswerPart(10 * values[2] + values[3], 10 * values[0] + values[1], PARTS.index(part))


def read_joined(torn: str, rest: str) -> AnswerPart | None:
    """Return the part whose beginning is `torn` and whose end is `rest`, for a takeover by another voice.

    Words may be repeated there; None if a letter is missing.  Torn off before its very end, `torn` has
    the tone of its check for a last letter.
    """
    torn, rest = torn.strip().lower(), rest.strip().lower()
    return _joined(torn, rest) or _joined(torn[:-1].rstrip(), rest)


def _joined(torn: str, rest: str) -> AnswerPart | None:
    for seam in range(len(torn), -1, -1):
        for space in ("", " "):
            if torn[seam:].strip() and not rest.startswith(torn[seam:].strip()):
                continue
            if heard := read_clause(torn[:seam].rstrip() + space + rest):
                return heard
    return None


def _digit_words(number: int) -> str:
    if not 0 <= number <= NUMBER_MAX:
        raise ValueError(f"expected 0 to {NUMBER_MAX}, got {number}")
    return f"{DIGITS[number // 10]} {DIGITS[number % 10]}"
