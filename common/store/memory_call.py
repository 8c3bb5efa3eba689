"""Defines a call as `MemoryCallStore` keeps it: the record, and the fields that the pools write beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.store import CallRecord, Claim
from common.store.suspicion import Hold


@dataclass(slots=True)
class MemoryCall:
    """A record and, by pool, the fencing tokens, owners, checkpoints and suspicions."""

    record: CallRecord
    tokens: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    checkpoints: dict[str, str] = field(default_factory=dict)
    seen_ms: dict[str, float] = field(default_factory=dict)
    """pool -> loop time in ms at which the owner last confirmed that it runs the call"""
    holds: dict[str, Hold] = field(default_factory=dict)
    sealed: bool = False
    compact_tries: int = 0

    def is_held_by(self, claim: Claim) -> bool:
        """Whether the claim is the newest of its pool."""
        return (self.tokens.get(claim.pool), self.owners.get(claim.pool)) == (claim.token, claim.owner)
