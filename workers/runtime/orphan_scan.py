"""Offers calls again that have no owner in the pool, because theirs died; any other member may.

Two looks in a row must agree, so that a call that was just offered is left alone.
"""

from __future__ import annotations

import asyncio
import math

from common.redis.refusals import KeyRefused
from common.store import PoolLeases

SCAN_SECONDS = 0.1
"""How often one member of a pool looks for calls without an owner."""
SECOND_LOOK_SECONDS = 0.04
"""Time between the two looks; a call that was just offered is claimed sooner."""


class OrphanScan:
    """The scan of one member.  `trust_s`: how long every owner counts as alive after Redis was away."""

    def __init__(self, store: PoolLeases, pool: str, owner: str, trust_s: float) -> None:
        self._store = store
        self._pool = pool
        self._owner = owner
        self._trust_s = trust_s
        self._trust_until = 0.0

    async def run(self) -> None:
        """Scan once, if it is this member's turn.  Raises ConnectionError or TimeoutError."""
        now = asyncio.get_running_loop().time
        try:
            mine = await self._store.try_scan_lock(self._pool, self._owner, int(900 * SCAN_SECONDS))
            first = set(await self._store.orphans(self._pool)) if mine else set()
        except KeyRefused:
            raise
        except (ConnectionError, TimeoutError):
            self._trust_until = math.inf
            raise
        if self._trust_until == math.inf:
            # Leases expired meanwhile, but their owners are as alive as this member, and may renew them first.
            self._trust_until = now() + self._trust_s
        if not mine or now() < self._trust_until:
            return
        if first:
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            first &= set(await self._store.orphans(self._pool))
        await self._store.offer(self._pool, sorted(first), True)
