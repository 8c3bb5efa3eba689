"""What callers ask and what the agent answers: every sentence tells whose it is and which.  Pure.

    caller 3, sentence 17   "ask one seven by zero three"
    its answer              "Alpha one seven for zero three. Bravo one seven … . Charlie one seven … ."

Digits are words, so that nothing that prepares text for a voice has a reason to change them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARTS = ("alpha", "bravo", "charlie")
GREETING = "Welcome to the line."
PARDON = "Pardon me, what was that."
"""The answer to what was not understood; nobody should ever hear it, but after a broken connection."""
POISON = "poison"
"""The word of a caller of whom a worker dies (crashing_llm.py)."""
NUMBER_MAX = 99
_DIGIT = f"({'|'.join(DIGITS)})"
_QUESTION = re.compile(rf"ask {_DIGIT} {_DIGIT} by {_DIGIT} {_DIGIT}")
_CLAUSE = re.compile(rf"({'|'.join(PARTS)}) {_DIGIT} {_DIGIT} for {_DIGIT} {_DIGIT}\.?")


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A part of an answer: 0 to 2."""

    caller: int
    number: int
    part: int


def question(caller: int, number: int) -> str:
    """Both from 0 to `NUMBER_MAX`."""
    return f"ask {_digit_words(number)} by {_digit_words(caller)}"


def answer(utterance: str) -> str:
    """The whole answer to what a caller said last."""
    found = _QUESTION.search(utterance.lower())
    if found is None:
        return PARDON
    number, caller = " ".join(found.groups()[:2]), " ".join(found.groups()[2:])
    return " ".join(f"{part.capitalize()} {number} for {caller}." for part in PARTS)


def read_clause(text: str) -> AnswerPart | None:
    """Which part of which answer this is; None if it is something else."""
    found = _CLAUSE.fullmatch(text.strip().lower())
    if found is None:
        return None
    part, *digits = found.groups()
    values = [DIGITS.index(digit) for digit in digits]
    return AnswerPart(10 * values[2] + values[3], 10 * values[0] + values[1], PARTS.index(part))


def read_joined(torn: str, rest: str) -> AnswerPart | None:
    """The part whose beginning was heard as `torn` and whose end as `rest`: another voice took over within it.

    Words may be heard twice there; None if a letter was not heard at all.  Torn off before its very end, `torn` has
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
