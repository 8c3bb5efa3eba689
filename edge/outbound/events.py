"""What can happen to an outbound call: what we do, what the carrier answers, and what its webhooks say.  Pure.

`edge/outbound/state.py` says which state follows from each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from edge.vobiz.hangup_causes import cause_text
from edge.vobiz.webhook_events import call_id_of, is_over


@dataclass(frozen=True, slots=True)
class Sent:
    """The request is about to leave; written down before it does."""

    signed: bool = False
    """The URLs that the carrier is given carry our proof."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The carrier took the request; `call_id` is the CallUUID of the call's webhooks."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Over the account's limit, or the carrier is away: nothing was placed.  Whoever dials pauses for all calls."""


@dataclass(frozen=True, slots=True)
class AccountRefused:
    """The carrier refused the account, not this call (no credit, say): nothing was placed, and nothing is lost.

    `keeps_position` is false if the answer could be about this call after all: then the others are tried first.
    """

    why: str
    keeps_position: bool = True


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """No answer, or one that cannot be read: it may have been placed."""


@dataclass(frozen=True, slots=True)
class RefusedByCarrier:
    """The carrier refused; asking again does not help."""

    why: str


@dataclass(frozen=True, slots=True)
class Ringing:
    """The phone rings, or the carrier has the call."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Somebody, or something, picked up."""

    call_id: str


@dataclass(frozen=True, slots=True)
class MachineDetected:
    """The carrier has decided: a machine (True) or a person."""

    machine: bool
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The carrier says that the call is over; `cause` is its code or name, `answered` that somebody had picked up."""

    cause: str
    call_id: str = ""
    answered: bool = False


@dataclass(frozen=True, slots=True)
class NotFound:
    """The carrier knows of no such call."""


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The media stream is over, so the call should be: look it up soon if its hangup webhook does not come."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody wants it any more, and it was not placed."""


OutboundEvent: TypeAlias = (
    Sent
    | Accepted
    | Throttled
    | AccountRefused
    | OutcomeUnknown
    | RefusedByCarrier
    | Ringing
    | Answered
    | MachineDetected
    | Ended
    | NotFound
    | Cancelled
    | StreamClosed
)


def over_of(fields: Mapping[str, str]) -> Ended:
    """What a Hangup webhook says of the call's end: the first field that is understood, whichever it is."""
    names = ("HangupCauseCode", "HangupCause", "HangupCauseName", "CallStatus")
    code, text, name, status = (fields.get(key, "") for key in names)
    return Ended(cause_text(code, text, name, status), call_id_of(fields), bool(fields.get("AnswerTime")))


def sign_of_life(fields: Mapping[str, str]) -> Ringing | Ended:
    """What a webhook of a call that begins says: that the carrier has it, or by its CallStatus that it is over already.

    No CallStatus says that somebody picked up: `in-progress` was seen on a call that ended busy.
    """
    return over_of(fields) if is_over(fields) else Ringing(call_id_of(fields))
