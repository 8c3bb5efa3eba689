"""The state machine of one transfer: `advance` takes an event and returns what changes.  Pure.

    cold   asked ──CallerLeft──▶ dialled ──▶ answered ──▶ joined ──TalkEnded──▶ over
    warm   asked ──▶ dialled ──▶ ringing ──▶ answered ──PersonAccepted──▶ joined ──▶ over
           any state before joined ──NotReached──▶ failed: the caller is with the agent, or comes back to it

A cold transfer takes the caller off the stream when it begins, a warm one when the person has accepted.  Events come
from webhooks, so they come late, twice and out of order: a state never goes back, and an event that changes nothing has
no effect.  A talk of less than `SHORT_TALK_MS` counts as failed: it was a mailbox that took the call, or a person who
hung up in the moment of joining, and the caller still wants somebody.

Each step has the events for the log with it: `TransferUpdated`, and once for each transfer `ToolReturned`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from msgspec.structs import replace

from common.call.acts import ToolOutcome, TransferState
from common.call.transfer import TRANSFERS_MAX, Transfer, TransferChange
from common.protocol.acts import ToolReturned, TransferUpdated
from common.protocol.messages import Message

SHORT_TALK_MS = 3_000
"""A shorter talk between caller and person is none: the caller goes back to the agent."""

_RANK = {
    TransferState.ASKED: 0,
    TransferState.DIALLED: 1,
    TransferState.RINGING: 2,
    TransferState.ANSWERED: 3,
    TransferState.JOINED: 4,
}


class Failure(StrEnum):
    """Why a transfer failed, or was not begun.  The values are labels of a metric, and are never changed."""

    NO_ANSWER = "no answer"
    BUSY = "busy"
    DECLINED = "declined"
    UNREACHABLE = "unreachable"
    SHORT_TALK = "short talk"
    TIMEOUT = "timeout"
    CALLER_GONE = "caller gone"
    NOT_ALLOWED = "not allowed"
    """DIAL_PREFIXES does not allow the number, or it is one of our own."""
    NO_TARGET = "no target"
    NOT_NOW = "not now"
    """Another transfer is under way, or the call has had too many."""
    NO_ACCOUNT = "no account"
    """The edge has no Vobiz credentials, which a warm transfer needs."""
    LIMIT = "limit"
    """DIALS_PER_DAY is used up, or the queue of outbound calls is full."""
    STORE = "store"
    """Redis is away."""


RESULTS: dict[Failure, str] = {
    Failure.NO_ANSWER: "Nobody answered.",
    Failure.BUSY: "The line is busy.",
    Failure.DECLINED: "The person did not take the call.",
    Failure.UNREACHABLE: "The number could not be reached.",
    Failure.SHORT_TALK: "The person hung up at once, or a mailbox answered.",
    Failure.TIMEOUT: "The person could not be reached in time.",
    Failure.CALLER_GONE: "The caller hung up.",
    Failure.NOT_ALLOWED: "This number may not be called.  Do not try it again.",
    Failure.NO_TARGET: "There is no target of this name.",
    Failure.NOT_NOW: "Another transfer is under way, or there were too many.",
    Failure.NO_ACCOUNT: "Transfers of this kind are not set up.  Do not try it again.",
    Failure.LIMIT: "No more calls can be placed now.",
    Failure.STORE: "Transfers are not possible at the moment.",
}
"""What the model is told."""
CONNECTED = "The caller was connected and has spoken with the person."
_REFUSED = frozenset({Failure.NOT_ALLOWED, Failure.NO_TARGET, Failure.NOT_NOW, Failure.NO_ACCOUNT})


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """The LLM worker asks for this transfer, whose caller is on connection `epoch`."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class CallerLeft:
    """The carrier asks what follows the caller's stream."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """The outbound call to the person is in the queue (warm)."""

    dial_id: str


@dataclass(frozen=True, slots=True)
class PersonRings:
    """The person's telephone rings (warm)."""


@dataclass(frozen=True, slots=True)
class PersonAnswered:
    """The person, or a machine, picked up."""


@dataclass(frozen=True, slots=True)
class PersonAccepted:
    """The person takes the call (warm); both will be in the conference `room`."""

    room: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Caller and person hear each other."""


@dataclass(frozen=True, slots=True)
class NotReached:
    """The person is not reached, or does not take the call."""

    why: Failure


@dataclass(frozen=True, slots=True)
class TalkEnded:
    """The person has left the caller."""


@dataclass(frozen=True, slots=True)
class CallerGone:
    """The carrier has ended the caller's call."""


TransferEvent: TypeAlias = (
    TransferAsked
    | CallerLeft
    | Dialled
    | PersonRings
    | PersonAnswered
    | PersonAccepted
    | Joined
    | NotReached
    | TalkEnded
    | CallerGone
)


@dataclass(frozen=True, slots=True)
class Step:
    """What an event changes: the transfer, the call's record, and the event log."""

    transfer: Transfer
    change: TransferChange = TransferChange.NOTE
    events: tuple[Message, ...] = ()
    failure: Failure | None = None
    """Why the transfer failed with this step."""


class OrderStanding(StrEnum):
    """What the record says to an order for a transfer."""

    NEW = "new"
    SAME = "same"
    """It is under way already: the order was repeated."""
    SETTLED = "settled"
    """It is over or has failed, or another one came after it: the order was repeated, and its result is in the log."""
    NOT_NOW = "not now"


