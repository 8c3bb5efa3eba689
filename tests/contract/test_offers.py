"""One offer for each call that waits, in Redis as in memory; the stream is as long as calls wait."""

import asyncio

import pytest
import redis.asyncio

from common.protocol import redis_keys
from common.protocol.codec import encode
from common.protocol.messages import CallOffered
from common.protocol.redis_keys import pool_calls
from common.store import CallRecord
from common.store.offers import STALE_MS
from common.store.redis import RedisCallStore
from tests.contract.test_call_store import Server, offered, server

pytestmark = [pytest.mark.servers, pytest.mark.anyio]
__all__ = ["server"]
CALLS = [f"c-{number}" for number in range(9)]


async def test_whoever_offers_a_waiting_call_again_adds_nothing(server: Server):
    await server.store.take_offers("llm", "w-1", 1, 1)
    for _ in range(5):
        await asyncio.gather(*(server.store.offer("llm", CALLS[:3]) for _ in range(3)))
    taken = await offered(server, "llm", 20)
    taken += await server.store.take_offers("llm", "w-1", 20, 50)
    assert sorted(call_id for _, call_id in taken) == CALLS[:3]
    await server.store.offer("llm", CALLS[:3], True)
    assert await server.store.take_offers("llm", "w-2", 20, 50) == [], "taken, and not settled yet"
    for offer_id, _ in taken:
        await server.store.ack_offer("llm", offer_id)
    await server.store.offer("llm", CALLS[:3])
    assert len(await offered(server, "llm", 20)) >= 1


async def test_offers_of_different_pools_are_different(server: Server):
    for pool in redis_keys.POOLS:
        await server.store.offer(pool, ["c-1"])
    for pool in redis_keys.POOLS:
        assert [call_id for _, call_id in await offered(server, pool, 5)] == ["c-1"]


@pytest.fixture
async def client(redis7_url: str):
    client = redis.asyncio.Redis.from_url(redis7_url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis7_url: str):
    store = RedisCallStore.connect(redis7_url, "test", 60)
    yield store
    await store.aclose()


async def test_entries_that_older_releases_wrote_twice_become_one(client: redis.asyncio.Redis, store: RedisCallStore):
    for _ in range(50):
        for call_id in CALLS:
            await client.xadd(pool_calls("llm"), {"d": encode(CallOffered(call_id))})
    await store.offer("llm", CALLS, True)
    assert await client.xlen(pool_calls("llm")) == len(CALLS)


async def test_what_is_no_offer_stands_in_nobodys_way(client: redis.asyncio.Redis, store: RedisCallStore):
    for fields in ({"d": b"\xff\x00"}, {"x": "y"}, {"d": b""}, {"a": "b", "d": "c"}):
        await client.xadd(pool_calls("llm"), fields)
    await store.offer("llm", CALLS)
    found = [call_id for _, call_id in await store.take_offers("llm", "w-1", 50, 50)]
    found += [call_id for _, call_id in await store.take_offers("llm", "w-1", 50, 50)]
    assert found == CALLS


async def test_offers_of_calls_that_ended_meanwhile_are_forgotten(client: redis.asyncio.Redis, store: RedisCallStore):
    seconds, _ = await client.time()
    old_ms, new_ms = seconds * 1000 - STALE_MS - 1000, seconds * 1000 - 1000
    for call_id in ("gone", "waits"):
        await client.xadd(pool_calls("llm"), {"d": encode(CallOffered(call_id))}, id=f"{old_ms}-*")
    await client.xadd(pool_calls("llm"), {"d": encode(CallOffered("just-began"))}, id=f"{new_ms}-0")
    await store.offer("llm", ["waits"])
    assert await client.xlen(pool_calls("llm")) == 3
    await store.offer("llm", ["waits"], True)
    left = [call_id for _, call_id in await store.take_offers("llm", "w-1", 50, 50)]
    left = left or [call_id for _, call_id in await store.take_offers("llm", "w-1", 50, 50)]
    assert left == ["waits", "just-began"]


async def test_a_thousand_calls_that_wait_are_looked_through_in_milliseconds(store: RedisCallStore):
    many = [f"c-{number}" for number in range(1000)]
    await store.create(CallRecord("c-1"))
    loop = asyncio.get_running_loop()
    took_s = []
    for _ in range(3):
        began = loop.time()
        await store.offer("llm", many, True)
        took_s.append(loop.time() - began)
    assert min(took_s) < 0.5
