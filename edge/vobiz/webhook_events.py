"""What a webhook says about its call: which call, which event, and whether the call still lives.  Pure.

Names and words are compared without case and marks: Vobiz's own pages spell `CallUUID` and `call_uuid`, `no-answer`
and `NO_ANSWER`.  A word that is not known is no error: it neither begins nor ends a call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from common.protocol.redis_keys import CALL_ID

DIAL_ID = re.compile(r"out-[A-Za-z0-9-]{1,60}")
"""The ids that the dialer gives to outbound calls; whatever else a request names is none."""

_IDS = ("CallUUID", "RequestUUID", "ALegUUID", "ALegRequestUUID")
"""All the same for the leg that we talk to (captured); the others stand in where one is missing."""
_NAMES = (
    *_IDS, "From", "To", "Direction", "CallStatus", "Event", "HangupCause", "HangupCauseCode", "HangupCauseName",
    "HangupSource", "Machine", "DialStatus", "StartTime", "AnswerTime", "EndTime", "SessionStart", "Duration",
    "BillDuration",
)  # fmt: skip


class WebhookEvent(StrEnum):
    """What an event means for the call."""

    BEGINS = "begins"
    """The carrier asks what to do with the call, for the first time or again."""
    ENDS = "ends"
    RINGS = "rings"
    MACHINE = "machine"
    """It is known whether a person or a machine has answered."""
    PROGRESS = "progress"
    """Something happened to the call, or beside it, that neither begins nor ends it."""
    UNKNOWN = "unknown"
    """An event that no page names."""
    NOTHING = "nothing"
    """No event is named."""


_BEGINS = ("StartApp", "Answer", "Transfer", "Redirect", "DialAction")
_PROGRESS = (
    *("StartStream", "PlayedStream", "ClearedAudio", "DegradedStream", "DroppedStream", "StopStream", "MediaError"),
    *("DialAnswer", "DialConnected", "DialDigitsMatch", "DialHangup", "Connected", "Digits"),
    *("Record", "RecordStop", "ConferenceEnter", "ConferenceExit"),
)
_EVENTS = {
    **dict.fromkeys(_BEGINS, WebhookEvent.BEGINS),
    **dict.fromkeys(_PROGRESS, WebhookEvent.PROGRESS),
    "Hangup": WebhookEvent.ENDS,
    "Ring": WebhookEvent.RINGS,
    "MachineDetection": WebhookEvent.MACHINE,
    "": WebhookEvent.NOTHING,
}
_OF_OTHER_LEG = ("DialAction", "DialBLegUUID", "DialBLegStatus")
"""In older callbacks about the leg of a <Dial>, whose events are "answer", "connected", "digits" and "hangup"."""
_OVER = frozenset(
    {
        *("completed", "busy", "failed", "timeout", "noanswer", "cancel"),  # documented
        *("canceled", "cancelled", "rejected", "hangup", "ended", "disconnected"),
    }
)
_PERSON_DONE = frozenset({"", "completed", "complete", "answered"})
_YES, _NO = frozenset({"true", "yes", "1", "machine"}), frozenset({"false", "no", "0", "human", "person"})


def _folded(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


_NAME_OF = {_folded(name): name for name in _NAMES}
_EVENT_OF = {_folded(name): name for name in _EVENTS}
_BOTH_WAYS = frozenset({"answer", "connected", "digits"})
"""Events that the documentation itself spells small."""


def canonical(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields, and the event, as the documentation spells them; a field that is spelled right wins."""
    known: dict[str, str] = {}
    for name, value in fields.items():
        right = _NAME_OF.get(_folded(name), name)
        if right == name or not fields.get(right):
            known[right] = value
    event = known.get("Event", "")
    if event and event not in _BOTH_WAYS:
        known["Event"] = _EVENT_OF.get(_folded(event), event)
    return known


def call_id_of(fields: Mapping[str, str]) -> str:
    """The first field that holds an id of the call; empty if none does."""
    return next((fields[name] for name in _IDS if CALL_ID.fullmatch(fields.get(name, ""))), "")


def dial_id_of(fields: Mapping[str, str]) -> str:
    """The id that the dialer put into the URL; empty if there is none, or something else."""
    return fields["dial"] if DIAL_ID.fullmatch(fields.get("dial", "")) else ""


def says(fields: Mapping[str, str]) -> WebhookEvent:
    """What the webhook means.  A call whose status is over has ended, whatever is asked for it."""
    named = _EVENT_OF.get(_folded(fields.get("Event", "")))
    event = WebhookEvent.UNKNOWN if named is None else _EVENTS[named]
    if named in ("Answer", "Hangup") and any(fields.get(name) for name in _OF_OTHER_LEG):
        return WebhookEvent.PROGRESS
    if event is WebhookEvent.BEGINS and is_over(fields):
        return WebhookEvent.ENDS
    if event is WebhookEvent.NOTHING and (
        is_over(fields) or fields.get("HangupCause") or fields.get("HangupCauseCode")
    ):
        return WebhookEvent.ENDS
    return event


def is_over(fields: Mapping[str, str]) -> bool:
    """Does CallStatus say that the call has ended?  A status that is not known lives."""
    return _folded(fields.get("CallStatus", "")) in _OVER


def is_outbound(fields: Mapping[str, str]) -> bool:
    """Did we call them?  What names no direction came to us."""
    return _folded(fields.get("Direction", "")).startswith("outbound")


def is_machine(fields: Mapping[str, str]) -> bool | None:
    """Did a machine answer?  None if the webhook does not say."""
    word = _folded(fields.get("Machine", ""))
    return True if word in _YES else False if word in _NO else None


def is_person_done(fields: Mapping[str, str]) -> bool:
    """A call was passed on to a person: did they talk?  Unsaid counts as talked."""
    return _folded(fields.get("DialStatus", "")) in _PERSON_DONE
