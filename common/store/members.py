"""Defines what the members of a pool report, and the calls that a pool does not run again.  Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

QUARANTINE_MAX = 100
"""Most calls in the quarantine list of a pool, the newest first."""


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one pool, by name, according to their recent reports."""

    healthy: frozenset[str] = frozenset()
    """Members that reach a provider."""
    with_room: frozenset[str] = frozenset()
    """Members that take calls."""

    def __or__(self, other: Members) -> Members:
        return Members(self.healthy | other.healthy, self.with_room | other.with_room)


@dataclass(frozen=True, slots=True)
class MemberReport:
    """What a member of a pool reports of itself, in one step with the renewal of its lease."""

    pool: str
    owner: str
    """The member's name, as it stands in its claims."""
    holds_calls: bool
    """Whether it needs a lease."""
    has_room: bool
    """Whether it takes calls."""
    healthy: bool = True
    """Whether it reaches a provider."""
    may_scan: bool = True
    """Whether it may be told to scan for calls without an owner."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a `MemberReport`."""

    kept: bool
    """The lease had not run out, so no call can have been lost to another member."""
    scan: bool = False
    """This member shall scan for calls without an owner: no other one of the pool does so now."""
    next_end_ms: int | None = None
    """In how many ms the next lease of another member runs out, unless that renews it; None: there is none."""

    def __or__(self, other: Renewal) -> Renewal:
        """The answer of two servers."""
        ends_ms = [ms for ms in (self.next_end_ms, other.next_end_ms) if ms is not None]
        return Renewal(self.kept and other.kept, self.scan or other.scan, min(ends_ms, default=None))


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A call that is not run again."""

    call_id: str
    pool: str
    crashes: int
    """How many owners in a row were lost while they had the call."""
    at_ms: int

    def to_json(self) -> str:
        """The call as an entry of the list."""
        return json.dumps(asdict(self))
