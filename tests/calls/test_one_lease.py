"""A worker has one lease for all its calls: what it asks of the store, who gets a dead one's calls and when, and what
becomes of a call whose owner lives and does not know it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.store import CallRecord, Claim
from common.store.leases_redis import LEASE_MS, SCAN_MS, UNCONFIRMED_MS
from common.store.members import MemberReport
from common.store.memory import MemoryCallStore
from tests.calls.signs_of_life import signs_of_life
from workers.runtime.member_lease import CONFIRM_SECONDS, REPORT_SECONDS
from workers.runtime.runner import RETRY_SECONDS, Runner, RunnerOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

RENEWALS_PER_SECOND = 3000 / LEASE_MS
SPREAD = 1.25
"""A pause is up to a fifth shorter than said."""


class Way:
    """A member's own way to the call store: it counts what is asked, and may stand still or lose an answer."""

    def __init__(self, store: MemoryCallStore) -> None:
        self._store = store
        self.asked: Counter[str] = Counter()
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.loses_claim_of = ""

    def __getattr__(self, name: str) -> Any:
        async def ask(*about: Any) -> Any:
            await self.thawed.wait()
            self.asked[name] += 1
            answer = await getattr(self._store, name)(*about)
            await self.thawed.wait()
            if name == "claim" and about[1] == self.loses_claim_of:
                self.loses_claim_of = ""
                raise TimeoutError("the answer was lost")
            return answer

        return ask


