"""A call as `MemoryCallStore` keeps it: the record, and what the pools have written beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.store import CallRecord, Claim
from common.store.suspicion import Hold


@dataclass(slots=True)
class MemoryCall:
    """By pool: the fencing tokens, their owners, checkpoints, leases, and what is held against the call."""

    record: CallRecord
    tokens: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    checkpoints: dict[str, str] = field(default_factory=dict)
    leases: dict[str, tuple[int, float]] = field(default_factory=dict)
    """pool -> (token, loop time at which it expires)"""
    holds: dict[str, Hold] = field(default_factory=dict)
    sealed: bool = False
    compact_tries: int = 0

    def is_held_by(self, claim: Claim) -> bool:
        """Is the claim the newest of its pool?"""
        return (self.tokens.get(claim.pool), self.owners.get(claim.pool)) == (claim.token, claim.owner)
