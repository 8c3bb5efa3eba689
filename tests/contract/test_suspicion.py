"""What the ledger remembers of lost owners: in memory, in Redis and over shards alike."""

import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass

import pytest
import redis.asyncio

from common.bus.memory import MemoryStreams
from common.protocol import redis_keys
from common.store import CallRecord, CallStore, Claim
from common.store.members import MemberReport, Quarantined
from common.store.memory import MemoryCallStore
from common.store.redis import RedisCallStore
from common.store.suspicion import (
    BACKOFF_MS,
    CRASHES_MAX,
    SURVIVED_MS,
    TRIAL_MS,
    TRIAL_WAIT_MS,
    Hold,
    LastOwner,
    Left,
    Suspect,
    Take,
)
from tests.contract.test_call_store import LEASE_MS, Server, server

pytestmark = [pytest.mark.servers, pytest.mark.anyio]
__all__ = ["server"]


async def live(store: CallStore) -> None:
    await store.create(CallRecord("c-1"))
    await store.start("c-1", "e-1")


async def lost(server: Server, owner: str, take: Take = Take.TRUSTED) -> Claim:
    """Somebody claims the call and dies."""
    claim = await server.store.claim("llm", "c-1", owner, take)
    assert claim is not None
    await server.lease_runs_out()
    return claim


async def test_a_loss_is_counted_and_a_hand_over_is_not(server: Server):
    store = server.store
    await live(store)
    await lost(server, "w-1")
    second = await store.claim("llm", "c-1", "w-2")
    assert second is not None
    assert (second.crashes, second.trial_ms, second.condemned) == (1, 0, False)
    await store.release(second)
    third = await store.claim("llm", "c-1", "w-3")
    assert third is not None
    assert third.crashes == 1
    await store.release(third, Left.FAILED)
    with pytest.raises(Suspect):
        await store.claim("llm", "c-1", "w-4")
    other_pool = await store.claim("tts", "c-1", "w-5")
    assert other_pool is not None
    assert other_pool.crashes == 0


async def test_a_member_that_takes_its_own_call_again_did_not_die_of_it(server: Server):
    await live(server.store)
    for _ in range(4):
        claim = await lost(server, "w-1")
    assert claim.crashes == 0


async def test_a_call_that_kills_at_once_is_tried_alone_and_then_condemned_for_good(server: Server):
    store = server.store
    await live(store)
    await lost(server, "w-1")
    await lost(server, "w-2")
    for take in Take:
        with pytest.raises(Suspect):  # the pause comes first
            await store.claim("llm", "c-1", "w-3", take)
    await asyncio.sleep(BACKOFF_MS / 1000 + 0.02)
    for take in (Take.TRUSTED, Take.BESIDE):
        with pytest.raises(Suspect):
            await store.claim("llm", "c-1", "w-3", take)
    tried = await lost(server, "w-3", Take.ALONE)
    assert (tried.crashes, tried.trial_ms) == (2, TRIAL_MS)
    for owner in ("w-4", "w-5"):
        last = await store.claim("llm", "c-1", owner)
        assert last is not None
        assert last.condemned
        assert last.crashes == 3
        await store.release(last)


async def test_who_was_cut_off_and_not_dead_says_so_afterwards(server: Server):
    store = server.store
    await live(store)
    first = await lost(server, "w-1")
    second = await store.claim("llm", "c-1", "w-2")
    assert second is not None
    assert second.crashes == 1
    await store.release(first)  # and must not take the new owner's lease away
    assert await store.claim("llm", "c-1", "w-3") is None
    await store.release(second)
    third = await store.claim("llm", "c-1", "w-3")
    assert third is not None
    assert third.crashes == 0


async def test_a_call_that_the_server_lost_begins_without_suspicion(server: Server):
    store = server.store
    await store.restore(CallRecord("c-1", epoch=2, edge="e-1"), {"epoch": "1", "token:llm": "4"}, [])
    claim = await store.claim("llm", "c-1", "w-1")
    assert claim is not None
    assert claim.crashes == 0


async def test_a_call_that_was_passed_on_says_so_once(server: Server):
    store = server.store
    await live(store)
    said = []
    for left in (Left.PASSED_ON, Left.CLEAN, Left.CLEAN):
        claim = await store.claim("llm", "c-1", "w-1")
        assert claim is not None
        said.append(claim.passed_on)
        await store.release(claim, left)
    assert said == [False, True, False]


async def test_a_release_after_the_record_is_gone_makes_none(server: Server):
    claim = Claim("c-9", "llm", "w-1", 1, CallRecord("c-9"))
    for left in Left:
        await server.store.release(claim, left)
    assert await server.store.read("c-9") is None


async def test_members_say_whether_they_are_well_and_have_room(server: Server):
    store = server.store
    await store.renew(MemberReport("llm", "l-1", False, has_room=False, healthy=True))
    await store.renew(MemberReport("llm", "l-2", False, has_room=True, healthy=False))
    found = await store.members("llm")
    assert (found.healthy, found.with_room) == ({"l-1"}, {"l-2"})
    await store.renew(MemberReport("llm", "l-1", False, has_room=False, healthy=False))
    assert (await store.members("llm")).healthy == frozenset()


