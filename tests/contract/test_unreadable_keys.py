"""What one key holds is the trouble of whoever needs that key: the ledger and the bus go on with all others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from redis.asyncio import Redis

from common.bus import Bus
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.protocol import redis_keys
from common.protocol.messages import CallOffered, DtmfReceived, HangUp, Message
from common.redis.refusals import KeyRefused
from common.store import CallRecord, CallStore
from common.store.effects import Effect
from common.store.members import MemberReport
from common.store.shards import connect_store
from tests.conftest import server_url
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

BAD, GOOD = "c-bad", "c-good"
EDGE = "edge-1"


@dataclass
class Server:
    store: CallStore
    bus: Bus
    redis: Any

    async def live(self, *call_ids: str) -> None:
        for call_id in call_ids:
            await self.store.create(CallRecord(call_id, agent={"name": "desk"}))
            assert await self.store.start(call_id, EDGE) is not None

    async def poison(self, *keys: str) -> None:
        """Keys of another type."""
        for key in keys:
            await self.redis.delete(key)
            await self.redis.sadd(key, b"\xff\xfe")


@pytest.fixture(params=["valkey", "redis-7"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    url = server_url(request)
    async with (
        connect_store(url, "test", retention_s=60, lease_ms=500) as store,
        connect_bus(BusOptions(url, "test")) as bus,
        Redis.from_url(url) as redis,
    ):
        yield Server(store, bus, redis)


async def test_one_call_of_many_with_a_key_of_another_type_is_the_only_one_that_suffers(server: Server) -> None:
    store = server.store
    await server.live(BAD, GOOD)
    claims = [await store.claim("stt", call_id, "stt-1") for call_id in (BAD, GOOD)]
    held = [claim for claim in claims if claim is not None]
    await server.poison(redis_keys.call_state(BAD))
    assert await store.confirm(held) == [held[0]]
    assert (await store.state_fields([BAD, GOOD])) == {BAD: {}, GOOD: {"epoch": "1", "token:stt": "1"}}
    await store.note_silence({BAD: 10, GOOD: 10})
    assert (await store.unheld([GOOD]))[GOOD] == {"llm", "tts"}
    for refused in (
        store.read(BAD), store.claim("llm", BAD, "llm-1"), store.end(BAD, "carrier"),
        store.append(held[0], [DtmfReceived("1", 1)]), store.begin_effect(Effect(BAD, name="x")),
    ):  # fmt: skip
        async with asyncio.timeout(2):  # and nobody waits for what no time mends
            with pytest.raises(KeyRefused):
                await refused
    assert await store.append(held[1], [DtmfReceived("1", 1)])


FIELDS: dict[str, bytes] = {
    "epoch": b"one", "created_ms": b"1e999", "started_ms": b"-5", "ended_ms": b"9" * 4000, "edge": b"\xff\xfe",
    "agent": b"\x91" * 50_000, "active_ms": b"nan", "status": b"\xff",
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
async def test_a_record_with_a_field_that_cannot_be_read_is_no_record(server: Server, field: str) -> None:
    await server.live(BAD, GOOD)
    await server.redis.hset(redis_keys.call_state(BAD), field, FIELDS[field])
    assert await server.store.read(BAD) is None
    assert await server.store.claim("stt", BAD, "stt-1") is None
    assert await server.store.read(GOOD) is not None


async def test_an_agent_that_is_no_map_makes_the_record_unreadable(server: Server) -> None:
    await server.live(BAD)
    for agent in (msgpack.packb([1]), msgpack.packb(None), b"\xc1", b""):
        await server.redis.hset(redis_keys.call_state(BAD), "agent", agent)
        assert await server.store.read(BAD) is None


async def test_a_record_of_an_older_release_needs_the_pools_of_every_call(server: Server) -> None:
    await server.live(GOOD)
    assert await server.redis.hdel(redis_keys.call_state(GOOD), "more_pools")
    record = await server.store.read(GOOD)
    assert record is not None
    assert record.pools == redis_keys.POOLS
    assert await server.store.unheld([GOOD]) == {GOOD: set(redis_keys.POOLS)}
    assert await server.store.orphans("tools") == []


async def test_a_record_of_a_newer_release_is_read(server: Server) -> None:
    await server.live(GOOD)
    await server.redis.hset(redis_keys.call_state(GOOD), "a new field", b"\xff\xfe")
    record = await server.store.read(GOOD)
    assert record is not None
    assert (record.call_id, record.agent) == (GOOD, {"name": "desk"})


async def test_ids_that_are_none_are_passed_over_and_removed(server: Server) -> None:
    await server.live(GOOD)
    odd = {b"\xff\xfe": 9e15, b"": 9e15, b"x" * 70_000: 9e15, "a b": 0, "c-gone": 9e15, "c-older": 0}
    await server.redis.zadd(redis_keys.CALLS_LIVE, odd)
    assert set(await server.store.live()) <= {GOOD, "c-gone"}
    assert set(await server.store.abandoned()) <= {"c-older", "c-gone"}  # far ahead of the clock is lost as well
    assert set(await server.store.orphans("stt")) <= {GOOD, "c-gone"}
    await server.store.mend(EDGE, [GOOD])
    assert await server.redis.zrange(redis_keys.CALLS_LIVE, 0, -1) == [GOOD.encode()]
    assert await server.store.mend(EDGE, [GOOD]) == 0


async def test_a_member_from_the_future_is_no_member_that_takes_calls(server: Server) -> None:
    for pool in redis_keys.ALL_POOLS:
        await server.redis.zadd(redis_keys.pool_ready(pool), {"garbage": "+inf"})
    assert await server.store.pools_with_room() == set()
    await server.store.renew(MemberReport("stt", "stt-1", False, True))
    assert await server.store.pools_with_room() == {"stt"}


PER_POOL = (redis_keys.pool_calls, redis_keys.pool_leases, redis_keys.pool_ready, redis_keys.pool_scan)
SHARED = [
    redis_keys.CALLS_LIVE, redis_keys.nodes("edge"), redis_keys.edge_audio(EDGE), redis_keys.edge_priority(EDGE),
    *(name(pool) for pool in redis_keys.ALL_POOLS for name in PER_POOL),
]  # fmt: skip


async def test_shared_keys_of_another_type_are_removed_and_all_goes_on(server: Server) -> None:
    await server.poison(*SHARED)
    await server.store.mend(EDGE, [])
    await server.live(GOOD)
    assert (await server.store.renew(MemberReport("stt", "stt-1", False, True))).scan
    await server.store.heartbeat("edge", EDGE)
    assert await server.store.live() == [GOOD]
    server.bus.publish(redis_keys.pool_calls("stt"), CallOffered(GOOD))
    assert await offers(server, 1) == [GOOD]


@pytest.mark.parametrize("last_scan", ["garbage", "9e15", ""])
async def test_a_time_of_the_last_scan_that_is_none_keeps_nobody_from_scanning(server: Server, last_scan: str) -> None:
    await server.redis.set(redis_keys.pool_scan("stt"), last_scan)
    assert (await server.store.renew(MemberReport("stt", "stt-1", True, True))).scan
    assert not (await server.store.renew(MemberReport("stt", "stt-2", True, True))).scan
    assert await server.redis.pttl(redis_keys.pool_scan("stt")) > 0


@pytest.mark.parametrize("key", [redis_keys.pool_scan, redis_keys.pool_ready, redis_keys.pool_healthy])
async def test_a_report_of_another_type_costs_nobody_the_lease(server: Server, key: Callable[[str], str]) -> None:
    await server.live(GOOD)
    await server.poison(key("stt"))
    claim = await server.store.claim("stt", GOOD, "stt-1")
    assert claim is not None
    for _ in range(2):
        assert (await server.store.renew(MemberReport("stt", "stt-1", True, True))).kept
    assert await server.store.orphans("stt") == []


async def test_a_lease_of_a_wrong_clock_keeps_no_call_for_ever(server: Server) -> None:
    await server.live(GOOD)
    assert await server.store.claim("stt", GOOD, "stt-dead") is not None
    await server.redis.zadd(redis_keys.pool_leases("stt"), {"stt-dead": 9e15})
    assert await server.store.orphans("stt") == []
    assert (await server.store.renew(MemberReport("stt", "stt-1", False, True))).scan
    assert await server.store.orphans("stt") == [GOOD]


async def test_keys_of_a_call_that_hold_something_else_keep_no_caller_out(server: Server) -> None:
    keys = [
        redis_keys.call_state(BAD),
        redis_keys.call_events(BAD),
        redis_keys.call_audio(BAD),
        redis_keys.call_effects(BAD),
    ]
    await server.poison(*keys)
    await server.live(BAD)
    claim = await server.store.claim("stt", BAD, "stt-1")
    assert claim is not None
    assert await server.store.append(claim, [DtmfReceived("1", 1)])


async def test_a_secret_that_is_none_is_made_anew(server: Server) -> None:
    for secret in (b"", b"short"):
        await server.redis.set(redis_keys.STREAM_SECRET, secret)
        assert len(await server.store.shared_secret()) >= 32
    await server.poison(redis_keys.STREAM_SECRET)
    made = await server.store.shared_secret()
    assert made == await server.store.shared_secret()


async def test_offers_that_are_none_are_set_aside_and_block_nobody(server: Server) -> None:
    key = redis_keys.pool_calls("stt")
    with contextlib.suppress(Exception):
        await server.store.take_offers("stt", "stt-1", 1, 1)  # makes the group
    garbage = [
        b"",
        b"\xc1",
        msgpack.packb([80, {"a": 1}]),
        msgpack.packb([80, "not an id"]),
        msgpack.packb([70, "x", "y"]),
    ]
    for raw in garbage * 40:
        await server.redis.xadd(key, {"d": raw})
    await server.redis.xadd(key, {"e": b"x" * 100_000})
    server.bus.publish(key, CallOffered(GOOD))
    assert await offers(server, 1) == [GOOD]
    assert (await server.redis.xpending(key, "members"))["pending"] == 1
    aside = await server.redis.xrange(redis_keys.pool_unreadable("stt"))
    assert 0 < len(aside) <= 100
    assert all(len(fields[b"d"]) <= 1024 for _, fields in aside)
    assert 0 < await server.redis.ttl(redis_keys.pool_unreadable("stt")) <= 86_400


async def offers(server: Server, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(WAIT_S):
        while len(found) < count:
            found += [call_id for _, call_id in await server.store.take_offers("stt", "stt-1", 2, 50)]
    return found


async def test_a_stream_of_another_type_stops_no_other_and_is_read_once_it_is_one(server: Server) -> None:
    got: dict[str, list[Message]] = {}

    def follow(stream: str) -> None:
        got[stream] = []
        server.bus.subscribe(stream, lambda entry_id, message: got[stream].append(message), lambda error: None)

    bad, good = redis_keys.call_events(BAD), redis_keys.call_events(GOOD)
    await server.poison(bad)
    for stream in (bad, good):
        follow(stream)
    for number in range(3):
        server.bus.publish(good, DtmfReceived("1", number))
        await until(lambda number=number: len(got[good]) == number + 1)
    with pytest.raises(KeyRefused):
        await server.bus.read(bad)
    assert len(await server.bus.read(good)) == 3
    await server.redis.delete(bad)
    server.bus.publish(bad, DtmfReceived("2", 0))
    await until(lambda: got[bad] == [DtmfReceived("2", 0)])


async def test_entries_that_somebody_else_wrote_are_passed_over(server: Server) -> None:
    stream = redis_keys.edge_priority(EDGE)
    got: list[Message] = []
    server.bus.subscribe(stream, lambda entry_id, message: got.append(message), lambda error: None)
    for fields in (
        {"d": b"\xc1"},
        {"e": b"x"},
        {b"\xff": b"\xff", "d": b""},
        {"d": msgpack.packb([70, {"a": 1}, "x"])},
    ):
        await server.redis.xadd(stream, fields)
    server.bus.publish(stream, HangUp(GOOD, "error"))
    await until(lambda: bool(got))
    assert got == [HangUp(GOOD, "error")]
    assert [message for _, message in await server.bus.read(stream)] == got


async def until(true: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.01)


async def test_no_right_to_one_key_is_not_redis_being_away(redis7_url: str) -> None:
    async with Redis.from_url(redis7_url) as redis:
        await redis.execute_command(
            "ACL", "SETUSER", "half", "on", ">secret", "resetkeys", "~call:*", "~calls:live", "~pulse", "+@all"
        )
        url = redis7_url.replace("redis://", "redis://half:secret@")
        got: list[Message] = []
        try:
            async with connect_store(url, "test", 60) as store, connect_bus(BusOptions(url, "test")) as bus:
                bus.subscribe(redis_keys.edge_audio(EDGE), lambda entry_id, message: None, lambda error: None)
                bus.subscribe(
                    redis_keys.call_events(GOOD), lambda entry_id, message: got.append(message), lambda error: None
                )
                await store.create(CallRecord(GOOD))
                await store.heartbeat("edge", EDGE)  # it may not, and goes on
                assert await store.pools_with_room() == set()
                bus.publish(redis_keys.call_events(GOOD), DtmfReceived("1", 1))
                await until(lambda: got == [DtmfReceived("1", 1)])
                assert bus.connected
        finally:
            await redis.execute_command("ACL", "DELUSER", "half")
