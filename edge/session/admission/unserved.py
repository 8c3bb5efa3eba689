"""Finds calls that no worker of some pool has held for too long.  Pure.

    new ──each pool holds it──▶ served ──a pool holds it no more──▶ waiting ──held again──▶ served
     └─────after `offer_ms`─────▶ given up ◀─────after `takeover_ms`─────┘

A new caller has heard nothing yet and is informed soon.  A call in progress is given longer: its worker may have been
killed and may be restarting.  While Redis is away it is unknown who holds which call, and no time counts.

A pool that not every call needs is given up alone: the call goes on without it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from common.protocol.redis_keys import POOLS


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a call waits for a member of each pool, in ms.  `offer_ms` 0: no call is ever given up."""

    offer_ms: int = 4000
    takeover_ms: int = 15_000


@dataclass(frozen=True, slots=True)
class Followed:
    """A call of the edge: the pools that it needs, and when it was first offered to them."""

    offered_ms: float | None
    """None if it came from another edge."""
    pools: tuple[str, ...] = POOLS


@dataclass(slots=True)
class _Wait:
    pools: frozenset[str]
    """The pools that it needs, without those that were given up."""
    served: bool
    """Whether all of POOLS have held it at once."""
    taken: frozenset[str] = frozenset()
    """The other pools that have held it."""
    since_ms: dict[str, float] = field(default_factory=dict)
    """Pool -> time since which no member of it holds the call."""

    def note(self, unheld: Collection[str], now_ms: float) -> None:
        missing = self.pools.intersection(unheld)
        self.since_ms = {pool: self.since_ms.get(pool, now_ms) for pool in missing}
        self.served = self.served or missing.isdisjoint(POOLS)
        self.taken |= self.pools - missing

    def late(self, waits: Waits, now_ms: float) -> str:
        """A pool for which the call has waited too long, one of POOLS if there is one, or ""."""
        for pool, since_ms in sorted(self.since_ms.items(), key=lambda item: item[0] not in POOLS):
            known = self.served if pool in POOLS else pool in self.taken
            if now_ms - since_ms >= (waits.takeover_ms if known else waits.offer_ms):
                return pool
        return ""

    def go_on_without(self, pool: str) -> None:
        self.pools -= {pool}
        del self.since_ms[pool]


class Unserved:
    """`follow` the calls of an edge, ask the store about the `suspects`, and `look` at its answer."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._calls: dict[str, _Wait] = {}

    @property
    def waiting(self) -> bool:
        """Whether a call waits for a member of a pool."""
        return any(wait.since_ms for wait in self._calls.values())

    def follow(self, calls: Mapping[str, Followed]) -> None:
        """Set the edge's calls, by call id."""
        fresh = {call_id: _begun(call) for call_id, call in calls.items() if call_id not in self._calls}
        self._calls = {call_id: wait for call_id, wait in self._calls.items() if call_id in calls} | fresh

    def suspects(self, with_room: Collection[str]) -> list[str]:
        """The calls that some pool may not hold: those that wait already, and those that need another pool than these
        `with_room`, which take every offer.
        """
        return [call_id for call_id, wait in self._calls.items() if wait.since_ms or not wait.pools.issubset(with_room)]

    def look(self, unheld: Mapping[str, Collection[str]], asked: Collection[str], now_ms: float) -> dict[str, str]:
        """Take the store's answer about the calls `asked` for; returns call id -> pool to give up.

        The call ends if the pool is one of POOLS; else it goes on without it, and that pool is not named again.
        """
        lost: dict[str, str] = {}
        for call_id in asked:
            if (wait := self._calls.get(call_id)) is None:
                continue
            wait.note(unheld.get(call_id, ()), now_ms)
            if late := wait.late(self._waits, now_ms):
                lost[call_id] = late
                if late not in POOLS:
                    wait.go_on_without(late)
        return lost

    def redis_away(self, now_ms: float) -> None:
        """Redis is away, so it is unknown who holds which call: every wait starts again."""
        for wait in self._calls.values():
            wait.since_ms = dict.fromkeys(wait.since_ms, now_ms)


def _begun(call: Followed) -> _Wait:
    if call.offered_ms is None:
        return _Wait(frozenset(call.pools), True, frozenset(call.pools))
    return _Wait(frozenset(call.pools), False, since_ms=dict.fromkeys(call.pools, call.offered_ms))
