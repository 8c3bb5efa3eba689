"""Offers calls again that have no owner in the pool, because theirs died; any other member may.

Redis tells one member of the pool when a scan is due (`CallStore.renew`): as soon as a lease has run out, and once
a second for calls whose offer was lost.  Two looks in a row must agree, so that a call that was just offered, and one
whose owner stood still for a moment, are left alone.
"""

from __future__ import annotations

import asyncio
import math

from common.redis.refusals import KeyRefused
from common.store import PoolLeases

SECOND_LOOK_SECONDS = 0.04
"""Time between the two looks; a call that was just offered is claimed sooner."""


class OrphanScan:
    """The scans of one member.  `trust_s`: how long every owner counts as alive after Redis was away."""

    def __init__(self, store: PoolLeases, pool: str, trust_s: float) -> None:
        self._store = store
        self._pool = pool
        self._trust_s = trust_s
        self._trust_until = 0.0
        self._due = asyncio.Event()

    @property
    def allowed(self) -> bool:
        """Whether this member may judge who is alive."""
        return asyncio.get_running_loop().time() >= self._trust_until

    def redis_away(self) -> None:
        """Redis cannot be reached, so leases run out whose owners are as alive as this member."""
        self._trust_until = math.inf

    def redis_back(self) -> None:
        """Redis answers; the other owners may renew their leases before they are judged."""
        if self._trust_until == math.inf:
            self._trust_until = asyncio.get_running_loop().time() + self._trust_s

    def ask(self) -> None:
        """Have `run` scan: it is this member's turn, or it knows of a call without an owner."""
        self._due.set()

    async def run(self) -> None:
        """Scan once, when this member is asked to.  Raises ConnectionError or TimeoutError."""
        await self._due.wait()
        self._due.clear()
        try:
            first = set(await self._store.orphans(self._pool))
            if first:
                await asyncio.sleep(SECOND_LOOK_SECONDS)
                first &= set(await self._store.orphans(self._pool))
        except KeyRefused:
            raise
        except (ConnectionError, TimeoutError):
            self.redis_away()
            raise
        if self.allowed:
            await self._store.offer(self._pool, sorted(first), True)
