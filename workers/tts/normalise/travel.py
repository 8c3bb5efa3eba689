"""Reads flight numbers (6E 2134, AI 302) and train numbers (12951 Mumbai Rajdhani) digit by digit."""

from __future__ import annotations

import re

from workers.tts.normalise.codes import END, characters
from workers.tts.normalise.contexts import NEAR_CHARS, counts
from workers.tts.normalise.phones import digit_words
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

_AIRLINES = (
    "6E|I5|G8|S5|9I|2T|AI|UK|SG|IX|QP|EK|EY|QR|BA|LH|SQ|UA|AA|DL|AF|KL|TG|MH|UL|TK|AC|WN|B6|AS|NK|F9|VS|JL|NH|CX"
)
_FLIGHT = re.compile(rf"(?<![\w-])({_AIRLINES})[ -]?([0-9]{{2,4}}){END}")
_FLYING = re.compile(
    r"(?i)(?<!\w)(?:flights?|airlines?|boarding|terminal|delayed|diverted|rescheduled|boards|"
    r"gate|lands?|landed|landing|departs?|departed|take[- ]?off|"
    r"फ़्लाइट|फ्लाइट|उड़ान)(?!\w)"
)
_TRAIN_NAMES = (
    "Express|Rajdhani|Shatabdi|Duronto|Mail|Superfast|Vande Bharat|Garib Rath|Humsafar|Tejas|Passenger|"
    "एक्सप्रेस|राजधानी|शताब्दी|दुरंतो|मेल|वंदे भारत|वंदे भारत"
)
_NAME = r"(?:[A-Z]\w{1,20}|[\u0904-\u0963]{2,20})"
_TRAIN_BEFORE = re.compile(rf"(?<![\w₹$€£.,/-])([0-9]{{5}})(?= (?:{_NAME} ){{0,3}}(?:{_TRAIN_NAMES})(?!\w))")
_TRAIN_AFTER = re.compile(rf"(?<!\w)(?:{_TRAIN_NAMES}) \(?([0-9]{{5}}){END}")


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run after codes, before numbers."""

    def flight(match: re.Match[str]) -> str | None:
        letters, digits = match.groups()
        # 6E is always an airline; AI 302 may be something else
        if not letters[0].isdecimal() and not _FLYING.search(
            match.string, max(0, match.start() - NEAR_CHARS), match.end() + NEAR_CHARS
        ):
            return None
        return (
            None if counts(match.string, match.end()) else f"{characters(words, letters)} {digit_words(words, digits)}"
        )

    def train(match: re.Match[str]) -> str | None:
        if counts(match.string, match.end(1)):
            return None
        return match[0].replace(match[1], digit_words(words, match[1]))

    return (Pass(_FLIGHT, flight), Pass(_TRAIN_BEFORE, train), Pass(_TRAIN_AFTER, train))
