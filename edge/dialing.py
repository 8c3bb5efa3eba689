"""One outbound call, from asked for to over.  Pure: news in, the next state out; no clock, no network.

    queued ──Sent──▶ dialing ──Accepted──▶ placed ──Rang──▶ ringing ──Answered──▶ answered ──Over──▶ ended
       ▲                │                     └──────────────────────────────────────────▶┘
       │                ├── Throttled: queued again in its old place, the attempt does not count
       │                ├── Denied: failed
       │                └── Unclear ──▶ uncertain: the carrier may or may not have placed it; never sent again
       │                                   ├── any webhook of it: it was placed
       │                                   └── Absent, twice (the carrier knows of no such call): queued again
       └── Over before it was answered, by a cause worth another try, with attempts left

News comes late, twice and out of order (webhooks do), so a state never goes back: `Rang` after `Answered` changes
nothing.  News of an earlier attempt is ignored.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from edge.carrier.causes import may_retry

STATES = ("queued", "dialing", "uncertain", "placed", "ringing", "answered", "ended", "failed")
OPEN = frozenset({"dialing", "uncertain", "placed", "ringing", "answered"})
"""States that take one of the account's lines."""
CLOSED = frozenset({"ended", "failed"})

POST_MS_MAX = 30_000
"""A request whose sender died is uncertain after this."""
UNCERTAIN_MS = 15_000
"""Pause until an uncertain call is looked up, and between two look-ups."""
LOOKUPS = 2
"""Look-ups that must find nothing before an uncertain call counts as never placed."""
UNHEARD_MS = 60_000
"""Grace beyond the ring timeout until an accepted call of which nothing was heard is looked up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard to try."""

    ring_timeout_s: int = 45
    attempts_max: int = 1
    retry_after_s: int = 300
    machine: str = ""
    """What to do with an answering machine: "" (talk to it), "hangup", or "message" (leave `message`)."""
    message: str = ""
    call_s_max: int = 14_400


@dataclass(frozen=True, slots=True)
class Dial:
    """One requested call.  All times are Unix ms."""

    dial_id: str
    to: str
    sender: str
    agent: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    state: str = "queued"
    attempt: int = 0
    due_ms: int = 0
    """When to act next: place it if queued, look it up if open."""
    call_id: str = ""
    cause: str = ""
    lookups: int = 0
    """How often the carrier was asked about it in vain."""
    machine: str = ""
    """"", "yes" or "no", once the carrier has said so."""
    created_ms: int = 0
    changed_ms: int = 0

    def to_document(self) -> dict[str, Any]:
        """The dial as JSON-able data."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Dial:
        """The dial that `to_document` wrote."""
        return cls(**{**document, "plan": Plan(**document["plan"])})


@dataclass(frozen=True, slots=True)
class Sent:
    """The request is about to leave; written down before it does."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The carrier took the request; `call_id` is the CallUUID of the call's webhooks."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Over the account's limit, or the carrier is away: nothing was placed.  Whoever dials pauses for all calls."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """No answer, or one that cannot be read: it may have been placed."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The carrier refused; asking again does not help."""

    why: str


@dataclass(frozen=True, slots=True)
class Rang:
    """The phone rings, or the carrier has the call."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Somebody, or something, picked up."""

    call_id: str


@dataclass(frozen=True, slots=True)
class MachineHeard:
    """The carrier has decided: a machine (True) or a person."""

    machine: bool


@dataclass(frozen=True, slots=True)
class Over:
    """The carrier says that the call is over; `cause` is its code or name."""

    cause: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The carrier knows of no such call."""


@dataclass(frozen=True, slots=True)
class LineClosed:
    """The media stream is over, so the call should be: look it up soon if its hangup webhook does not come."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody wants it any more, and it was not placed."""


News: TypeAlias = (
    Sent
    | Accepted
    | Throttled
    | Unclear
    | Denied
    | Rang
    | Answered
    | MachineHeard
    | Over
    | Absent
    | Cancelled
    | LineClosed
)

_RANK = {state: rank for rank, state in enumerate(STATES)}


def advance(dial: Dial, news: News, now_ms: int) -> Dial:
    """The dial after the news; the same object if it changes nothing."""
    if dial.state in CLOSED:
        return dial
    match news:
        case Sent() if dial.state == "queued":
            return _to(dial, "dialing", now_ms, attempt=dial.attempt + 1, due_ms=now_ms + POST_MS_MAX, call_id="")
        case Throttled() if dial.state == "dialing":
            due_ms = dial.created_ms if dial.attempt == 1 else now_ms
            return _to(dial, "queued", now_ms, attempt=dial.attempt - 1, due_ms=due_ms)
        case Denied(why) if dial.state == "dialing":
            return _to(dial, "failed", now_ms, cause=why)
        case Unclear() if dial.state == "dialing":
            return _to(dial, "uncertain", now_ms, due_ms=now_ms + UNCERTAIN_MS, lookups=0)
        case Absent() if dial.state == "uncertain" and dial.lookups + 1 < LOOKUPS:
            return _to(dial, "uncertain", now_ms, due_ms=now_ms + UNCERTAIN_MS, lookups=dial.lookups + 1)
        case Absent() if dial.state == "uncertain":
            return _to(dial, "queued", now_ms, attempt=dial.attempt - 1, due_ms=now_ms)
        case Absent() if dial.state in OPEN:
            return _over(dial, dial.cause or "unknown", now_ms)
        case Accepted(call_id):
            return _up(dial, "placed", call_id, now_ms)
        case Rang(call_id):
            return _up(dial, "ringing", call_id, now_ms)
        case Answered(call_id):
            return _up(dial, "answered", call_id, now_ms)
        case MachineHeard(machine) if dial.state in OPEN:
            return _to(dial, dial.state, now_ms, machine="yes" if machine else "no")
        case Over(cause) if dial.state in OPEN:
            return _over(dial, cause, now_ms)
        case LineClosed() if dial.state == "answered":
            return _to(dial, "answered", now_ms, due_ms=now_ms + UNCERTAIN_MS)
        case Cancelled() if dial.state == "queued":
            return _to(dial, "ended", now_ms, cause="cancelled")
    return dial


def _up(dial: Dial, state: str, call_id: str, now_ms: int) -> Dial:
    """A sign of life: forward only, and it settles an uncertain request."""
    if dial.state == "queued" or _RANK[dial.state] >= _RANK[state]:
        return dial
    due_ms = now_ms + (dial.plan.call_s_max * 1000 if state == "answered" else _unheard_ms(dial))
    return _to(dial, state, now_ms, call_id=call_id or dial.call_id, due_ms=due_ms)


def _over(dial: Dial, cause: str, now_ms: int) -> Dial:
    again = dial.state != "answered" and may_retry(cause) and dial.attempt < dial.plan.attempts_max
    if again:
        return _to(dial, "queued", now_ms, cause=cause, due_ms=now_ms + dial.plan.retry_after_s * 1000)
    return _to(dial, "ended", now_ms, cause=cause)


def _to(dial: Dial, state: str, now_ms: int, **changes: Any) -> Dial:
    return replace(dial, state=state, changed_ms=now_ms, **changes)


def _unheard_ms(dial: Dial) -> int:
    return dial.plan.ring_timeout_s * 1000 + UNHEARD_MS
