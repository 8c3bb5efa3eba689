"""Events of an outbound call: what we do, what the carrier answers, and what its webhooks report.  Pure.

edge/outbound/state.py determines the state that follows from each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from edge.vobiz.hangup_causes import cause_text
from edge.vobiz.webhook_events import call_id_of, is_over


@dataclass(frozen=True, slots=True)
class Sent:
    """The request is about to be sent; written to Redis before it is."""

    signed: bool = False
    """Whether the URLs in the request carry our proof."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The carrier accepted the request; `call_id` is the CallUUID of the call's webhooks."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Over the account's rate, or the carrier is away: nothing was placed, and the dialer pauses."""


@dataclass(frozen=True, slots=True)
class AccountRefused:
    """The carrier refused the account, not this call (no credit, for example): nothing was placed, and the call waits.

    `keeps_position` is False if the answer could concern this call after all: then the other calls are tried first.
    """

    why: str
    keeps_position: bool = True


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """No answer, or an unreadable one: the call may have been placed."""


@dataclass(frozen=True, slots=True)
class RefusedByCarrier:
    """The carrier refused this call; a repeated request would be refused again."""

    why: str


@dataclass(frozen=True, slots=True)
class Ringing:
    """The phone rings, or the carrier confirms that it has the call."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A person or a machine picked up."""

    call_id: str


@dataclass(frozen=True, slots=True)
class MachineDetected:
    """The carrier detected a machine (True) or a person (False)."""

    machine: bool
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The carrier reports the end of the call; `cause` is its code or name, `answered` that it had been picked up."""

    cause: str
    call_id: str = ""
    answered: bool = False


@dataclass(frozen=True, slots=True)
class NotFound:
    """The carrier knows no such call."""


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The media stream is over, so the call should be: look it up soon if its hangup webhook does not arrive."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The call is no longer wanted; it ends if it was not placed yet."""


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
    """The event of a Hangup webhook; the first cause field that is understood decides."""
    names = ("HangupCauseCode", "HangupCause", "HangupCauseName", "CallStatus")
    code, text, name, status = (fields.get(key, "") for key in names)
    return Ended(cause_text(code, text, name, status), call_id_of(fields), bool(fields.get("AnswerTime")))


def sign_of_life(fields: Mapping[str, str]) -> Ringing | Ended:
    """The event of a webhook at the beginning of a call: the carrier has the call, or by its CallStatus it is over
    already.

    No CallStatus proves that somebody picked up: `in-progress` was seen on a call that ended busy.
    """
    return over_of(fields) if is_over(fields) else Ringing(call_id_of(fields))
