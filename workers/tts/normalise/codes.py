"""Reads passwords, order numbers, PNRs and number plates digit by digit and letter by letter."""

from __future__ import annotations

import re

from workers.tts.normalise.acronyms import is_initialism
from workers.tts.normalise.contexts import CONTEXTS, IDENTIFIER, RECORD, SECRET, NumberContext, counts, is_code
from workers.tts.normalise.phones import digit_words
from workers.tts.normalise.spans import Pass, Rule
from workers.tts.normalise.words import Words

END = r"(?![\w%])(?![.,:/-][0-9])"
"""Lookahead for what must not follow the digits of a code."""
MORE = r"((?:(?:,? (?:and|or|या|और|&) |, ?)(?:[0-9]{3} [0-9]{3}|[0-9]{3,8})(?![\w%])(?![.,:/-][0-9])){0,5})"
"""Pattern for the rest of a list: ", 101 or 108"."""

_GAP = r"[ \n:#.,–—-]"
_TOKEN = r"(?:[A-Z]{1,8}[-/]){0,2}[A-Z]{0,8}[0-9][A-Z0-9]{0,23}(?:[-/][A-Z0-9]{1,16}){0,4}(?:(?<=[A-Z]) [0-9]{2,4})?"  # noqa: S105
_IN_GROUPS = r"[0-9]{2,6}(?: [0-9]{2,6}){1,3}(?![0-9]| [0-9])"
_LETTERED = re.compile(
    rf"(?<!\w)(?i:pnr|code|token|utr|ifsc)(?i:(?:{_GAP}{{1,3}}(?:is|was|no|number|id|code|ref|है|नंबर)(?=[ :#.-])){{0,4}}"
    rf"{_GAP}{{1,3}})([A-Z][A-Z0-9]{{3,15}})(?!\w)"
)
_BEFORE = re.compile(
    r"(?<![\w₹$€£.,:/+-])([0-9]{3,8})(?= (?:is|as|को|आपका|आपकी)(?: \w{1,12}){0,3}"
    r" (?:OTP|otp|PIN|pin|code|password|extension|ओटीपी|पिन|कोड)(?!\w))"
)
_PLATE = re.compile(r"(?<!\w)[A-Z]{2}[ -]?[0-9]{1,2}[ -]?[A-Z]{1,3}(?:[ -][A-Z]{1,2})?[ -]?[0-9]{4}(?!\w)")
_DASHED = re.compile(
    r"(?<![\w@./-])[A-Z]{1,8}(?:[-/][A-Z]{1,6}){0,2}[-/][0-9]{1,8}[-/][A-Z0-9]{1,10}(?:[-/][A-Z0-9]{1,10}){0,2}(?![\w/-])"
)
_INTERSTATE = re.compile(r"(?<!\w)I-([0-9]{3})(?!\w)")
_SIGNED = re.compile(rf"(?<![\w#])#([0-9]{{3,8}}){END}")
_PROMOTION = re.compile(r"(?=[A-Z]{0,12}[AEIOU])([A-Z]{4,12})([0-9]{1,3})")
_MIXED = re.compile(
    r"(?<![\w.,@/-])(?=[A-Z0-9-]{2,40}(?![\w]))[A-Z0-9]{0,20}(?:[A-Z]-?[0-9]|[0-9]-?[A-Z])[A-Z0-9]{0,20}"
    r"(?:-[A-Z0-9]{1,12}){0,4}(?!\w)(?![.,:][0-9])"
)
_RUNS = re.compile(r"[A-Z]+|[0-9]+")
_SHORT = 2


def characters(words: Words, token: str) -> str:
    """Return the token digit by digit and letter by letter, with pauses between groups of digits."""
    if " " in token and token.replace(" ", "").isdecimal():
        return ", ".join(words.digits(group) for group in token.split())
    if word := _PROMOTION.fullmatch(token):
        return f"{word[1]} {words.cardinal(int(word[2]), indian=True) if len(word[2]) < 3 else words.digits(word[2])}"
    mixed_words = ""
    for run in _RUNS.finditer(token):
        pause = "," if run.start() and re.match("[0-9][-/][0-9]", token[run.start() - 2 :]) else ""
        mixed_words += f"{pause} {' '.join(run[0]) if run[0].isalpha() else digit_words(words, run[0])}"
    return mixed_words.strip()


def more(words: Words, match: re.Match[str], group: int) -> str:
    """Return the rest of a list, read like its first number, except for a number that counts something."""
    start = match.start(group)

    def one(number: re.Match[str]) -> str:
        return number[0] if counts(match.string, start + number.end()) else characters(words, number[0])

    return re.sub("[0-9]{3} [0-9]{3}|[0-9]{3,8}", one, match[group])


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes for numbers that are codes because of the words around them."""

    def after(context: NumberContext) -> Rule:
        def rule(match: re.Match[str]) -> str | None:
            between, token = match[1], match[2]
            if not is_code(context, match.string, match.start(), between, token, match.end(2)):
                return None
            return match[0][: match.start(2) - match.start()] + characters(words, token) + more(words, match, 3)

        return rule

    def lettered(match: re.Match[str]) -> str:
        return match[0][: -len(match[1])] + characters(words, match[1])

    return (
        *(Pass(_pattern(context), after(context)) for context in CONTEXTS),
        Pass(_LETTERED, lettered),
        Pass(_BEFORE, lambda match: characters(words, match[1])),
        Pass(_PLATE, lambda match: characters(words, match[0])),
        Pass(_DASHED, lambda match: characters(words, match[0]), "-/"),
        Pass(_INTERSTATE, lambda match: f"I {words.digits(match[1])}", "-"),
        Pass(_SIGNED, lambda match: f"{words.signs.number} {digit_words(words, match[1])}", "#"),
    )


def _pattern(context: NumberContext) -> re.Pattern[str]:
    between = rf"(?:{_GAP}{{1,3}}(?:{context.links})(?=[ :#.,–—-])){{0,4}}{_GAP}{{1,3}}"
    if context.described:
        between = rf"(?: (?:for|of|to|from)(?: [\w'’&.-]{{1,20}}){{1,4}} (?:is|was|are))?{between}"
    token = f"(?:{_IN_GROUPS}|{_TOKEN})" if context in (SECRET, IDENTIFIER, RECORD) else _TOKEN
    return re.compile(rf"(?<![\w#])(?i:{context.words})(?i:({between}))({token}){END}{MORE}")


def mixed(words: Words) -> tuple[Pass, ...]:
    """Return the pass for letters and digits in one word (5G, B2B, COVID-19, AB12CD); it runs after units and money."""

    def mixed_words(match: re.Match[str]) -> str:
        runs = _RUNS.findall(match[0])
        short = sum(1 for run in runs if run[0].isdecimal()) == 1
        parts = []
        for run in runs:
            if run[0].isdecimal():
                whole = short and len(run) <= _SHORT and run[0] != "0"
                parts.append(words.cardinal(int(run), indian=words.indian) if whole else digit_words(words, run))
            else:
                word = len(run) > 3 and not is_initialism(run) and short
                parts.append(run if word else " ".join(run))
        return " ".join(parts)

    return (Pass(_MIXED, mixed_words),)
