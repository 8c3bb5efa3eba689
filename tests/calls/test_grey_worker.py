"""A worker that runs and can reach no vendor: it takes nothing, gives its calls to one that can, and comes back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.store import CallRecord, Claim
from common.store.members import Members
from common.store.memory import MemoryCallStore
from common.telemetry import metrics
from tests.calls.phone import Phone, Worker
from tests.calls.signs_of_life import signs_of_life
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import Down, ProviderError
from workers.runtime.provider_health import probe_for_ever
from workers.runtime.runner import Runner, RunnerOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ASK_SECONDS = 1.0
"""How often each call needs its vendor."""


class Vendor:
    """Answers, unless the way to it is cut."""

    def __init__(self) -> None:
        self.cut = False
        self.asked = 0

    async def reply(self, dialogue: Any) -> AsyncIterator[str]:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.cut:
            raise Down("no way out")
        yield "Yes."


@dataclass
class Member:
    name: str
    vendor: Vendor
    runner: Runner
    tasks: list[asyncio.Task[None]]


@dataclass
class Pool:
    calls_max: int = 50
    silent: set[str] = field(default_factory=set)
    """Calls whose callers say nothing: they need no vendor."""
    moves: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    apologies: Counter[str] = field(default_factory=Counter)
    owner: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = MemoryCallStore(MemoryStreams(), 700)
        self.members: list[Member] = []
        self._calls: list[str] = []

    def hire(self, calls_max: int = 50) -> Member:
        name, vendor = f"llm-{len(self.members)}", Vendor()
        source = Source("llm", f"test/{name}", vendor, 0, asyncio.get_running_loop().time)
        runner = Runner(
            RunnerOptions("llm", name, calls_max, 700), MemoryBus(self.store._streams), self.store,
            lambda claim: Asking(self, claim, Failover((source,), runner.elsewhere)), lambda: source.failing,
        )  # fmt: skip
        probing = probe_for_ever(lambda: [source] if source.failing else [])
        tasks = [asyncio.create_task(runner.run(asyncio.Event())), asyncio.create_task(probing)]
        self.members.append(Member(name, vendor, runner, tasks))
        return self.members[-1]

    async def call(self, call_id: str) -> None:
        await self.store.create(CallRecord(call_id))
        await self.store.start(call_id, "edge-1")
        self._calls.append(call_id)
        await self.store.offer("llm", [call_id])

    def held(self) -> Counter[str]:
        return Counter(self.owner[call_id] for call_id in self.owner)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Pool"]:
        try:
            async with signs_of_life(self.store, self._calls):
                yield self
        finally:
            tasks = [task for member in self.members for task in member.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Asking:
    """A call that asks its vendor again and again, and apologises when nobody answers."""

    def __init__(self, pool: Pool, claim: Claim, models: Failover[Vendor]) -> None:
        self._pool, self._claim, self._models = pool, claim, models

    async def run(self) -> None:
        pool, call_id = self._pool, self._claim.call_id
        pool.moves[call_id] += 1
        pool.owner[call_id] = self._claim.owner
        while call_id in pool.silent:
            await asyncio.sleep(ASK_SECONDS)
        while True:
            source = self._models.choose(())
            assert source is not None
            try:
                with source.use() as use:
                    async for _ in source.provider.reply(()):
                        use.worked()
                        pool.answered[call_id] += 1
            except ProviderError:
                await self._models.exhausted(call_id)
                pool.apologies[call_id] += 1
            await asyncio.sleep(ASK_SECONDS)


CALLS = [f"call-{number}" for number in range(10)]


async def test_ten_calls_of_a_worker_without_a_way_out_go_to_the_one_that_has_one_and_nobody_hears_an_apology():
    async with Pool().running() as pool:
        grey = pool.hire()
        for call_id in CALLS:
            await pool.call(call_id)
        await asyncio.sleep(2)
        available = pool.hire()
        await asyncio.sleep(2)
        grey.vendor.cut = True
        await asyncio.sleep(5)
        assert pool.held() == Counter({available.name: 10})
        assert pool.apologies == Counter()
        assert set(pool.moves.values()) == {2}
        assert grey.runner.refusal == "no provider can be reached"
        assert available.runner.refusal == ""

        asked = grey.vendor.asked
        for number in range(10):
            await pool.call(f"new-{number}")  # and freed places pull nothing in
            await asyncio.sleep(1)
        await asyncio.sleep(80)
        assert pool.held() == Counter({available.name: 20})
        assert {moves for call_id, moves in pool.moves.items() if call_id not in CALLS} == {1}
        assert pool.apologies == Counter()
        assert grey.vendor.asked - asked < 10, "it is tried now and then, and by no call"

        grey.vendor.cut = False
        await asyncio.sleep(70)
        assert grey.runner.refusal == ""
        available.tasks[0].cancel()
        await asyncio.sleep(5)
        assert pool.held() == Counter({grey.name: 20})


async def test_it_says_so_on_its_gauge_and_takes_itself_out_of_those_with_room():
    failing = metrics.PROVIDERS_FAILING.labels("llm")
    async with Pool().running() as pool:
        grey = pool.hire()
        for call_id in CALLS:
            await pool.call(call_id)
        await asyncio.sleep(2)
        available = pool.hire()
        await asyncio.sleep(2)
        assert (await pool.store.members("llm")).with_room == {grey.name, available.name}
        grey.vendor.cut = True
        await asyncio.sleep(10)
        assert failing._value.get() == 1
        assert await pool.store.members("llm") == Members(frozenset({available.name}), frozenset({available.name}))
        grey.vendor.cut = False
        await asyncio.sleep(70)
        assert failing._value.get() == 0
        assert (await pool.store.members("llm")).healthy == {grey.name, available.name}


async def test_calls_whose_callers_say_nothing_are_handed_over_too_and_at_once():
    async with Pool(silent=set(CALLS[5:])).running() as pool:
        grey = pool.hire()
        for call_id in CALLS:
            await pool.call(call_id)
        await asyncio.sleep(2)
        available = pool.hire()
        await asyncio.sleep(2)
        grey.vendor.cut = True
        await asyncio.sleep(5)
        assert pool.held() == Counter({available.name: 10})
        assert set(pool.moves.values()) == {2}


async def test_when_no_member_reaches_the_vendor_each_takes_calls_as_before():
    async with Pool().running() as pool:
        members = [pool.hire(calls_max=8) for _ in range(2)]
        for call_id in CALLS:
            await pool.call(call_id)
        await asyncio.sleep(2)
        assert len(pool.held()) == 2, "both have some"
        for member in members:
            member.vendor.cut = True
        await asyncio.sleep(10)
        assert {member.runner.refusal for member in members} == {"no provider can be reached"}
        assert await pool.store.pools_with_room() == {"llm"}
        await pool.call("new")
        await asyncio.sleep(3)
        assert pool.moves["new"] >= 1
        assert pool.apologies["new"] >= 1, "its caller hears that something is wrong"


async def test_when_the_vendor_is_down_for_all_calls_do_not_go_in_circles():
    async with Pool().running() as pool:
        members = [pool.hire() for _ in range(3)]
        for call_id in CALLS:
            await pool.call(call_id)
        await asyncio.sleep(2)
        for member in members:
            member.vendor.cut = True
        await asyncio.sleep(30)
        assert max(pool.moves.values()) <= 2, "each call may be passed on once"
        assert min(pool.apologies.values()) >= 10
        assert len(pool.apologies) == 10, "as before: the callers hear that something is wrong"
        assert await pool.store.pools_with_room() == {"llm"}, "and new ones are answered as before"
        await pool.call("new")
        await asyncio.sleep(3)
        assert pool.moves["new"] >= 1
        for member in members:
            member.vendor.cut = False
        before = pool.apologies.total()
        await asyncio.sleep(70)
        calm = pool.apologies.total()
        await asyncio.sleep(10)
        assert pool.apologies.total() == calm < before + 11 * 65
        assert all(member.runner.refusal == "" for member in members)


async def test_calls_for_which_the_others_have_no_room_are_kept():
    async with Pool().running() as pool:
        grey = pool.hire()
        for call_id in CALLS:
            await pool.call(call_id)
        await asyncio.sleep(2)
        available = pool.hire(calls_max=4)
        await asyncio.sleep(2)
        grey.vendor.cut = True
        await asyncio.sleep(20)
        assert pool.held() == Counter({grey.name: 6, available.name: 4})
        assert await pool.store.orphans("llm") == []
        assert max(pool.moves.values()) <= 3


async def test_no_call_is_given_away_where_the_others_are_full():
    async with Pool().running() as pool:
        full = pool.hire(calls_max=1)
        await pool.call("theirs")
        await asyncio.sleep(2)
        grey = pool.hire()
        for call_id in CALLS:
            await pool.call(call_id)
        await asyncio.sleep(2)
        grey.vendor.cut = True
        await asyncio.sleep(20)
        assert pool.held() == Counter({grey.name: 10, full.name: 1})
        assert set(pool.moves.values()) == {1}, "nobody's call stood still for a second, for nothing"


# --- and on the phone ----------------------------------------------------------------------------------------------


class Cut:
    """A provider of the phone behind a way that may be cut."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def listen(self, options: Any) -> Any:
        return self._refused() if self.cut else self._provider.listen(options)

    @asynccontextmanager
    async def _refused(self) -> AsyncIterator[Any]:
        raise Down("no way out")
        yield

    async def reply(self, *about: Any) -> AsyncIterator[Any]:
        if self.cut:
            raise Down("no way out")
        async for piece in self._provider.reply(*about):
            yield piece

    async def say(self, *about: Any) -> AsyncIterator[Any]:
        if self.cut:
            raise Down("no way out")
        async for sound in self._provider.say(*about):
            yield sound


