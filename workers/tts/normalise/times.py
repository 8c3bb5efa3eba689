"""Reads times of day: "5:30 pm", "17:30", "9-6pm", "10 a.m."."""

from __future__ import annotations

import re

from workers.tts.normalise.contexts import counts
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

NEAR_CHARS = 12
"""Distance in characters from a time within which the part of the day is looked for."""

_HALF = r"([aApP])\.? ?[mM](?![\w])(?:\.)?"
_HOUR = r"([01]?[0-9]|2[0-4])"
_AFTER = r"(?: ?(?:hrs|hours|Hrs|बजे)(?![\w\u0900-\u0963]))?"
_PART_BEFORE = re.compile(r"(?:सुबह|सवेरे|दोपहर|शाम|रात)(?: के| को)? \Z")
_PART_AFTER = re.compile(r" (?:noon|midnight|o'clock)")
_DOTTED = re.compile(
    r"(?<!\w)((?i:at|by|till|until|around|before|after|from) )(1[0-2]|[1-9])\.([0-5][05])(?![\w%])"
    r"(?![.,:/-][0-9])(?! ?[ap]\.?m)"
)
"""Times with a full stop, as they are written in India: at 10.30."""
_SENTENCE = re.compile(
    r" (?!(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|I[SC]?T|[A-Z]{2,4}\b))[A-Z]"
)
_START = r"(?<![\w:.,/₹$€£-])"


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run before ranges and decimals, which use the same marks."""
    to = words.signs.to

    def clock(match: re.Match[str]) -> str | None:
        hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
        if hour > 24 or (hour == 24 and minute):
            return None
        spoken = words.clock(hour, minute, f"{half.lower()}m" if half else "", _has_part_of_day(match))
        return _with_stop(match, spoken)

    def dotted(match: re.Match[str]) -> str | None:
        if counts(match.string, match.end()):
            return None
        return match[1] + words.clock(int(match[2]), int(match[3]), "", True)

    return (
        Pass(re.compile(rf"{_START}([01][0-9]|2[0-3])([0-5][0-9])() ?(?:hrs|hours|Hrs)(?!\w)"), clock),
        Pass(re.compile(rf"{_START}(0?[0-9]|1[0-2])\.([0-5][0-9])() ?बजे(?![\w\u0900-\u0963])"), clock, "."),
        *((Pass(_DOTTED, dotted, "."),) if words.indian else ()),
        Pass(
            re.compile(rf"(?<=[0-9mM.]) ?[-–—] ?(?={_HOUR}(?:[:.][0-5][0-9])? ?[aApP]\.?[mM](?!\w))"),
            lambda match: f" {to} ",
            "-–—",
        ),
        Pass(re.compile(r"(?<=:[0-5][0-9]) ?[-–—] ?(?=[0-2]?[0-9]:[0-5][0-9])"), lambda match: f" {to} ", "-–—"),
        Pass(re.compile(rf"{_START}{_HOUR}[:.]([0-5][0-9])(?::[0-5][0-9])? ?{_HALF}"), clock, ":."),
        Pass(re.compile(rf"{_START}(0?[0-9]|1[0-2])() ?{_HALF}"), clock),
        Pass(
            re.compile(rf"{_START}{_HOUR}:([0-5][0-9])(?::[0-5][0-9])?()(?!\w|:[0-9]){_AFTER}"),
            clock,
            ":",
        ),
    )


def _with_stop(match: re.Match[str], spoken: str) -> str:
    """Keep the full stop of "5 pm.": it ends the sentence; that of "5 p.m." only before a new one."""
    if not match[0].endswith("."):
        return spoken
    ends = match.end() == len(match.string) or match[0][-3] != "." or _SENTENCE.match(match.string, match.end())
    return f"{spoken}." if ends else spoken


def _has_part_of_day(match: re.Match[str]) -> bool:
    """True if the words around the time name the part of the day."""
    before = match.string[max(0, match.start() - NEAR_CHARS) : match.start()]
    after = match.string[match.end() : match.end() + NEAR_CHARS]
    return bool(_PART_BEFORE.search(before) or _PART_AFTER.match(after))


def _half(match: re.Match[str]) -> str:
    spoken = f"{match[1].upper()} M"
    return f"{spoken}." if match[0].endswith(".") and match.end() == len(match.string) else spoken


HALVES: tuple[Pass, ...] = (Pass(re.compile(r"(?<!\w)([aApP])\. ?[mM](?:\.|(?!\w))"), _half, "."),)
"""The rest of "nine a.m.", where the number is a word already."""
