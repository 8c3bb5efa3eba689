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
