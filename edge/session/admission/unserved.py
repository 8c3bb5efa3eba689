"""Finds calls that no worker of some pool has held for too long.  Pure.

    new ──each pool holds it──▶ served ──a pool holds it no more──▶ waiting ──held again──▶ served
     └─────after `offer_ms`─────▶ given up ◀─────after `takeover_ms`─────┘

A new caller has heard nothing yet and is informed soon.  A call in progress is given longer: its worker may have been
killed and may be restarting.  While Redis is away it is unknown who holds which call, and no time counts.
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


@dataclass(slots=True)
class _Wait:
    served: bool
    since_ms: dict[str, float] = field(default_factory=dict)
    """Pool -> time since which no member of it holds the call."""


class Unserved:
    """`follow` the calls of an edge, ask the store about the `suspects`, and `look` at its answer."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._calls: dict[str, _Wait] = {}

    def follow(self, calls: Mapping[str, float | None]) -> None:
        """Set the edge's calls: call id -> time at which it was first offered, None if it came from another edge."""
        fresh = {
            call_id: _Wait(False, dict.fromkeys(POOLS, offered_ms)) if offered_ms is not None else _Wait(True)
            for call_id, offered_ms in calls.items()
            if call_id not in self._calls
        }
        self._calls = {call_id: wait for call_id, wait in self._calls.items() if call_id in calls} | fresh

    def suspects(self, all_have_room: bool) -> list[str]:
        """The calls that some pool may not hold.  If all pools have room, only calls already waiting: pools take every
        offer.
        """
        return [call_id for call_id, wait in self._calls.items() if wait.since_ms or not all_have_room]

    def look(self, unheld: Mapping[str, Collection[str]], asked: Collection[str], now_ms: float) -> dict[str, str]:
        """Take the store's answer about the calls `asked` for; returns call id -> pool of the calls to give up."""
        lost: dict[str, str] = {}
        for call_id in asked:
            if (wait := self._calls.get(call_id)) is None:
                continue
            missing = unheld.get(call_id, ())
            wait.since_ms = {pool: wait.since_ms.get(pool, now_ms) for pool in missing}
            wait.served = wait.served or not missing
            limit_ms = self._waits.takeover_ms if wait.served else self._waits.offer_ms
            late = [pool for pool, since_ms in wait.since_ms.items() if now_ms - since_ms >= limit_ms]
            if late:
                lost[call_id] = late[0]
        return lost

    def redis_away(self, now_ms: float) -> None:
        """Redis is away, so it is unknown who holds which call: every wait starts again."""
        for wait in self._calls.values():
            wait.since_ms = dict.fromkeys(wait.since_ms, now_ms)
