"""Reads short service numbers (112, 1930) and SMS codes digit by digit, where they are to be called."""

from __future__ import annotations

import re

from workers.tts.normalise.codes import END, MORE, characters, more
from workers.tts.normalise.contexts import NEAR_CHARS, SERVICE_NUMBERS, SERVICE_WORDS, counts
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

_FILLERS = (
    "is|are|on|at|number|numbers|no|helpline|hotline|line|the|a|an|by|or|and|service|services|control|room|brigade|"
    "station|department|desk|centre|center|dial|call|calling|dialling|dialing|crime|enquiry|cell|ko|ke|ka|liye|par|पर|नंबर|को|का|की|के|"
    "लिए|है|लाइन|सेवा|कॉल|करें|अपराध"
)
_GAP = r"[ ,:(–—-]{1,3}"
_AFTER = re.compile(
    rf"(?<!\w)(?i:{SERVICE_WORDS})(?:['’]s)?{_GAP}(?:(?i:{_FILLERS})(?:['’]s)?{_GAP}){{0,4}}({SERVICE_NUMBERS}){END}{MORE}"
)
_BEFORE = re.compile(
    rf"(?<![\w₹$€£.,:/+-])({SERVICE_NUMBERS}){END}(?= \(?(?:(?i:is|for|the|a|an|your|our|number|"
    rf"national|free|par|pe|ko|पर|को|का|नंबर)"
    rf" ){{0,5}}(?i:{SERVICE_WORDS}|call(?!\w)|dial|कॉल|डायल|फ़ोन|फोन)(?!\w))"
)
_EMERGENCY = re.compile(rf"(?<![\w₹$€£.,:/+-])(?<!page )(?<!pages )(?<!Porsche )(?<!room )(911){END}")
_LISTED = re.compile(
    rf"(?<![\w₹$€£.,:/+-])(?:(?<=and )|(?<=or )|(?<=, )|(?<=और )|(?<=या ))"
    rf"({SERVICE_NUMBERS}){END}(?= (?:for|if|in case)|[,.;।]|$)"
)
_CALLING = re.compile(r"(?i)(?<!\w)(?:call|dial|ring|text|कॉल|डायल)(?!\w)")
_TEXT_TO = re.compile(
    rf"(?<!\w)(?i:sms|text|message|send)(?: ['\"“]?\w{{1,15}}['\"”]?){{1,4}} (?i:to) ([0-9]{{4,6}}){END}"
)


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run after codes, before numbers."""

    def called(match: re.Match[str]) -> str | None:
        if counts(match.string, match.end(1)):
            return None
        rest = more(words, match, 2) if match.lastindex == 2 else match[0][match.end(1) - match.start() :]
        return match[0][: match.start(1) - match.start()] + characters(words, match[1]) + rest

    def listed(match: re.Match[str]) -> str | None:
        return (
            called(match) if _CALLING.search(match.string, max(0, match.start() - NEAR_CHARS), match.start()) else None
        )

    patterns = (_AFTER, _BEFORE, _TEXT_TO, _EMERGENCY)
    return (Pass(_LISTED, listed), *(Pass(pattern, called) for pattern in patterns))
