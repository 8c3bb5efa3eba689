"""Keeps in memory which member of a pool owns which call, as leases_redis.py does on a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from common.store import READY_STALE_MS, Claim
from common.store.leases_redis import SCAN_MS, UNCONFIRMED_MS
from common.store.members import MemberReport, Members, Renewal
from common.store.memory_call import MemoryCall
from common.store.suspicion import Hold, LastOwner, Left, Standing, Suspect, Take


class MemoryLeases:
    """The leases, owners and reports of the members of all pools.  Times are ms of the event loop's clock."""

    def __init__(self, calls: dict[str, MemoryCall], lease_ms: int) -> None:
        self._calls = calls
        self._lease_ms = lease_ms
        self.until_ms: dict[tuple[str, str], float] = {}
        """(pool, member) -> when its lease runs out"""
        self._scanned_ms: dict[str, float] = {}
        self._ready_ms: dict[tuple[str, str], float] = {}
        self._healthy_ms: dict[tuple[str, str], float] = {}

    def owns(self, call: MemoryCall, pool: str) -> bool:
        """Whether some member of the pool owns the call now."""
        owner = call.owners.get(pool)
        confirmed = _now_ms() - call.seen_ms.get(pool, -UNCONFIRMED_MS) < UNCONFIRMED_MS
        return owner is not None and self.until_ms.get((pool, owner), 0.0) > _now_ms() and confirmed

    def claim(self, pool: str, call: MemoryCall, owner: str, take: Take) -> Claim | None:
        """See `CallStore.claim`."""
        now_ms, last = _now_ms(), call.owners.get(pool)
        if call.record.status != "live" or (last != owner and self.owns(call, pool)):
            return None
        hold = call.holds.setdefault(pool, Hold())
        lease_ms = self.until_ms.get((pool, last), 0.0) if last else 0.0
        was_lost = last not in (None, owner) and lease_ms <= now_ms
        before = LastOwner(call.tokens.get(pool, 0), was_lost, lease_ms - self._lease_ms)
        if not hold.claim(before, take, now_ms):
            raise Suspect(last or "")
        self.until_ms[pool, owner] = now_ms + self._lease_ms
        token = call.tokens[pool] = before.token + 1
        call.owners[pool], call.seen_ms[pool] = owner, now_ms
        passed_on, hold.passed_on = hold.passed_on, False
        trial_ms = round(hold.trial_ms) if hold.standing is Standing.ON_TRIAL else 0
        about = (trial_ms, hold.standing is Standing.CONDEMNED, hold.crashes, passed_on)
        return Claim(call.record.call_id, pool, owner, token, call.record, call.checkpoints.get(pool, ""), *about)

    def release(self, claim: Claim, call: MemoryCall, left: Left) -> None:
        """See `CallStore.release`."""
        held, newest = call.is_held_by(claim), call.tokens.get(claim.pool, 0)
        if held or claim.token < newest:
            call.holds.setdefault(claim.pool, Hold()).leave(claim.token, newest, left, _now_ms())
        if held:
            del call.owners[claim.pool]

    def renew(self, report: MemberReport) -> Renewal:
        """See `CallStore.renew`."""
        who, now_ms = (report.pool, report.owner), _now_ms()
        kept = self.until_ms.get(who, 0.0) > now_ms
        if report.holds_calls:
            self.until_ms[who] = now_ms + self._lease_ms
        for reports, flag in ((self._ready_ms, report.has_room), (self._healthy_ms, report.healthy)):
            reports[who] = now_ms if flag else -READY_STALE_MS
        leases = {owner: ms for (pool, owner), ms in self.until_ms.items() if pool == report.pool}
        last_ms = self._scanned_ms.get(report.pool, -SCAN_MS)
        due = now_ms - last_ms >= SCAN_MS or any(last_ms < ms <= now_ms for ms in leases.values())
        if scan := report.may_scan and due:
            self._scanned_ms[report.pool] = now_ms
        ends_ms = [ms - now_ms for owner, ms in leases.items() if ms > now_ms and owner != report.owner]
        return Renewal(kept, scan, round(min(ends_ms)) if ends_ms else None)

    def confirm(self, claims: Iterable[Claim]) -> list[Claim]:
        """See `CallStore.confirm`."""
        lost = []
        for claim in claims:
            call = self._calls.get(claim.call_id)
            if call is None or not call.is_held_by(claim):
                lost.append(claim)
            elif call.record.status != "live":
                del call.owners[claim.pool]
                lost.append(claim)
            else:
                call.seen_ms[claim.pool] = _now_ms()
        return lost

    def members(self, pool: str, within_ms: float) -> Members:
        """See `CallStore.members`."""

        def fresh(reports: dict[tuple[str, str], float]) -> frozenset[str]:
            since_ms = _now_ms() - within_ms
            return frozenset(owner for (of, owner), ms in reports.items() if of == pool and ms > since_ms)

        return Members(fresh(self._healthy_ms), fresh(self._ready_ms))


def _now_ms() -> float:
    return asyncio.get_running_loop().time() * 1000