def standing(known: Transfer | None, turn: int, n: int) -> OrderStanding:
    """Whether call `n` of reply `turn` may begin a transfer."""
    if known is None:
        return OrderStanding.NEW
    if known.is_of(turn, n):
        return OrderStanding.SAME if known.under_way else OrderStanding.SETTLED
    if known.under_way or known.attempt >= TRANSFERS_MAX:
        return OrderStanding.NOT_NOW
    return OrderStanding.SETTLED if (turn, n) < (known.turn, known.n) else OrderStanding.NEW


def advance(known: Transfer | None, event: TransferEvent, now_ms: int, at_ms: int) -> Step | None:
    """What the event changes; None if nothing.

    `now_ms` is the store's clock, `at_ms` Unix time for the event log.
    """
    if isinstance(event, TransferAsked):
        attempt = known.attempt + 1 if known is not None else 1
        transfer = replace(event.transfer, state=TransferState.ASKED, attempt=attempt, asked_ms=now_ms)
        change = TransferChange.LEAVE if transfer.left else TransferChange.STAY
        return Step(transfer, change, (_updated(transfer, at_ms),))
    if known is None or not known.under_way:
        return None
    match event:
        case CallerLeft():
            return _left(known, now_ms, at_ms)
        case Dialled(dial_id):
            return _to(replace(known, dial_id=dial_id), TransferState.DIALLED, at_ms)
        case PersonRings():
            return _to(replace(known, rings_ms=known.rings_ms or now_ms), TransferState.RINGING, at_ms)
        case PersonAnswered():
            return _to(known, TransferState.ANSWERED, at_ms)
        case PersonAccepted(room):
            return _accepted(known, room, at_ms)
        case Joined():
            return _to(replace(known, joined_ms=now_ms), TransferState.JOINED, at_ms) if known.left else None
        case NotReached(why):
            return _failed(known, why, now_ms, at_ms) if known.state is not TransferState.JOINED else None
        case TalkEnded():
            return _talk_ended(known, now_ms, at_ms)
        case CallerGone():
            return _caller_gone(known, now_ms, at_ms)


def _left(known: Transfer, now_ms: int, at_ms: int) -> Step | None:
    if known.left_ms or not known.left:
        return None
    left = replace(known, left_ms=now_ms, rings_ms=known.rings_ms or now_ms)
    return _to(left, TransferState.DIALLED, at_ms) or Step(left)


def _accepted(known: Transfer, room: str, at_ms: int) -> Step | None:
    if known.mode != "warm" or known.room:
        return None
    taken = replace(known, room=room, state=TransferState.ANSWERED)
    events = () if known.state is TransferState.ANSWERED else (_updated(taken, at_ms),)
    return Step(taken, TransferChange.LEAVE, events)


def _talk_ended(known: Transfer, now_ms: int, at_ms: int) -> Step:
    """A talk without a known begin is measured from the moment at which the carrier was given the XML for it."""
    began_ms = known.joined_ms or known.left_ms
    if not began_ms or now_ms - began_ms < SHORT_TALK_MS:
        return _failed(known, Failure.SHORT_TALK, now_ms, at_ms)
    return _over(known, now_ms, at_ms)


def _caller_gone(known: Transfer, now_ms: int, at_ms: int) -> Step:
    if known.state is TransferState.JOINED:
        return _over(known, now_ms, at_ms)
    return _failed(known, Failure.CALLER_GONE, now_ms, at_ms)


def _over(known: Transfer, now_ms: int, at_ms: int) -> Step:
    over = replace(known, state=TransferState.OVER, settled_ms=now_ms)
    took_ms = max(0, now_ms - known.asked_ms)
    done = ToolReturned(known.turn, known.n, ToolOutcome.DONE.value, CONNECTED, took_ms)
    return Step(over, events=(_updated(over, at_ms), done))


def _failed(known: Transfer, why: Failure, now_ms: int, at_ms: int) -> Step:
    failed = replace(known, state=TransferState.FAILED, settled_ms=now_ms)
    took_ms = max(0, now_ms - known.asked_ms)
    returned = result_of(known.turn, known.n, why, took_ms)
    comes_back = known.left and why is not Failure.CALLER_GONE
    change = TransferChange.COME_BACK if comes_back else TransferChange.NOTE
    return Step(failed, change, (_updated(failed, at_ms), returned), why)


def _to(known: Transfer, state: TransferState, at_ms: int) -> Step | None:
    """The transfer in a later state; None if it has come as far already."""
    if _RANK[known.state] >= _RANK[state]:
        return None
    moved = replace(known, state=state)
    return Step(moved, events=(_updated(moved, at_ms),))


def _updated(transfer: Transfer, at_ms: int) -> TransferUpdated:
    """Epoch 0: a transfer outlives the connections of its call."""
    return TransferUpdated(transfer.turn, transfer.n, transfer.state.value, at_ms)


def result_of(turn: int, n: int, why: Failure, took_ms: int = 0) -> ToolReturned:
    """The result of a transfer that failed or was not begun."""
    outcome = ToolOutcome.REFUSED if why in _REFUSED else ToolOutcome.FAILED
    return ToolReturned(turn, n, outcome.value, RESULTS[why], took_ms)
