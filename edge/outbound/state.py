"""The state machine of one outbound call: `advance` takes an event and returns the next state.  Pure.

    queued ──Sent──▶ dialing ──Accepted──▶ placed ──Ringing──▶ ringing ──Answered──▶ answered ──Ended──▶ ended
       ▲                │                     └──────────────────────────────────────────────▶┘
       │                ├── Throttled, AccountRefused: queued again in its position, the attempt does not count
       │                ├── RefusedByCarrier: failed
       │                └── OutcomeUnknown ──▶ uncertain: the carrier may have placed it; it is never sent again
       │                                   ├── any webhook of it: it was placed
       │                                   └── NotFound, twice (the carrier knows no such call): queued again
       └── Ended before it was answered, by a cause worth another attempt, with attempts left

Every request that is sent has a name of its own (`OutboundRequest.name`), which no other request of this call gets; the
URLs of the request's webhooks contain it.  An event is matched by the carrier's call id, else by that name.  So the
late end of one request says nothing about another, and a request that was given up and then shows a sign of life takes
the call out of the queue again.  While any request is alive, nothing more is sent.

Events arrive late, twice and out of order (webhooks do), so a state never goes back: `Ringing` after `Answered` changes
nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec

from edge.outbound.events import (
    Accepted,
    AccountRefused,
    Answered,
    Cancelled,
    Ended,
    MachineDetected,
    NotFound,
    OutboundEvent,
    OutcomeUnknown,
    RefusedByCarrier,
    Ringing,
    Sent,
    StreamClosed,
    Throttled,
    over_of,
    sign_of_life,
)
from edge.vobiz.hangup_causes import account_reason, may_retry

__all__ = [
    "CLOSED",
    "GIVEN_UP",
    "OPEN",
    "OVER",
    "POST_MS_MAX",
    "REQUESTS_KEPT",
    "STATES",
    "UNCERTAIN_MS",
    "Accepted",
    "AccountRefused",
    "Answered",
    "Briefing",
    "Cancelled",
    "Ended",
    "MachineDetected",
    "NotFound",
    "OutboundCall",
    "OutboundEvent",
    "OutboundRequest",
    "OutcomeUnknown",
    "Plan",
    "RefusedByCarrier",
    "Ringing",
    "Sent",
    "StreamClosed",
    "Throttled",
    "advance",
    "over_of",
    "sign_of_life",
]  # fmt: skip


STATES = ("queued", "dialing", "uncertain", "placed", "ringing", "answered", "ended", "failed")
OPEN = frozenset({"dialing", "uncertain", "placed", "ringing", "answered"})
"""States in which the call counts against the account's concurrent calls."""
CLOSED = frozenset({"ended", "failed"})
GIVEN_UP = "given up"
"""State of a request that the carrier seemed not to know.  It may still show a sign of life."""
OVER = "over"
"""Final state of a request."""

POST_MS_MAX = 30_000
"""A request without an outcome is uncertain after this: its sender died."""
UNCERTAIN_MS = 15_000
"""Pause until an uncertain call is looked up, and between two look-ups."""
LOOKUPS = 2
"""Look-ups that must find nothing before an uncertain call counts as never placed."""
UNHEARD_MS = 60_000
"""Grace beyond the ring timeout until an accepted call without an event is looked up."""
UNSEEN_MS = 600_000
"""An answered call is looked up this often: the edge that would report its end may have died."""
DUE_MS_MAX = 2**53
REQUESTS_KEPT = 32
"""Requests kept of one call, so that late events of them are understood; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Attempts, timeouts and the treatment of answering machines for one outbound call."""

    ring_timeout_s: int = 45
    attempts_max: int = 1
    retry_after_s: int = 300
    machine: str = ""
    """Treatment of an answering machine: "" (talk to it), "hangup", or "message" (leave `message`)."""
    message: str = ""
    call_s_max: int = 14_400


@dataclass(frozen=True, slots=True)
class Briefing:
    """Whom the called person may be connected to: the caller of call `call_id`, whose reply `turn` asked for it."""

    call_id: str
    turn: int
    n: int
    words: str = ""
    """What the person is told first."""
    language: str = "en"

    @property
    def transfer(self) -> str:
        """The name of the transfer in its call (`Transfer.name`)."""
        return f"{self.turn}.{self.n}"


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One request for the call that was sent to the carrier."""

    name: int
    state: str = "dialing"
    """One of `OPEN`, or `GIVEN_UP`, or `OVER`."""
    call_id: str = ""
    """The carrier's CallUUID, once known."""
    sent_ms: int = 0
    signed: bool = False
    """Whether the URLs in the request carry our proof (url_proof.py)."""