async def test_the_quarantine_is_a_list_for_people(redis7_url: str):
    url = redis7_url
    store = RedisCallStore.connect(url, "test", 60)
    client = redis.asyncio.Redis.from_url(url)
    for number in range(120):
        await store.quarantine(Quarantined(f"c-{number}", "llm", 3, 1))
    key = redis_keys.pool_quarantine("llm")
    kept = await client.lrange(key, 0, -1)
    assert len(kept) == 100
    assert kept[0] == b'{"call_id": "c-119", "pool": "llm", "crashes": 3, "at_ms": 1}'
    assert await client.ttl(key) > 0
    await store.aclose()
    await client.aclose()


# --- the script and its twin ---------------------------------------------------------------------------------------


LONG_LEASE_MS = 60_000


@dataclass
class Twins:
    """The same call in memory and in Redis; what differs is a fault of one of them."""

    memory: MemoryCallStore
    server: RedisCallStore
    client: redis.asyncio.Redis

    async def both(self, ask: str, *arguments: object) -> object:
        answers = []
        for store in (self.memory, self.server):
            try:
                answer = await getattr(store, ask)(*arguments)
            except Suspect:
                answer = "suspect"
            if isinstance(answer, Claim):
                answer = (answer.token, answer.trial_ms, answer.condemned, answer.crashes, answer.passed_on)
            answers.append(answer)
        assert answers[0] == answers[1], (ask, arguments)
        return answers[0]

    async def vanish(self) -> None:
        """The owner dies, and its lease runs out now: it lived for a lease less."""
        until_ms = self.memory.leases.until_ms
        until_ms.update(dict.fromkeys(until_ms, asyncio.get_running_loop().time() * 1000))
        leases = redis_keys.pool_leases("llm")
        members = await self.client.zrange(leases, 0, -1)
        await self.client.zadd(leases, dict.fromkeys(members, await self.now_ms()))

    async def shift(self, held_ms: int, waited_ms: int) -> None:
        """The hold began so much earlier, and so does the wait."""
        hold = self.memory._calls["c-1"].holds["llm"]
        now_ms = asyncio.get_running_loop().time() * 1000
        hold.began_ms, hold.waits_ms = now_ms - held_ms, now_ms - waited_ms
        server_ms = await self.now_ms()
        key = redis_keys.call_state("c-1")
        numbers = (await self.client.hget(key, "hold:llm")).decode().split()  # type: ignore[misc,union-attr]
        numbers[1], numbers[5] = str(server_ms - held_ms), str(server_ms - waited_ms)
        await self.client.hset(key, "hold:llm", " ".join(numbers))  # type: ignore[misc]

    async def now_ms(self) -> int:
        seconds, micros = await self.client.time()
        return int(seconds * 1000 + micros // 1000)


@pytest.mark.parametrize("seed", range(12))
async def test_the_script_and_its_twin_agree_whatever_happens(redis7_url: str, seed: int):
    chance = random.Random(seed)
    async with (
        aclosing(RedisCallStore.connect(redis7_url, "test", 60, LONG_LEASE_MS)) as on_server,
        aclosing(redis.asyncio.Redis.from_url(redis7_url)) as client,
    ):
        twins = Twins(MemoryCallStore(MemoryStreams(), LONG_LEASE_MS), on_server, client)
        for store in (twins.memory, twins.server):
            await live(store)
        held, seen, newest = [], set(), None
        times_ms = (100, TRIAL_MS - 500, TRIAL_MS + 500, 2 * TRIAL_MS + 500, SURVIVED_MS + 500)
        waits_ms = (100, BACKOFF_MS + 300, 4 * BACKOFF_MS + 300, TRIAL_WAIT_MS + 500)
        for _ in range(60):
            answer = await twins.both("claim", "llm", "c-1", chance.choice("abc"), chance.choice(list(Take)))
            seen.add(answer if not isinstance(answer, tuple) else answer[1:4])
            if isinstance(answer, tuple):
                owner = twins.memory._calls["c-1"].owners["llm"]
                newest = Claim("c-1", "llm", owner, answer[0], CallRecord("c-1"))
                held.append(newest)
            leaves = chance.choices(("releases", "vanishes", "stays"), (4, 4, 2))[0] if held else "stays"
            if newest is not None:
                held_ms = chance.choice(times_ms) + (LONG_LEASE_MS if leaves == "vanishes" else 0)
                await twins.shift(held_ms, chance.choice(waits_ms))
            if leaves == "releases":
                await twins.both("release", chance.choice(held[-3:]), chance.choice(list(Left)))
            elif leaves == "vanishes":
                await twins.vanish()
        assert len(seen) >= 3


def test_the_bounds_make_sense() -> None:
    assert CRASHES_MAX > 3
    assert LEASE_MS < BACKOFF_MS < TRIAL_MS < TRIAL_WAIT_MS < SURVIVED_MS


def test_who_was_cut_off_for_long_takes_no_loss_off_a_count_that_has_begun_anew() -> None:
    hold = Hold()
    assert hold.claim(LastOwner(0, False, 0), Take.TRUSTED, 0)
    assert hold.claim(LastOwner(1, True, 1_000), Take.TRUSTED, 2_000)
    assert hold.crashes == 1
    hold.leave(2, 2, Left.CLEAN, 2_000 + SURVIVED_MS)
    assert hold.claim(LastOwner(2, False, 0), Take.TRUSTED, 70_000)
    hold.leave(1, 3, Left.CLEAN, 70_001)
    assert hold.crashes == 0
