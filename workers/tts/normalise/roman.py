"""Reads Roman numerals after a word that makes them numbers: Phase II, Class XII, Henry VIII."""

from __future__ import annotations

import re

from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_NUMERAL = r"((?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?![\w'’])(?<=[IVXL])"
_COUNTED = (
    "phase|class|bowl|chapter|part|volume|vol|type|stage|grade|level|section|schedule|article|act|scene|book|war|unit|module|"
    "appendix|annexure|table|figure|step|standard|std|semester|sem|year|block|tower|wing|gate|category|group|series|"
    "session|title|form|round|division|zone|sector|paper|list|terminal|चरण|कक्षा|भाग|अध्याय|फेज|फ़ेज"
)
_CROWNED = (
    "King|Queen|Pope|Emperor|Louis|Henry|Elizabeth|George|Charles|Edward|William|Richard|James|Napoleon|John Paul|"
    "Benedict|Philip|Pius|Mary|Frederick|Catherine|Nicholas|Ramses|Alexander"
)
_AFTER_WORD = re.compile(rf"(?<!\w)(?i:{_COUNTED})[ -]{_NUMERAL}")
_AFTER_NAME = re.compile(rf"(?<!\w)(?:{_CROWNED}) {_NUMERAL}")
_BEFORE_WORD = re.compile(rf"(?<![\w'’.]){_NUMERAL}(?= (?:year|sem|semester|standard|std|shift|PUC|floor)(?!\w))")
_GOES_ON = re.compile(r" (?:am|have|had|was|will|would|can|could|do|did|think|like|want|need|know|see|saw|made)(?!\w)")


def _value(numeral: str) -> int:
    total = 0
    for sign, following in zip(numeral, [*numeral[1:], ""], strict=True):
        value = _VALUES[sign]
        total += -value if following and _VALUES[following] > value else value
    return total


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run before acronyms."""

    def after(match: re.Match[str]) -> str | None:
        numeral = match[1]
        if numeral == "L" or (numeral == "I" and (match[0][0].islower() or _GOES_ON.match(match.string, match.end()))):
            return None  # Wing L; the part I like
        return match[0][: -len(numeral)].replace("-", " ") + words.cardinal(_value(numeral), indian=True)

    def crowned(match: re.Match[str]) -> str:
        numeral = match[1]
        return f"{match[0][: -len(numeral)]}{words.titled(_value(numeral))}"

    return (
        Pass(_AFTER_NAME, crowned),
        Pass(_AFTER_WORD, after),
        Pass(_BEFORE_WORD, lambda match: None if match[1] in "IL" else words.ordinal(_value(match[1]))),
    )
