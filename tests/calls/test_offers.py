"""A call that waits for a worker is offered once, however long it waits and whoever notices; and a lease that was lost
for an older claim leaves the newer session alone."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import CallOffered
from common.protocol.redis_keys import pool_calls
from common.redis.refusals import KeyRefused
from common.store import CallRecord, Claim
from common.store.memory import MemoryCallStore
from common.store.suspicion import Take
from tests.calls.signs_of_life import signs_of_life
from workers.runtime.runner import Runner, RunnerOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class Quiet:
    """A session that goes on until it is cancelled."""

    def __init__(self, claim: Claim, carried: Counter[str]) -> None:
        carried[claim.call_id] += 1

    async def run(self) -> None:
        await asyncio.Event().wait()


def offers(streams: MemoryStreams) -> Counter[str]:
    return Counter(m.call_id for _, m in streams.after(pool_calls("stt"), 0) if isinstance(m, CallOffered))


async def test_thirty_nine_calls_that_wait_for_half_a_minute_are_thirty_nine_offers():
    streams, carried = MemoryStreams(), Counter[str]()
    store = MemoryCallStore(streams, 700)
    members = [
        asyncio.create_task(
            Runner(
                RunnerOptions("stt", f"stt-{n}", 1, 700), MemoryBus(streams), store, lambda c: Quiet(c, carried)
            ).run(asyncio.Event())
        )
        for n in range(2)
    ]
    calls = [f"call-{n}" for n in range(41)]
    for call_id in calls:
        await store.create(CallRecord(call_id))
        await store.start(call_id, "edge-1")
        await store.offer("stt", [call_id])
        await store.offer("stt", [call_id])  # its caller was reconnected
    async with signs_of_life(store, calls):
        await asyncio.sleep(30)
    assert len(carried) == 2, "both members are full"
    assert offers(streams) == Counter(calls)
    for member in members:
        member.cancel()
    await asyncio.wait(members)


class SlowAnswer(MemoryCallStore):
    """An answer about lost calls takes its time on the way back."""

    slow = False

    async def confirm(self, claims: Sequence[Claim]) -> list[Claim]:
        lost = await super().confirm(claims)
        if self.slow and claims:
            self.slow = False
            await asyncio.sleep(0.4)
        return lost


async def test_a_lease_that_was_lost_for_an_older_claim_does_not_drop_the_newer_session():
    """A -> B -> A: the answer about the first claim comes when the second is held."""
    streams, carried = MemoryStreams(), Counter[str]()
    store = SlowAnswer(streams, 700)
    runner = Runner(RunnerOptions("stt", "stt-a", 5, 700), MemoryBus(streams), store, lambda c: Quiet(c, carried))
    member = asyncio.create_task(runner.run(asyncio.Event()))
    await store.create(CallRecord("call-1"))
    await store.start("call-1", "edge-1")
    await store.offer("stt", ["call-1"])
    await asyncio.sleep(0.5)
    older = runner._held["call-1"]
    store.leases.until_ms.clear()
    between = await store.claim("stt", "call-1", "stt-b")
    assert between is not None
    store.slow = True
    while store.slow:
        await asyncio.sleep(0.01)  # the answer is on its way: lost
    older.task.cancel()  # its session learnt it by itself, when it wrote
    await asyncio.wait([older.task])
    await store.release(between)
    await store.offer("stt", ["call-1"])
    await asyncio.sleep(0.2)
    newer = runner._held["call-1"]
    assert newer.claim.token == 3
    await asyncio.sleep(3)
    assert runner._held.get("call-1") is newer
    assert await store.orphans("stt") == []
    assert carried["call-1"] == 2
    member.cancel()
    await asyncio.wait([member])


class OneKeyRefused(MemoryCallStore):
    """The key of one call holds another type."""

    async def claim(self, pool: str, call_id: str, owner: str, take: Take = Take.TRUSTED) -> Claim | None:
        if call_id == "odd":
            raise KeyRefused("WRONGTYPE")
        return await super().claim(pool, call_id, owner, take)


async def test_a_call_whose_key_is_refused_keeps_no_other_waiting():
    streams, carried = MemoryStreams(), Counter[str]()
    store = OneKeyRefused(streams, 700)
    runner = Runner(RunnerOptions("stt", "stt-a", 50, 700), MemoryBus(streams), store, lambda c: Quiet(c, carried))
    member = asyncio.create_task(runner.run(asyncio.Event()))
    calls = ["odd", *(f"call-{n}" for n in range(20))]
    async with signs_of_life(store, calls):
        for call_id in calls:
            await store.create(CallRecord(call_id))
            await store.start(call_id, "edge-1")
            await store.offer("stt", [call_id])
            await asyncio.sleep(0.2)
            assert call_id == "odd" or carried[call_id] == 1, "its caller waits for somebody else's key"
    assert set(carried.values()) == {1}
    member.cancel()
    await asyncio.wait([member])
