"""The call store's client at a real server: scripts that were lost, connections that break, reads that block."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio

from common.protocol.messages import DtmfReceived
from common.protocol.redis_keys import pool_calls
from common.redis.client import Client, NoGroup
from common.redis.refusals import KeyRefused
from common.redis.url import parse_redis_url
from common.store import CallRecord
from common.store.members import MemberReport
from common.store.shards import connect_store
from simulators.redis_servers import RedisServer
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

OFFERS = pool_calls("stt")
KILL = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.fixture
async def server(redis7_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis7_url) as server:
        yield server


@pytest.fixture
async def client(redis7_url: str) -> AsyncIterator[Client]:
    async with opened(redis7_url) as client:
        yield client


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Client]:
    (target,) = parse_redis_url(url)
    async with contextlib.aclosing(Client(target, "test")) as client:
        yield client


async def connections(server: redis.asyncio.Redis) -> int:
    return sum(one["name"] == "test" for one in await server.client_list())


async def test_scripts_survive_a_restart_of_the_server(tmp_path: Path):
    async with (
        RedisServer(tmp_path / "redis", "--appendonly", "yes") as server,
        connect_store(server.url, "t", 60) as it,
    ):
        await it.create(CallRecord("c-1"))
        assert await it.start("c-1", "edge-1") is not None
        await server.restart()
        assert await it.start("c-1", "edge-2") is not None
        assert await it.end("c-1", "carrier")


async def test_scripts_survive_an_operator_who_flushes_them(client: Client, server: redis.asyncio.Redis):
    count = "return redis.call('INCR', KEYS[1])"
    assert await client.run(count, ["a"]) == 1
    await server.script_flush()
    assert await client.run(count, ["a"]) == 2
    assert await connections(server) == 1


async def test_a_script_is_sent_to_a_server_once(client: Client, server: redis.asyncio.Redis):
    await server.config_resetstat()
    for number in range(1, 4):
        assert await client.run("return redis.call('INCR', KEYS[1])", ["a"]) == number
    stats = await server.info("commandstats")
    assert (stats["cmdstat_evalsha"]["calls"], stats["cmdstat_script|load"]["calls"]) == (3, 1)


async def test_a_connection_that_the_server_closed_is_made_again(client: Client, server: redis.asyncio.Redis):
    assert await client.call("SET", "a", 1) == b"OK"
    await server.execute_command(*KILL)
    assert await client.call("GET", "a") == b"1"


async def test_one_refused_command_is_one_refused_command(client: Client):
    await client.call("SET", "text", "a")
    wrong = ("HGETALL", "text")
    assert await client.each([("GET", "text"), wrong, ("GET", "text")]) == [b"a", None, b"a"]
    for asking in (client.call(*wrong), client.all([("GET", "text"), wrong]), client.each([wrong], needed=1)):
        with pytest.raises(KeyRefused, match="wrong type"):
            await asking
    assert await client.each([]) == []


async def test_a_read_that_blocks_holds_nobody_up_and_survives_its_connection(
    client: Client, server: redis.asyncio.Redis
):
    reading = asyncio.create_task(client.block("BLPOP", "list", 2))
    while not await connections(server):
        await asyncio.sleep(0.01)
    assert await client.call("GET", "a") is None
    assert await connections(server) == 2
    await server.execute_command(*KILL)
    await client.call("RPUSH", "list", "one")
    assert await reading == [b"list", b"one"]


async def test_a_cancelled_read_takes_nothing(client: Client, server: redis.asyncio.Redis):
    reading = asyncio.create_task(client.block("BLPOP", "list", 2))
    while not await connections(server):
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    async with asyncio.timeout(WAIT_S):
        while await connections(server):
            await asyncio.sleep(0.01)
    await client.call("RPUSH", "list", "one")
    assert await client.call("LLEN", "list") == 1


async def test_a_server_that_is_left_is_left_by_the_reads_as_well(client: Client, server: redis.asyncio.Redis):
    """A primary that was replaced while it stood still would let them wait in silence."""
    assert await client.block("BLPOP", "list", "0.01") is None
    reading = asyncio.create_task(client.block("BLPOP", "list", 2))
    await client.call("PING")
    before = {one["id"] for one in await server.client_list() if one["name"] == "test"}
    client._commands.leave()
    await client.call("RPUSH", "list", "one")
    assert await reading == [b"list", b"one"]
    after = {one["id"] for one in await server.client_list() if one["name"] == "test"}
    assert len(before) == len(after) == 2
    assert not before & after


async def test_a_stream_without_a_group_is_said_to_have_none(client: Client):
    with pytest.raises(NoGroup):
        await client.block("XREADGROUP", "GROUP", "members", "me", "STREAMS", OFFERS, ">")


async def test_a_server_that_lost_the_group_gets_it_again(redis7_url: str, server: redis.asyncio.Redis):
    async with connect_store(redis7_url, "test", 60) as store:
        assert await store.take_offers("stt", "me", 1, 1) == []
        await server.flushall()
        await store.offer("stt", ["c-1"])
        assert await store.take_offers("stt", "me", 1, 1) == []
        assert [call_id for _, call_id in await store.take_offers("stt", "me", 1, 1)] == ["c-1"]


async def test_each_step_of_a_call_is_one_write(redis7_url: str, server: redis.asyncio.Redis):
    ids = [f"c-{number}" for number in range(10)]

    async def reads() -> int:
        """How often the server has read from any connection."""
        return int((await server.info("stats"))["total_reads_processed"])

    async with connect_store(redis7_url, "test", 60) as store:
        for call_id in ids:
            await store.create(CallRecord(call_id))
            await store.start(call_id, "edge-1")
        claims = [claim for call_id in ids if (claim := await store.claim("stt", call_id, "w-1"))]
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "create": lambda: store.create(CallRecord("c-0")),
            "look_up": lambda: store.look_up("c-0"),
            "start": lambda: store.start("c-0", "edge-2"),
            "renew": lambda: store.renew(MemberReport("stt", "w-1", True, True)),
            "confirm": lambda: store.confirm(claims),
            "unheld": lambda: store.unheld(ids),
            "append": lambda: store.append(claims[0], [DtmfReceived("1", 1)] * 3),
            "heartbeat_calls": lambda: store.heartbeat_calls(ids),
            "note_silence": lambda: store.note_silence(dict.fromkeys(ids, 1)),
            "nonce": lambda: store.remember_nonce("12345678901234567890", "one", 60),
            "the same nonce": lambda: store.remember_nonce("12345678901234567890", "two", 60),
            "webhook fields": lambda: store.add_webhook_fields("c-0", {"Hangup.Direction": "inbound"}),
            "note_end": lambda: store.note_end("c-0", 60),
            "end": lambda: store.end("c-0", "carrier"),
        }
        for step in steps.values():  # with their scripts loaded
            await step()
        before = await reads()
        counts = {}
        for name, step in steps.items():
            await step()
            now = await reads()
            counts[name] = now - before - 1  # the question itself is one
            before = now
    assert counts == dict.fromkeys(steps, 1)


async def test_offers_whose_taker_died_are_not_looked_for_with_each_read(redis7_url: str, server: redis.asyncio.Redis):
    async with connect_store(redis7_url, "test", 60) as store:
        await server.config_resetstat()
        for _ in range(3):
            assert await store.take_offers("stt", "me", 1, 1) == []
        stats = await server.info("commandstats")
    assert (stats["cmdstat_xautoclaim"]["calls"], stats["cmdstat_xreadgroup"]["calls"]) == (1, 3)