@dataclass(frozen=True, slots=True)
class OutboundCall:
    """One requested call.  All times are Unix ms by the clock of the Redis server that holds it."""

    dial_id: str
    to: str
    sender: str
    agent: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    state: str = "queued"
    attempt: int = 0
    """Attempts that count against `plan.attempts_max`."""
    due_ms: int = 0
    """Time of the next action: place it if queued, look it up if open."""
    call_id: str = ""
    cause: str = ""
    lookups: int = 0
    """Look-ups of the uncertain request that found nothing."""
    machine: str = ""
    """Whether a machine answered: "yes" or "no", "" while unknown."""
    created_ms: int = 0
    changed_ms: int = 0
    sent: int = 0
    """Number of requests sent, whatever their outcome; also the name of the newest."""
    requests: tuple[OutboundRequest, ...] = ()
    briefing: Briefing | None = None
    """Set if the call is to a person who is to take over a caller (edge/transfer); such a call has no agent."""
    refused_ms: int = 0
    """When the carrier last refused the account while placing this call; 0: never."""

    @property
    def lead(self) -> OutboundRequest | None:
        """The alive request that has come furthest; `state` and `call_id` are its."""
        alive = [request for request in self.requests if request.state in OPEN]
        return max(alive, key=lambda request: (_RANK[request.state], request.name), default=None)

    def to_document(self) -> dict[str, Any]:
        """The call as data for JSON."""
        return {**asdict(self), "requests": [asdict(request) for request in self.requests]}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> OutboundCall:
        """The call that `to_document` wrote; unknown keys are skipped.

        Raises ValueError, which does not quote the document, if it is not one.
        """
        try:
            dial = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        if dial.state not in STATES or not 0 <= dial.due_ms <= DUE_MS_MAX:
            raise ValueError("the state is unknown, or the time out of range")
        if dial.state in OPEN and dial.lead is None:
            raise ValueError("it is open, and no request of it is")
        return dial


_RANK = {state: rank for rank, state in enumerate(STATES)} | {GIVEN_UP: -1}


def advance(dial: OutboundCall, event: OutboundEvent, now_ms: int, name: int | None = None) -> OutboundCall:
    """The call after the event at `now_ms`; the same object if the event changes nothing.

    `name` is the name of the request that the event is about; without it the event is about the request with the
    event's CallUUID, or else about the lead.
    """
    if dial.state in CLOSED:
        return dial
    match event:
        case Sent():
            return _sent(dial, now_ms, event.signed) if dial.state == "queued" else dial
        case Cancelled():
            return _to(dial, "ended", now_ms, cause="cancelled") if dial.state == "queued" else dial
        case StreamClosed():
            return _to(dial, "answered", now_ms, due_ms=now_ms + UNCERTAIN_MS) if dial.state == "answered" else dial
    request = _request_of(dial, getattr(event, "call_id", ""), name)
    if request is None or request.state == OVER:
        return dial
    match event:
        case Accepted(call_id):
            return _alive(dial, request, "placed", call_id, now_ms)
        case Ringing(call_id):
            return _alive(dial, request, "ringing", call_id, now_ms)
        case Answered(call_id):
            return _alive(dial, request, "answered", call_id, now_ms)
        case MachineDetected(machine, call_id):
            dial = _alive(dial, request, "ringing", call_id, now_ms)
            return _to(dial, dial.state, now_ms, machine="yes" if machine else "no")
        case Ended():
            return _over(dial, request, event, now_ms)
        case NotFound():
            return _not_found(dial, request, now_ms)
    return _replied(dial, request, event, now_ms) if request.state == "dialing" else dial


def _sent(dial: OutboundCall, now_ms: int, signed: bool) -> OutboundCall:
    request = OutboundRequest(dial.sent + 1, sent_ms=now_ms, signed=signed)
    requests = (*dial.requests, request)[-REQUESTS_KEPT:]
    due_ms = now_ms + POST_MS_MAX
    changes = {"sent": request.name, "requests": requests, "attempt": dial.attempt + 1, "call_id": ""}
    return _to(dial, "dialing", now_ms, due_ms=due_ms, lookups=0, **changes)


def _request_of(dial: OutboundCall, call_id: str, name: int | None) -> OutboundRequest | None:
    """The request that the event is about: by its call id, else by its name, else the one that has come furthest."""
    for request in reversed(dial.requests):
        if call_id and request.call_id == call_id:
            return request
    if name is not None:
        return next((request for request in dial.requests if request.name == name), None)
    given_up = [request for request in dial.requests if request.state == GIVEN_UP]
    return dial.lead or (given_up[-1] if given_up else None)


def _alive(dial: OutboundCall, request: OutboundRequest, state: str, call_id: str, now_ms: int) -> OutboundCall:
    """A sign of life: moves forward only, settles an uncertain request, and revives one that was given up."""
    if _RANK[request.state] >= _RANK[state]:
        return dial
    revived = request.state == GIVEN_UP
    dial = _with(dial, request, state, call_id)
    return _led(dial, now_ms, attempt=dial.attempt + revived)