@dataclass
class Member:
    name: str
    way: Way
    runner: Runner
    task: asyncio.Task[None]

    async def is_killed(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@dataclass
class Pool:
    """Members of the STT pool, and quiet calls."""

    lease_ms: int = LEASE_MS
    members: list[Member] = field(default_factory=list)
    runs: list[tuple[str, str, float]] = field(default_factory=list)
    """(call, member, time) of each session that began"""

    def __post_init__(self) -> None:
        self.store = MemoryCallStore(MemoryStreams(), self.lease_ms)
        self._calls: list[str] = []

    def hire(self) -> Member:
        name, way = f"stt-{len(self.members)}", Way(self.store)
        asked: Any = way
        runner = Runner(
            RunnerOptions("stt", name, 100, self.lease_ms),
            MemoryBus(self.store._streams),
            asked,
            lambda claim: Quiet(claim, self),
        )
        task = asyncio.create_task(runner.run(asyncio.Event()))
        self.members.append(Member(name, way, runner, task))
        return self.members[-1]

    async def call(self, *call_ids: str) -> None:
        for call_id in call_ids:
            await self.store.create(CallRecord(call_id))
            await self.store.start(call_id, "edge-1")
            self._calls.append(call_id)
            await self.store.offer("stt", [call_id])

    def owner(self, call_id: str) -> str:
        return next(member for call, member, _ in reversed(self.runs) if call == call_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Pool"]:
        try:
            async with signs_of_life(self.store, self._calls):
                yield self
        finally:
            for member in self.members:
                await member.is_killed()


class Quiet:
    """A session that goes on until it is cancelled."""

    def __init__(self, claim: Claim, pool: Pool) -> None:
        pool.runs.append((claim.call_id, claim.owner, now()))

    async def run(self) -> None:
        await asyncio.Event().wait()


def now() -> float:
    return asyncio.get_running_loop().time()


CALLS = [f"call-{number}" for number in range(40)]


@pytest.mark.parametrize("calls", [1, 40])
async def test_what_a_member_asks_does_not_grow_with_its_calls(calls: int):
    async with Pool().running() as pool:
        members = [pool.hire(), pool.hire()]
        await pool.call(*CALLS[:calls])
        await asyncio.sleep(3)
        for member in members:
            member.way.asked.clear()
        await asyncio.sleep(30)
        asked = members[0].way.asked + members[1].way.asked
        assert asked["renew"] <= 2 * 30 * RENEWALS_PER_SECOND * SPREAD
        assert asked["confirm"] <= 2 * 30 / CONFIRM_SECONDS + 2
        assert asked["orphans"] <= 30 * 1000 / SCAN_MS + 1, "one of the two looks, and once a second"
        assert len(pool.runs) == calls


async def test_without_calls_no_member_asks_more_than_twice_a_second():
    async with Pool().running() as pool:
        members = [pool.hire() for _ in range(3)]
        await asyncio.sleep(3)
        for member in members:
            member.way.asked.clear()
        await asyncio.sleep(30)
        for member in members:
            assert member.way.asked["renew"] <= 30 / REPORT_SECONDS * SPREAD < 60
            assert member.way.asked["take_offers"] <= 61
            assert member.way.asked["confirm"] == 0


@pytest.mark.parametrize("died_s", [0.0, 0.05, 0.11, 0.16, 0.2])
async def test_a_dead_members_calls_are_held_again_as_soon_as_its_lease_has_run_out(died_s: float):
    async with Pool().running() as pool:
        first = pool.hire()
        await pool.call(*CALLS[:10])
        await asyncio.sleep(2)
        heirs = [pool.hire(), pool.hire()]
        await asyncio.sleep(3 + died_s)
        await first.is_killed()
        ends_s = pool.store.leases.until_ms["stt", first.name] / 1000
        assert ends_s - now() <= LEASE_MS / 1000
        await asyncio.sleep((ends_s - now()) / 2)
        await pool.store.renew(MemberReport("stt", "stt-x", False, False))  # and the turn of the second is taken
        await asyncio.sleep(2)
        again = [(call_id, at) for call_id, member, at in pool.runs if member in {heir.name for heir in heirs}]
        assert sorted(call_id for call_id, _ in again) == sorted(CALLS[:10])
        assert all(ends_s <= at <= ends_s + 0.1 for _, at in again), "two looks, an offer, a claim"


@pytest.mark.parametrize("again", range(5))
async def test_a_member_that_took_its_first_call_keeps_it(again: int):
    """It has just reported, and as a member without calls it would do so again when the lease is over."""
    async with Pool().running() as pool:
        member = pool.hire()
        await asyncio.sleep(3)
        reported = member.way.asked["renew"]
        while member.way.asked["renew"] == reported:
            await asyncio.sleep(0.01)
        await pool.call("call-0")
        await asyncio.sleep(0.1)
        for _ in range(200):
            assert await pool.store.orphans("stt") == []
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("lease_ms", [300, 30_000])
async def test_the_shortest_and_the_longest_lease_lose_no_call_and_no_report(lease_ms: int):
    async with Pool(lease_ms).running() as pool:
        names = {pool.hire().name, pool.hire().name}
        await pool.call(*CALLS[:4])
        for _ in range(40):
            await asyncio.sleep(1)
            assert (await pool.store.members("stt")).with_room == names
            assert await pool.store.orphans("stt") == []
        assert len(pool.runs) == 4


async def test_a_member_that_stood_still_and_was_not_replaced_goes_on():
    async with Pool().running() as pool:
        only = pool.hire()
        await pool.call(*CALLS[:3])
        await asyncio.sleep(2)
        only.way.thawed.clear()
        await asyncio.sleep(4)
        only.way.thawed.set()
        await asyncio.sleep(4)
        assert len(pool.runs) == 3
        assert await pool.store.orphans("stt") == []


async def test_a_member_that_stood_still_and_was_replaced_drops_its_calls_with_the_next_renewal():
    async with Pool().running() as pool:
        frozen = pool.hire()
        await pool.call(*CALLS[:3])
        await asyncio.sleep(2)
        other = pool.hire()
        frozen.way.thawed.clear()
        await asyncio.sleep(1.5)
        assert {pool.owner(call_id) for call_id in CALLS[:3]} == {other.name}
        frozen.way.thawed.set()
        await asyncio.sleep(LEASE_MS / 3000 * SPREAD)
        assert frozen.runner._held == {}
        assert len(other.runner._held) == 3


async def test_a_claim_whose_answer_is_lost_is_made_again_when_the_store_answers():
    """The member has another call, so its lease runs on, and nobody else may claim this one."""
    async with Pool().running() as pool:
        member = pool.hire()
        await pool.call("call-0")
        await asyncio.sleep(2)
        member.way.loses_claim_of = "call-1"
        await pool.call("call-1")
        await asyncio.sleep(0.1)
        assert not member.way.loses_claim_of
        assert await pool.store.orphans("stt") == [], "the store has an owner that does not know of it"
        pool.hire()
        await asyncio.sleep(RETRY_SECONDS)
        assert pool.owner("call-1") == member.name


async def test_a_call_that_its_owner_does_not_know_is_held_again_after_some_seconds():
    """A failover took its release back."""
    async with Pool().running() as pool:
        member = pool.hire()
        await pool.call("call-0", "call-1")
        await asyncio.sleep(2)
        held = member.runner._held.pop("call-1")
        held.task.cancel()
        lost_s = now()
        await asyncio.sleep(3)
        assert pool.runs[-1][2] < lost_s, "its lease runs, and it may be about to say so"
        await asyncio.sleep((UNCONFIRMED_MS + SCAN_MS) / 1000 - 3 + 0.5)
        assert (pool.runs[-1][0], pool.runs[-1][2] > lost_s) == ("call-1", True)
        assert pool.store._calls["call-1"].holds["stt"].crashes == 0


class LosesTurns(MemoryCallStore):
    """Who is told to scan dies before it does."""

    async def orphans(self, pool: str) -> list[str]:
        await asyncio.sleep(3600)
        return []


async def test_a_scan_that_its_member_did_not_do_is_made_by_the_next():
    async with Pool().running() as pool:
        dead = pool.hire()
        await pool.call("call-0")
        await asyncio.sleep(2)
        stuck = pool.hire()
        stuck.runner._scan._store = LosesTurns(pool.store._streams)
        await asyncio.sleep(3)
        await dead.is_killed()
        pool.hire()
        await asyncio.sleep((LEASE_MS + 6 * SCAN_MS) / 1000)  # the stuck one may be told twice
        assert len(pool.runs) == 2
