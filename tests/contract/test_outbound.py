"""Both outbound queues keep the promises of common/store/outbound.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgpack
import pytest
from redis.asyncio import Redis

from common.store.dials import QUEUE_MAX, RedisOutboundQueue
from common.store.outbound import OutboundQueue, QueueFull, UnreadableOutboundCall
from common.store.outbound_memory import MemoryOutboundQueue
from common.telemetry import metrics
from tests.conftest import server_url

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

RETENTION_S = 60
ONE, TWO = "out-0001", "out-0002"
BODY = {"to": "911234567890", "sent": 0}


class Queue:
    """A queue, and what somebody else can do to its server."""

    def __init__(self, queue: OutboundQueue, redis: Redis | None) -> None:
        self.queue = queue
        self._redis = redis

    async def expires(self, dial_id: str) -> bool:
        if self._redis is not None:
            return bool(await self._redis.ttl(f"{{dials}}:{dial_id}") > 0)
        assert isinstance(self.queue, MemoryOutboundQueue)
        return self.queue.expires(dial_id)

    async def lose(self, dial_id: str) -> None:
        if self._redis is not None:
            await self._redis.delete(f"{{dials}}:{dial_id}")
            return
        assert isinstance(self.queue, MemoryOutboundQueue)
        self.queue.lose(dial_id)

    async def overwrite(self, dial_id: str, packed: bytes) -> None:
        if self._redis is not None:
            await self._redis.hset(f"{{dials}}:{dial_id}", "body", packed)
            return
        assert isinstance(self.queue, MemoryOutboundQueue)
        self.queue.overwrite(dial_id, packed)

    async def opened(self, dial_id: str, due_ms: int) -> None:
        entry = await self.queue.read(dial_id)
        assert entry is not None
        assert await self.queue.write(dial_id, entry.version, entry.body, "open", due_ms, [f"call-of-{dial_id}"])


@pytest.fixture(params=["memory", "valkey", "redis-7"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    if request.param == "memory":
        yield Queue(MemoryOutboundQueue(RETENTION_S), None)
        return
    url = server_url(request)
    async with aclosing(RedisOutboundQueue.connect(url, "test", RETENTION_S)) as queue, Redis.from_url(url) as redis:
        yield Queue(queue, redis)


async def test_a_document_expires_once_its_call_is_over_and_not_before(queue: Queue) -> None:
    await queue.queue.add(ONE, BODY, 10)
    assert not await queue.expires(ONE)
    await queue.opened(ONE, 20)
    assert not await queue.expires(ONE)
    assert await queue.queue.owner(f"call-of-{ONE}") == ONE
    for where in ("queued", "open", "closed"):
        entry = await queue.queue.read(ONE)
        assert entry is not None
        assert await queue.queue.write(ONE, entry.version, entry.body, where, 30)
        assert await queue.expires(ONE) == (where == "closed")


async def test_an_id_without_a_document_leaves_the_head_of_the_queue(queue: Queue) -> None:
    for due_ms, dial_id in enumerate((ONE, TWO)):
        await queue.queue.add(dial_id, BODY, due_ms)
    await queue.lose(ONE)
    assert await queue.queue.due(1) == [TWO]
    await queue.queue.add(ONE, BODY, await queue.queue.now_ms() + 60_000)
    assert await queue.queue.due(10) == [TWO], "the other one's time has not come"


async def test_an_open_call_without_a_document_gives_its_line_back(queue: Queue) -> None:
    for dial_id in (ONE, TWO):
        await queue.queue.add(dial_id, BODY, 0)
        await queue.opened(dial_id, 10**13)  # nobody would look it up for years
    assert await queue.queue.open_count() == 2
    await queue.lose(ONE)
    assert await queue.queue.open_count() == 1
    await queue.lose(TWO)
    assert await queue.queue.open_count() == 0
    assert await queue.queue.overdue(10) == []


async def test_ids_that_are_removed_are_counted(valkey_url: str) -> None:
    counted = metrics.UNREADABLE.labels("outbound call")
    async with (
        aclosing(RedisOutboundQueue.connect(valkey_url, "test", RETENTION_S)) as queue,
        Redis.from_url(valkey_url) as redis,
    ):
        before = counted._value.get()
        await redis.zadd("{dials}:queued", {ONE: 0, TWO: 0})
        await redis.zadd("{dials}:open", {"out-0003": 0})
        assert await queue.due(1) == []
        assert await queue.open_count() == 0
        assert counted._value.get() == before + 3


async def test_a_document_of_an_older_release_does_not_expire_while_it_waits(valkey_url: str) -> None:
    async with (
        aclosing(RedisOutboundQueue.connect(valkey_url, "test", RETENTION_S)) as queue,
        Redis.from_url(valkey_url) as redis,
    ):
        await queue.add(ONE, BODY, 0)
        await redis.expire(f"{{dials}}:{ONE}", RETENTION_S)
        assert await queue.due(1) == [ONE]
        assert await redis.ttl(f"{{dials}}:{ONE}") == -1


async def test_a_day_has_so_many_requests_and_what_rang_nobody_is_given_back(queue: Queue) -> None:
    assert [await queue.queue.spend(2) for _ in range(3)] == [True, True, False]
    assert await queue.queue.spent_today() == 2
    await queue.queue.give_back()
    assert [await queue.queue.spend(2) for _ in range(2)] == [True, False]
    assert await queue.queue.spend(3), "the operator allowed more"
    assert await queue.queue.spent_today() == 3


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\xff\xfe", msgpack.packb([1, 2]), msgpack.packb(17), b"\x81\x01"])
async def test_a_document_that_cannot_be_read_is_set_aside(queue: Queue, packed: bytes) -> None:
    for due_ms, dial_id in enumerate((ONE, TWO)):
        await queue.queue.add(dial_id, BODY, due_ms)
    await queue.overwrite(ONE, packed)
    with pytest.raises(UnreadableOutboundCall):
        await queue.queue.read(ONE)
    await queue.queue.set_aside(ONE)
    assert await queue.queue.due(10) == [TWO]
    assert await queue.expires(ONE)


async def test_a_key_asked_for_twice_makes_one_call_and_a_full_queue_says_so(queue: Queue) -> None:
    assert await queue.queue.add(ONE, BODY, 0, "a key") == ONE
    assert await queue.queue.add(TWO, BODY, 0, "a key") == ONE
    if isinstance(queue.queue, MemoryOutboundQueue):
        for number in range(QUEUE_MAX - 1):
            await queue.queue.add(f"out-{number:x}", BODY, 0)
        with pytest.raises(QueueFull):
            await queue.queue.add("out-ffffff", BODY, 0)


async def test_one_dialer_leads_and_pauses_follow_each_other(queue: Queue) -> None:
    assert await queue.queue.lead("edge-1", 60_000)
    assert not await queue.queue.lead("edge-2", 60_000)
    assert await queue.queue.lead("edge-1", 60_000)
    assert await queue.queue.paused() == ("", False)
    await queue.queue.pause("credit")
    assert await queue.queue.paused() == ("credit", True)
    await queue.queue.unpause()
    assert await queue.queue.paused() == ("", False)


async def test_a_document_of_an_older_version_is_not_written_over(queue: Queue) -> None:
    await queue.queue.add(ONE, BODY, 0)
    await queue.opened(ONE, 0)
    assert not await queue.queue.write(ONE, 1, BODY, "closed", 0)
    assert not await queue.queue.write("out-ffff", 1, BODY, "closed", 0)


ODD: dict[str, Any] = {
    "queued": ("set", "list", "string"),
    "open": ("set", "list", "string"),
    "dialer": ("forever", "list"),
    "paused": ("forever", "list"),
    "pauses": ("forever", "list"),
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in ODD.items() for kind in kinds])
async def test_a_key_of_another_type_or_a_lock_without_an_end_stops_the_queue_for_moments_only(
    valkey_url: str, name: str, kind: str
) -> None:
    key = f"{{dials}}:{name}"
    async with (
        aclosing(RedisOutboundQueue.connect(valkey_url, "test", RETENTION_S)) as queue,
        Redis.from_url(valkey_url) as redis,
    ):
        match kind:
            case "set":
                await redis.sadd(key, b"\xff\xfe")
            case "list":
                await redis.rpush(key, b"\xff\xfe")
            case _:
                await redis.set(key, b"\xff garbage")
        await queue.mend()
        if kind == "forever":
            assert 0 < await redis.pttl(key) <= 600_000
            await redis.delete(key)  # its time is over
        await queue.add(ONE, BODY, 0)
        assert await queue.due(1) == [ONE]
        assert await queue.open_count() == 0
        assert await queue.lead("edge-1", 1000)
        await queue.pause("credit")
        assert await queue.paused() == ("credit", True)


async def test_an_id_that_is_none_of_ours_changes_no_other_key(valkey_url: str) -> None:
    async with (
        aclosing(RedisOutboundQueue.connect(valkey_url, "test", RETENTION_S)) as queue,
        Redis.from_url(valkey_url) as redis,
    ):
        assert await queue.lead("edge-1", 60_000)
        await redis.zadd("{dials}:queued", {"dialer": 0, "queued": 0, b"\xff\xfe": 0, "key:x": 0, "": 0, "out-": 0})
        await queue.add(ONE, BODY, 1)
        assert await queue.due(1) == [ONE]
        assert await redis.zcard("{dials}:queued") == 1
        assert await redis.pttl("{dials}:dialer") > 0
        await asyncio.sleep(0)
