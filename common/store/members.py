"""What the members of a pool say of themselves, and the calls that a pool will not run again.  Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

QUARANTINE_MAX = 100
"""Calls that the list keeps for each pool, the newest first."""


@dataclass(frozen=True, slots=True)
class Members:
    """Of one pool, by name, as far as they have said so lately."""

    healthy: frozenset[str] = frozenset()
    """Those whose providers can be reached."""
    with_room: frozenset[str] = frozenset()
    """Those that take calls."""

    def __or__(self, other: Members) -> Members:
        return Members(self.healthy | other.healthy, self.with_room | other.with_room)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A call that is not run again."""

    call_id: str
    pool: str
    crashes: int
    """Owners in a row that were lost with it."""
    at_ms: int

    def to_json(self) -> str:
        """As it stands in the list."""
        return json.dumps(asdict(self))
