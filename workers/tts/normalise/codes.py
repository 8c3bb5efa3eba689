"""Passwords, order numbers, PNRs, flights, number plates: digit by digit, letter by letter."""

from __future__ import annotations

import re

from workers.tts.normalise.acronyms import is_spelled
from workers.tts.normalise.phones import spelled
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

WEAK_DIGITS_MIN = 3
"""After a word that has other uses ("order 12 plates") fewer digits than this are a number."""

_STRONG = (
    "otp|pin ?code|mpin|pin|passcode|password|cvv|pnr|utr|zip ?code|verification code|access code|aadhaar|"
    "ending in|ending with|ends in|ending|last four digits|ओटीपी|पिन ?कोड|पिन|पीएनआर|कोड"
)
_WEAK = (
    "code|order|ref|reference|booking|ticket|tracking|invoice|account|a/c|policy|complaint|case|transaction|token|"
    "customer|consumer|membership|registration|application|id|card|extension|ext|dial|call|helpline|whatsapp|flight|"
    "train|phone|mobile|ऑर्डर|आर्डर|बुकिंग|टिकट|खाता|खाते|शिकायत|आईडी|हेल्पलाइन"
)
_LINKS = "is|was|no|nos|number|id|code|ref|ending|in|with|are|on|at|us|है|नंबर|नम्बर|संख्या|आईडी|का"
_GAP = r"[ \n:#.,-]"
_BETWEEN = rf"(?:{_GAP}{{1,3}}(?:{_LINKS})(?=[ :#.-])){{0,4}}{_GAP}{{1,3}}"
_TOKEN = r"[A-Z]{0,8}[0-9][A-Z0-9]{0,23}(?:[-/][A-Z0-9]{1,16}){0,4}(?:(?<=[A-Z]) [0-9]{2,4})?"  # noqa: S105
_END = r"(?![\w%])(?![.,:/-][0-9])"
_NUMBERED = re.compile(rf"(?<![\w#])(?i:({_STRONG})|{_WEAK})(?i:({_BETWEEN}))({_TOKEN}){_END}")
_LETTERED = re.compile(rf"(?<!\w)(?i:pnr|code|token|utr|ifsc)(?i:{_BETWEEN})([A-Z][A-Z0-9]{{3,15}})(?!\w)")
_BEFORE = re.compile(
    r"(?<![\w₹$€£.,:/+-])([0-9]{3,8})(?= (?:is|as|को|आपका)(?: \w{1,12}){0,3} (?:OTP|PIN|pin|code|ओटीपी|पिन|कोड)(?!\w))"
)
_PLATE = re.compile(r"(?<!\w)[A-Z]{2}[ -]?[0-9]{2}[ -]?[A-Z]{1,3}[ -]?[0-9]{4}(?!\w)")
_MIXED = re.compile(
    r"(?<![\w.,@/-])(?=[A-Z0-9-]{2,40}(?![\w]))[A-Z0-9]{0,20}(?:[A-Z]-?[0-9]|[0-9]-?[A-Z])[A-Z0-9]{0,20}"
    r"(?:-[A-Z0-9]{1,12}){0,4}(?!\w)(?![.,:][0-9])"
)
_RUNS = re.compile(r"[A-Z]+|[0-9]+")
_SHORT = 2


def passes(words: Words) -> tuple[Pass, ...]:
    """What the words around it say to be a code."""

    def characters(token: str) -> str:
        parts = []
        for run in _RUNS.findall(token):
            parts.append(" ".join(run) if run[0].isalpha() else spelled(words, run))
        return " ".join(parts)

    def numbered(match: re.Match[str]) -> str | None:
        token = match[3]
        named = re.search(r"(?i)\b(?:no|nos|number|id|code|ref|ending)\b|[#:]|नंबर|संख्या", match[2])
        if not match[1] and not named and sum(map(str.isdecimal, token)) < WEAK_DIGITS_MIN:
            return None
        return match[0][: -len(token)] + characters(token)

    return (
        Pass(_NUMBERED, numbered),
        Pass(_LETTERED, lambda match: match[0][: -len(match[1])] + characters(match[1])),
        Pass(_BEFORE, lambda match: characters(match[1])),
        Pass(_PLATE, lambda match: characters(match[0])),
    )


def mixed(words: Words) -> tuple[Pass, ...]:
    """Letters and digits in one word, after units and currencies have taken theirs: 5G, B2B, COVID-19, AB12CD."""

    def said(match: re.Match[str]) -> str:
        runs = _RUNS.findall(match[0])
        short = sum(1 for run in runs if run[0].isdecimal()) == 1
        parts = []
        for run in runs:
            if run[0].isdecimal():
                whole = short and len(run) <= _SHORT and run[0] != "0"
                parts.append(words.cardinal(int(run), indian=words.indian) if whole else spelled(words, run))
            else:
                word = len(run) > 3 and not is_spelled(run) and short
                parts.append(run if word else " ".join(run))
        return " ".join(parts)

    return (Pass(_MIXED, said),)
