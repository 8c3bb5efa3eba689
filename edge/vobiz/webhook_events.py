"""Interprets a webhook: which call, which event, and whether the call is over.  Pure.

Names and words are compared without case and punctuation: Vobiz's own pages spell `CallUUID` and `call_uuid`,
`no-answer` and `NO_ANSWER`.  An unknown word is no error: it neither begins nor ends a call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from common.protocol.redis_keys import CALL_ID

DIAL_ID = re.compile(r"out-[A-Za-z0-9-]{1,60}")
"""The ids of outbound calls; anything else in a request is not one."""

_IDS = ("CallUUID", "RequestUUID", "ALegUUID", "ALegRequestUUID")
"""All equal for the leg that we talk to (captured); the later ones are used where an earlier one is missing."""
_NAMES = (
    *_IDS, "From", "To", "Direction", "CallStatus", "Event", "HangupCause", "HangupCauseCode", "HangupCauseName",
    "HangupSource", "Machine", "DialStatus", "StartTime", "AnswerTime", "EndTime", "SessionStart", "Duration",
    "BillDuration",
)  # fmt: skip


class WebhookEvent(StrEnum):
    """The meaning of a webhook for its call."""

    BEGINS = "begins"
    """The carrier asks for XML, for the first time or again."""
    ENDS = "ends"
    RINGS = "rings"
    MACHINE = "machine"
    """The carrier detected whether a person or a machine answered."""
    PROGRESS = "progress"
    """A report that neither begins nor ends the call."""
    UNKNOWN = "unknown"
    """An event that is not documented."""
    NOTHING = "nothing"
    """The webhook names no event."""


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
"""Fields of older callbacks about the leg of a <Dial>; events: "answer", "connected", "digits", "hangup"."""
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
"""Events that the documentation spells in lower case."""


def canonical(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields and the event in the documentation's spelling; a field that has it already takes precedence."""
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
    """The call's id: the first id field that is well-formed; empty if there is none."""
    return next((fields[name] for name in _IDS if CALL_ID.fullmatch(fields.get(name, ""))), "")


def dial_id_of(fields: Mapping[str, str]) -> str:
    """The outbound call's id in the URL; empty if there is none, or it is malformed."""
    return fields["dial"] if DIAL_ID.fullmatch(fields.get("dial", "")) else ""


def says(fields: Mapping[str, str]) -> WebhookEvent:
    """The meaning of the webhook.  With a CallStatus that is over it is an end, whatever its event."""
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
    """Whether CallStatus says that the call has ended; an unknown status does not."""
    return _folded(fields.get("CallStatus", "")) in _OVER


def is_outbound(fields: Mapping[str, str]) -> bool:
    """Whether the call is outbound; without a direction it counts as inbound."""
    return _folded(fields.get("Direction", "")).startswith("outbound")


def is_machine(fields: Mapping[str, str]) -> bool | None:
    """Whether a machine answered; None if the webhook does not say."""
    word = _folded(fields.get("Machine", ""))
    return True if word in _YES else False if word in _NO else None


def is_person_done(fields: Mapping[str, str]) -> bool:
    """Whether the call passed on to a person was answered; a missing status counts as answered."""
    return _folded(fields.get("DialStatus", "")) in _PERSON_DONE
