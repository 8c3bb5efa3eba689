"""A call that kills every worker that holds it: it is found, ended, and takes as few of the others along as can be."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import HangUp
from common.protocol.redis_keys import edge_priority
from common.store import CallRecord, Claim
from common.store.memory import MemoryCallStore
from common.store.suspicion import CRASHES_MAX
from common.telemetry import metrics
from tests.calls.signs_of_life import signs_of_life
from workers.runtime.runner import Runner, RunnerOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

POISON = "poison"
RESTART_SECONDS = 1.0


class Connection:
    """A member's own way to the call store, which may be cut."""

    def __init__(self, store: MemoryCallStore) -> None:
        self._store = store
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        async def ask(*about: Any) -> Any:
            if self.cut:
                raise ConnectionError("no way to Redis")
            return await getattr(self._store, name)(*about)

        return ask


@dataclass
class Member:
    """A worker process; `die` is a segfault, `stall` an event loop that does not come back."""

    number: int
    connection: Connection
    bus: MemoryBus
    runner: Runner
    task: asyncio.Task[None]
    stop: asyncio.Event


@dataclass
class Pool:
    """Members that are started again when they die, as Kubernetes would, and the calls that they hold."""

    members: int
    kills_after_s: float = 0.05
    """How long the poison takes, each time that somebody holds it."""
    dies: bool = True
    """Or its session raises an exception."""
    kills: int = 1000
    """How often it kills."""
    writes: bool = False
    """The quiet calls ask the store now and then, and their sessions end when it is away."""
    orders_lost: int = 0
    """The first so many orders to hang up die with their edge, and the carrier connects to the next one."""
    deaths: int = 0
    held: Counter[str] = field(default_factory=Counter)
    carried: dict[str, str] = field(default_factory=dict)
    hung_up: list[HangUp] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.streams = MemoryStreams()
        self.store = MemoryCallStore(self.streams, 700)
        self.bus = MemoryBus(self.streams)
        self._members: dict[str, Member] = {}
        self._started = 0
        self._calls: list[str] = []
        self._restarts: set[asyncio.Task[None]] = set()

    async def call(self, call_id: str) -> None:
        await self.store.create(CallRecord(call_id))
        await self.store.start(call_id, "edge-1")
        self._calls.append(call_id)
        await self.store.offer("llm", [call_id])

    def start(self) -> str:
        self._started += 1
        name, bus, stop = f"llm-{self._started}", MemoryBus(self.streams), asyncio.Event()
        connection: Any = Connection(self.store)
        options = RunnerOptions("llm", name, 50, 700)
        runner = Runner(options, bus, connection, lambda claim: Session(self, claim, connection))
        task = asyncio.create_task(runner.run(stop))
        self._members[name] = Member(self._started, connection, bus, runner, task, stop)
        return name

    async def die(self, name: str) -> None:
        member = self._members.pop(name)
        self.deaths += 1
        member.bus.kill()
        member.task.cancel()
        await asyncio.sleep(RESTART_SECONDS)
        self.start()

    def holder(self, call_id: str) -> Member:
        return self._members[self.carried[call_id]]

    def kill(self, name: str) -> None:
        if name in self._members:
            task = asyncio.get_running_loop().create_task(self.die(name))
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)

    async def roll(self) -> None:
        """A rolling restart: SIGTERM, and another in its place."""
        for name in list(self._members):
            member = self._members.pop(name)
            self.start()
            member.stop.set()
            await member.task

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def _edge(self, entry_id: str, message: object) -> None:
        if isinstance(message, HangUp):
            self.hung_up.append(message)
            lost = len(self.hung_up) <= self.orders_lost
            follows = self.store.start(message.call_id, "edge-2") if lost else self._end(message)
            asyncio.get_running_loop().create_task(follows)

    async def _end(self, message: HangUp) -> None:
        await self.store.end(message.call_id, message.reason)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Pool"]:
        for edge in ("edge-1", "edge-2"):
            self.bus.subscribe(edge_priority(edge), self._edge, lambda error: None)
        for _ in range(self.members):
            self.start()
        try:
            async with signs_of_life(self.store, self._calls):
                yield self
        finally:
            tasks = [*self._restarts, *(member.task for member in self._members.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Session:
    """A quiet call, or the poison."""

    def __init__(self, pool: Pool, claim: Claim, connection: Connection) -> None:
        self._pool = pool
        self._claim = claim
        self._connection = connection

    async def run(self) -> None:
        pool, call_id = self._pool, self._claim.call_id
        pool.held[call_id] += 1
        pool.carried[call_id] = self._claim.owner
        if call_id == POISON and pool.held[POISON] <= pool.kills:
            await asyncio.sleep(pool.kills_after_s)
            if not pool.dies:
                raise RuntimeError("a session that cannot be")
            pool.kill(self._claim.owner)
        while pool.writes:
            await asyncio.sleep(0.2)
            await self._connection.read(call_id)
        await asyncio.Event().wait()


def innocents(count: int) -> list[str]:
    return [f"call-{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("members", "kills_after_s", "deaths"),
    [(2, 0.0, 3), (4, 0.0, 3), (2, 1.0, 3), (4, 1.0, 3), (2, 5.0, 6), (4, 12.0, 6)],
)
async def test_a_call_that_kills_its_workers_ends_and_the_others_live(members: int, kills_after_s: float, deaths: int):
    quarantined = metrics.CALLS_QUARANTINED.labels("llm")
    before = quarantined._value.get()
    async with Pool(members, kills_after_s).running() as pool:
        others = innocents(9)
        for call_id in [*others[:5], POISON, *others[5:]]:
            await pool.call(call_id)
        async with asyncio.timeout(200):
            while not pool.hung_up or await pool.store.orphans("llm"):
                await asyncio.sleep(1)
        assert {(message.call_id, message.reason) for message in pool.hung_up} == {(POISON, "error")}
        assert quarantined._value.get() == before + 1
        assert 3 <= pool.deaths <= deaths <= CRASHES_MAX
        assert sorted(await pool.store.live()) == others
        assert [call.call_id for call in pool.store.quarantined] == [POISON]
        taken_over = [pool.held[call_id] - 1 for call_id in others]
        assert max(taken_over) <= deaths
        if deaths == 3:
            assert max(taken_over) <= 3, "and a third time only those who were tried where the poison was"
            assert sum(taken_over) / len(others) <= 2.5


async def test_two_calls_of_which_one_kills_and_each_finds_a_member_for_itself():
    async with Pool(4, 0.2).running() as pool:
        await pool.call("call-0")
        await pool.call(POISON)
        await asyncio.sleep(20)
        assert (pool.deaths, pool.held[POISON]) == (3, 3)
        assert pool.held["call-0"] - 1 <= 2
        assert await pool.store.live() == ["call-0"]


async def test_a_session_that_raises_everywhere_is_ended_after_a_few_and_kills_nobody():
    async with Pool(3, 0.1, dies=False).running() as pool:
        for call_id in ["call-0", POISON, "call-1"]:
            await pool.call(call_id)
        await asyncio.sleep(20)
        assert {message.call_id for message in pool.hung_up} == {POISON}
        assert pool.held[POISON] == 3
        assert pool.held["call-0"] == pool.held["call-1"] == 1
        assert pool.store.quarantined[0].crashes == 3


async def test_an_order_that_is_lost_with_its_edge_is_given_to_the_next_one():
    async with Pool(2, 0.1, dies=False, orders_lost=1).running() as pool:
        await pool.call(POISON)
        await asyncio.sleep(20)
        assert [message.epoch for message in pool.hung_up] == [1, 2]
        assert await pool.store.live() == []
        assert len(pool.store.quarantined) == 1


async def test_a_suspect_without_a_member_for_itself_waits_no_longer_than_a_caller_does():
    """Its only member has another call, which nobody would go on with."""
    async with Pool(1, 0.0, kills=2).running() as pool:
        for call_id in ("call-0", POISON):
            await pool.call(call_id)
        async with asyncio.timeout(5):
            while pool.deaths < 2:
                await asyncio.sleep(0.05)
        await asyncio.sleep(RESTART_SECONDS + 14)
        assert pool.held[POISON] == 3
        assert sorted(await pool.store.live()) == ["call-0", POISON]


@pytest.mark.parametrize("writes", [False, True], ids=["quiet", "writing"])
async def test_members_that_are_cut_off_from_redis_are_no_losses(writes: bool):
    async with Pool(2, writes=writes).running() as pool:
        for call_id in innocents(3):
            await pool.call(call_id)
        await asyncio.sleep(1)
        for _ in range(8):
            connection = pool.holder("call-0").connection
            connection.cut = True
            await asyncio.sleep(3)
            connection.cut = False
            await asyncio.sleep(3)
        assert pool.held["call-0"] >= 8, "the other one took it each time"
        assert pool.hung_up == []
        assert [pool.store._calls[call_id].holds["llm"].crashes for call_id in innocents(3)] == [0, 0, 0]


async def test_a_worker_that_dies_now_and_then_ends_no_call():
    """Two deaths in a minute, then one a minute: the calls had nothing to do with it."""
    async with Pool(2).running() as pool:
        for call_id in innocents(3):
            await pool.call(call_id)
        await asyncio.sleep(1)
        for pause_s in (6, 70, 70, 70, 70, 70):
            pool.kill(pool.carried["call-0"])
            await asyncio.sleep(pause_s)
        assert pool.deaths == 6
        assert pool.hung_up == []
        assert await pool.store.orphans("llm") == []


async def test_rolling_restarts_are_nobodys_fault():
    async with Pool(2).running() as pool:
        for call_id in innocents(3):
            await pool.call(call_id)
        for _ in range(8):
            await asyncio.sleep(1)
            await pool.roll()
        await asyncio.sleep(2)
        assert pool.hung_up == []
        assert min(pool.held.values()) >= 8
        again = await pool.store.claim("llm", "call-0", "nobody")
        assert again is None, "it is held"
        holds = [pool.store._calls[call_id].holds["llm"] for call_id in innocents(3)]
        assert [hold.crashes for hold in holds] == [0, 0, 0]
