"""Keeps the lease of one member of a pool: one renewal for all its calls, with the report of its room and health.

    holds calls     a renewal every third of the lease's life; all calls confirmed every CONFIRM_SECONDS
    holds none      a report every REPORT_SECONDS, without a lease

A call can be lost only while the lease of its owner is not renewed, or Redis cannot be reached; after that, all calls
are confirmed at once.  The renewals are also the watch over the other members: the answer says when the next lease
runs out, so that a report comes at that moment, and whether a scan for calls without an owner is due then.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence

from common.store import Claim, PoolLeases
from common.store.members import MemberReport
from workers.runtime.orphan_scan import OrphanScan

REPORT_SECONDS = 0.8
"""How often a member without calls reports; two reports may fail within READY_STALE_MS."""
CONFIRM_SECONDS = 2.0
"""How often calls are confirmed; two confirmations may fail within UNCONFIRMED_MS (common/store/leases_redis.py)."""


class MemberLease:
    """The lease of one member.  `scan` is told when Redis is away, and when it is this member's turn."""

    def __init__(self, store: PoolLeases, pool: str, owner: str, lease_ms: int, scan: OrphanScan) -> None:
        self._store = store
        self._pool = pool
        self._owner = owner
        self._renewal_s = min(lease_ms / 3000, REPORT_SECONDS)  # a long lease, and the report must not get stale
        self._scan = scan
        self._confirmed_s = 0.0
        self._next_end_s: float | None = None
        self._woken = asyncio.Event()
        self.cut_off = False
        """Redis could not be reached, and the calls that were lost meanwhile are not known yet."""

    async def renew(self, claims: Sequence[Claim], has_room: bool, healthy: bool) -> list[Claim]:
        """Renew the lease and report; returns the claims that were lost, as far as it is time to look.

        Raises ConnectionError or TimeoutError.
        """
        report = MemberReport(self._pool, self._owner, bool(claims), has_room, healthy, self._scan.allowed)
        lost: list[Claim] = []
        try:
            renewal = await self._store.renew(report)
            if not renewal.kept or self.cut_off or _now() - self._confirmed_s >= CONFIRM_SECONDS:
                lost = await self._store.confirm(claims) if claims else []
                self._confirmed_s = _now()
        except (ConnectionError, TimeoutError):
            self.cut_off = True
            self._scan.redis_away()
            raise
        self._scan.redis_back()
        if renewal.scan:
            self._scan.ask()
        self._next_end_s = None if renewal.next_end_ms is None else _now() + (renewal.next_end_ms + 1) / 1000
        return lost

    def wake(self) -> None:
        """Have `pause` return: the member holds its first call, and needs its lease renewed from now on."""
        self._woken.set()

    async def pause(self, holds_calls: bool) -> None:
        """Wait until the next renewal or report is due."""
        seconds = (self._renewal_s if holds_calls else REPORT_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311
        if self._next_end_s is not None:
            seconds = min(seconds, max(self._next_end_s - _now(), 0.0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()
