"""The ledger was away, and every lease ran out meanwhile: that is no reason to change the owners of calls."""

import asyncio
from collections import Counter

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import CallOffered
from common.protocol.redis_keys import pool_calls
from common.store import CallRecord, Claim
from common.store.members import MemberReport, Renewal
from common.store.memory import MemoryCallStore
from workers.runtime.runner import Runner, RunnerOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

CALLS = [f"call-{n}" for n in range(8)]
LEASE_MS = 800


class FickleLedger(MemoryCallStore):
    """Can be `away`."""

    away = False

    async def renew(self, report: MemberReport) -> Renewal:
        self._answer()
        return await super().renew(report)

    async def orphans(self, pool: str) -> list[str]:
        self._answer()
        return await super().orphans(pool)

    def _answer(self) -> None:
        if self.away:
            raise ConnectionError("away")


class Carried:
    """A session that only counts."""

    def __init__(self, claim: Claim, owners: Counter[str]) -> None:
        owners[claim.call_id] += 1

    async def run(self) -> None:
        await asyncio.Event().wait()


async def test_after_an_outage_everybody_keeps_their_calls_and_the_dead_are_still_noticed():
    streams, owners = MemoryStreams(), Counter[str]()
    store = FickleLedger(streams, LEASE_MS)
    buses = [MemoryBus(streams) for _ in range(2)]
    for call_id in CALLS:
        await store.create(CallRecord(call_id))
        await store.start(call_id, "edge-a")
        await store.heartbeat_calls([call_id])
        buses[0].publish(pool_calls("stt"), CallOffered(call_id))
    members = []
    for number, bus in enumerate(buses):
        options = RunnerOptions("stt", f"stt-{number}", 20, LEASE_MS)
        runner = Runner(options, bus, store, lambda claim: Carried(claim, owners))
        members.append(asyncio.create_task(runner.run(asyncio.Event())))
    await asyncio.sleep(2)
    for _ in range(20):
        store.away = True
        await asyncio.sleep(2.3)
        store.away = False
        await asyncio.sleep(2.9)
        await store.heartbeat_calls(CALLS)
    assert owners == Counter(CALLS)

    for member in members:
        member.cancel()
    await asyncio.wait(members)
    heir = asyncio.create_task(
        Runner(RunnerOptions("stt", "stt-2", 20, LEASE_MS), buses[1], store, lambda c: Carried(c, owners)).run(
            asyncio.Event()
        )
    )
    await asyncio.sleep(1.3)
    assert set(owners.values()) == {2}
    heir.cancel()
    await asyncio.wait([heir])
