"""What a person hears who is to take over a caller, and what their answer means.  Pure."""

from __future__ import annotations

import re
from enum import Enum

from edge.outbound.state import Briefing, OutboundCall, Plan
from edge.transfer.state import Failure
from edge.vobiz.hangup_causes import cause_of
from edge.vobiz.xml import Conference, Gather, Hangup, Speak, Verb

WORDS_CHARS_MAX = 1_500
"""Most characters of a briefing: about 100 s of speech."""
ANSWER_S = 8
"""How long the person may think about it, in seconds."""
ACCEPT_HINTS = ("yes", "no", "accept", "haan", "nahi")

_YES = frozenset(
    {"yes", "yeah", "yep", "ok", "okay", "sure", "accept", "connect", "haan", "han", "ha", "ji", "हाँ", "हां", "जी"}
)
_NO = frozenset({"no", "nope", "not", "decline", "later", "busy", "nahi", "nahin", "नहीं", "ना"})
_PHRASES = {
    "en": (
        "Press 1 to take the call, or 2 to decline.",
        "You are being connected.",
        "The caller has hung up. Goodbye.",
        "Thank you. Goodbye.",
    ),
    "hi": (
        "कॉल लेने के लिए 1 दबाएँ, मना करने के लिए 2 दबाएँ।",
        "आपको जोड़ा जा रहा है।",
        "कॉल करने वाले ने फ़ोन रख दिया है। नमस्ते।",
        "धन्यवाद। नमस्ते।",
    ),
}
"""By language: how to answer; accepted; the caller is gone; declined."""


class PersonsAnswer(Enum):
    """What the person wants."""

    TAKES = "takes"
    DECLINES = "declines"
    UNCLEAR = "unclear"


def answer_of(digits: str, speech: str) -> PersonsAnswer:
    """The meaning of the fields `Digits` and `Speech` of a <Gather>.  A word against it counts more than one for it."""
    if digits:
        return {"1": PersonsAnswer.TAKES, "2": PersonsAnswer.DECLINES}.get(digits[:1], PersonsAnswer.UNCLEAR)
    words = set(re.findall(r"[^\W\d_]+(?:[\u0900-\u097f]*)", speech.lower())) | set(speech.lower().split())
    if words & _NO:
        return PersonsAnswer.DECLINES
    return PersonsAnswer.TAKES if words & _YES else PersonsAnswer.UNCLEAR


def briefing_call(briefing: Briefing, to: str, sender: str, ring_s: int, call_s_max: int) -> OutboundCall:
    """The outbound call to the person."""
    return OutboundCall("", to, sender, plan=Plan(ring_timeout_s=ring_s, call_s_max=call_s_max), briefing=briefing)


def briefing_words(whisper: str, reason: str) -> str:
    """What the person is told about the caller."""
    return " ".join(part.strip() for part in (whisper, reason) if part.strip())[:WORDS_CHARS_MAX]


def asks(briefing: Briefing, action: str, again: bool = False) -> list[Verb]:
    """The XML that briefs the person and takes the answer; silence is asked once more, and then means no."""
    press, _, _, goodbye = _phrases(briefing.language)

    def gather(*prompts: Speak) -> Gather:
        return Gather(
            action,
            prompts,
            input_type="dtmf speech",
            execution_timeout_s=ANSWER_S,
            num_digits=1,
            hints=ACCEPT_HINTS,
            language=briefing.language,
            log=False,
        )

    about = [_say(briefing.words, briefing.language)] if briefing.words.strip() else []
    keys = _say(press, briefing.language)
    first = [] if again else [gather(*about, keys)]
    return [*first, gather(*about, keys), _say(goodbye, briefing.language), Hangup()]


def joins(room: str, callback: str | None, call_s_max: int, words: str = "", language: str = "en") -> list[Verb]:
    """The XML that puts one of the two into the room.

    `stay_alone`, because one of them comes first, and `end_conference_on_exit`, so that nobody stays behind alone.
    """
    first: list[Verb] = [_say(words, language)] if words else []
    conference = Conference(
        room,
        stay_alone=True,
        start_conference_on_enter=True,
        end_conference_on_exit=True,
        time_limit_s=call_s_max,
        callback_url=callback,
    )
    return [*first, conference]


def connected(language: str) -> str:
    """What the person hears on accepting."""
    return _phrases(language)[1]


def caller_is_gone(language: str) -> list[Verb]:
    """The XML for a person whose caller is no longer there."""
    return [_say(_phrases(language)[2], language), Hangup()]


def declined(language: str) -> list[Verb]:
    """The XML for a person who does not take the call."""
    return [_say(_phrases(language)[3], language), Hangup()]


def why_closed(dial: OutboundCall) -> Failure:
    """Why a call to a person that is over did not lead to a talk."""
    if dial.state == "failed":
        return Failure.UNREACHABLE
    return failure_of(dial.cause)


def failure_of(word: str, other: str = "") -> Failure:
    """The failure that a DialStatus or a hangup cause names; `other` decides if the first is not understood."""
    code = cause_of(word, word, other).code
    return _FAILURES.get(code, Failure.UNREACHABLE)


_FAILURES = {
    3000: Failure.NO_ANSWER,
    6010: Failure.NO_ANSWER,
    3010: Failure.BUSY,
    3100: Failure.BUSY,
    3020: Failure.DECLINED,
    3110: Failure.DECLINED,
    4000: Failure.DECLINED,
    4010: Failure.DECLINED,
    1000: Failure.NO_ANSWER,
}
"""A call that was answered and ended without a yes (4000, 4010) was declined."""


def _say(text: str, language: str) -> Speak:
    return Speak(text, language=language if "-" in language else None)


def _phrases(language: str) -> tuple[str, str, str, str]:
    return _PHRASES.get(language.lower().partition("-")[0], _PHRASES["en"])