class TwoWays(Phone):
    """Every worker has a way to its vendor of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ways: dict[str, Cut] = {}
        self._hired = 0

    def _sources(self, pool: str, first: Any) -> Failover[Any]:
        worker = next(w for w in self.workers if w.pool == pool and w.runner._options.owner == self._opening)
        way = self.ways.setdefault(self._opening, Cut(first))
        if not hasattr(worker.runner, "source"):
            clock = asyncio.get_running_loop().time
            worker.runner.source = Source(pool, f"test/{self._opening}", way, 0, clock)  # type: ignore[attr-defined]
        return Failover((worker.runner.source,), worker.runner.elsewhere)  # type: ignore[attr-defined]

    def _open(self, claim: Claim, bus: MemoryBus) -> Any:
        self._opening = claim.owner
        return super()._open(claim, bus)

    def owner(self, pool: str) -> Worker:
        owner = self.store._calls["call-1"].owners[pool]
        return next(worker for worker in self.workers if worker.runner._options.owner == owner)


@pytest.mark.parametrize("pool", ["stt", "llm", "tts"])
async def test_a_caller_whose_worker_lost_its_way_out_is_answered_by_another(pool: str):
    phone = TwoWays()
    phone.mind.answers.update({"hours": "Nine to six."})
    await phone.start()
    await phone.hears("Hello.")
    await phone.silence()
    first = phone.owner(pool)
    phone.hire(pool)
    await phone.after(2)
    phone.ways[first.runner._options.owner].cut = True
    if pool == "stt":
        phone.ears.ears[-1].breaks()
    await phone.says("hours")
    await phone.hears("Nine to six.")
    assert phone.owner(pool) is not first
    assert "problem" not in phone.heard
    await phone.close()