def _replied(dial: OutboundCall, request: OutboundRequest, event: OutboundEvent, now_ms: int) -> OutboundCall:
    """The carrier's answer to a request, unless it was accepted."""
    match event:
        case OutcomeUnknown():
            return _led(_with(dial, request, "uncertain"), now_ms, lookups=0)
        case Throttled():
            return _gone(dial, request, now_ms, _requeued(dial, now_ms), attempt=dial.attempt - 1)
        case AccountRefused(why, keeps_position):
            queued = _requeued(dial, now_ms) if keeps_position else {"state": "queued", "due_ms": now_ms}
            return _gone(dial, request, now_ms, queued, attempt=dial.attempt - 1, cause=why, refused_ms=now_ms)
        case RefusedByCarrier(why):
            return _gone(dial, request, now_ms, {"state": "failed"}, cause=why)
    return dial


def _not_found(dial: OutboundCall, request: OutboundRequest, now_ms: int) -> OutboundCall:
    if request.state == "uncertain" and dial.lookups + 1 < LOOKUPS:
        return _to(dial, dial.state, now_ms, due_ms=now_ms + UNCERTAIN_MS, lookups=dial.lookups + 1)
    if request.state == "uncertain":
        queued = {"state": "queued", "due_ms": now_ms}
        return _gone(dial, request, now_ms, queued, GIVEN_UP, attempt=dial.attempt - 1)
    return _over(dial, request, Ended(dial.cause or "unknown"), now_ms) if request.state in OPEN else dial


def _over(dial: OutboundCall, request: OutboundRequest, event: Ended, now_ms: int) -> OutboundCall:
    """A request has ended; one that was given up had reached the carrier after all, so its attempt counts."""
    attempt = dial.attempt + (request.state == GIVEN_UP)
    call_id = event.call_id or request.call_id or dial.call_id
    changes: dict[str, Any] = {"cause": event.cause, "call_id": call_id}
    ended: dict[str, Any] = {"state": "ended"}
    if request.state != "answered" and not event.answered:
        if account_reason(event.cause):
            ended = _requeued(dial, now_ms)
            attempt, changes["refused_ms"] = attempt - 1, now_ms
        elif may_retry(event.cause) and attempt < dial.plan.attempts_max:
            ended = {"state": "queued", "due_ms": now_ms + dial.plan.retry_after_s * 1000}
    return _gone(dial, request, now_ms, ended, attempt=attempt, **changes)


def _requeued(dial: OutboundCall, now_ms: int) -> dict[str, Any]:
    """Queue the call as if it had not been tried; after its first attempt it keeps its position."""
    return {"state": "queued", "due_ms": dial.created_ms if dial.attempt <= 1 else now_ms}


def _gone(
    dial: OutboundCall, request: OutboundRequest, now_ms: int, alone: dict[str, Any], state: str = OVER, **changes: Any
) -> OutboundCall:
    """The request is no longer alive.  If another one is, it leads; if none is, the call becomes `alone`."""
    dial = _with(dial, request, state, changes.get("call_id", ""))
    if dial.lead is not None:
        changes.pop("call_id", None)
        return _led(dial, now_ms, **changes)
    return replace(dial, changed_ms=now_ms, **{**changes, **alone})


def _led(dial: OutboundCall, now_ms: int, **changes: Any) -> OutboundCall:
    """Take state, call id and time of the next look-up from the request that has come furthest."""
    lead = dial.lead
    if lead is None:
        return dial
    if (lead.state, lead.call_id) != (dial.state, dial.call_id):
        changes["due_ms"] = now_ms + _lookup_after_ms(dial, lead.state)
    return _to(dial, lead.state, now_ms, call_id=lead.call_id, **changes)


def over_at_ms(dial: OutboundCall) -> int:
    """Time by which the newest request is over in any case: the carrier limits ringing and talking."""
    sent_ms = max((request.sent_ms for request in dial.requests), default=0) or dial.changed_ms
    return sent_ms + (dial.plan.ring_timeout_s + dial.plan.call_s_max) * 1000 + UNHEARD_MS


def _lookup_after_ms(dial: OutboundCall, state: str) -> int:
    """How long a call in this state may be without an event before it is looked up, in ms."""
    if state == "answered":
        return min(dial.plan.call_s_max * 1000, UNSEEN_MS)
    if state in ("placed", "ringing"):
        return dial.plan.ring_timeout_s * 1000 + UNHEARD_MS
    return UNCERTAIN_MS if state == "uncertain" else POST_MS_MAX


def _with(dial: OutboundCall, request: OutboundRequest, state: str, call_id: str = "") -> OutboundCall:
    """The call with this request in another state."""
    changed = replace(request, state=state, call_id=call_id or request.call_id)
    return replace(dial, requests=tuple(changed if other is request else other for other in dial.requests))


def _to(dial: OutboundCall, state: str, now_ms: int, **changes: Any) -> OutboundCall:
    return replace(dial, state=state, changed_ms=now_ms, **changes)
