"""A real Redis that is there and cannot serve us, and one that is found again: the bus and the ledger agree."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from common.bus.redis import BusOptions, RedisBus
from common.protocol.messages import AudioIn, DtmfReceived, Message
from common.protocol.redis_keys import call_audio, call_events
from common.redis.primary import ASK_SECONDS, NoPrimary, open_primary
from common.redis.refusals import AWAY_KINDS, away_kind
from common.redis.url import RedisTarget, parse_redis_url
from common.store import CallRecord
from common.store.redis import RedisCallStore
from simulators.redis_servers import RedisServer, until
from tests.deadlines import WAIT_S
from tools.ports import free_port

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

EVENTS = call_events("c-1")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisBus]:
    async with RedisBus.connect(BusOptions(url, "test")) as bus:
        await until(lambda: bus.connected, "the bus to connect")
        yield bus


@asynccontextmanager
async def opened_ledger(url: str) -> AsyncIterator[RedisCallStore]:
    store = RedisCallStore.connect(url, "test", retention_s=60)
    try:
        yield store
    finally:
        await store.aclose()


def follow(bus: RedisBus, stream: str) -> list[Message]:
    got: list[Message] = []
    bus.subscribe(stream, lambda entry_id, message: got.append(message), lambda error: None)
    return got


@dataclass(frozen=True)
class State:
    """How a server is brought into a state, how out of it, and what that is called."""

    kind: str
    begin: Callable[[RedisServer], object]
    end: Callable[[RedisServer], object]


def busy(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "busy-reply-threshold", "1")

    def loop_for_ever() -> None:
        client = redis.Redis.from_url(server.url)
        with closing(client), pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    threading.Thread(target=loop_for_ever, daemon=True).start()


STATES = [
    State(
        "out of memory",
        lambda server: server.ask("CONFIG", "SET", "maxmemory", "1"),
        lambda server: server.ask("CONFIG", "SET", "maxmemory", "0"),
    ),
    State(
        "read-only",
        lambda server: server.ask("REPLICAOF", "127.0.0.1", "1"),
        lambda server: server.ask("REPLICAOF", "NO", "ONE"),
    ),
    State(
        "no replicas",
        lambda server: server.ask("CONFIG", "SET", "min-replicas-to-write", "1"),
        lambda server: server.ask("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    State("busy", busy, lambda server: server.ask("SCRIPT", "KILL")),
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.kind)
async def test_a_server_that_refuses_is_away_and_loses_nothing(state: State, tmp_path: Path):
    async with (
        RedisServer(tmp_path / "redis") as server,
        connected(server.url) as bus,
        opened_ledger(server.url) as store,
    ):
        await store.create(CallRecord("c-1"))
        got = follow(bus, EVENTS)
        state.begin(server)
        said = [DtmfReceived("1", number) for number in range(20)]
        for message in said[:10]:
            bus.publish(EVENTS, message)
        await until(lambda: not bus.connected, "the bus to notice")
        for message in said[10:]:
            bus.publish(EVENTS, message)
        with pytest.raises((ConnectionError, TimeoutError)):
            await store.create(CallRecord("c-2"))
        with pytest.raises((ConnectionError, TimeoutError)):  # a pipeline's errors read differently
            await store.add_webhook_fields("c-1", {"Hangup.Direction": "inbound"})

        state.end(server)
        await until(lambda: bus.connected, "the bus to be taken again")
        await until(lambda: len(got) >= 20, "what had waited")
        assert got == said
        await until_reached(store)
        await store.create(CallRecord("c-2"))
        assert await store.read("c-2") is not None


async def until_reached(store: RedisCallStore) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await store.read("c-1")
                return
            except (ConnectionError, TimeoutError):
                await asyncio.sleep(0.05)


async def test_a_server_that_still_reads_its_disk_is_waited_for(tmp_path: Path):
    async with (
        RedisServer(tmp_path / "redis", "--appendonly", "yes", "--enable-debug-command", "yes") as server,
        connected(server.url) as bus,
        opened_ledger(server.url) as store,
    ):
        await store.create(CallRecord("c-1"))
        server.ask("DEBUG", "POPULATE", "10000")
        server.ask("BGREWRITEAOF")
        await until(lambda: not server.ask("INFO", "persistence")["aof_rewrite_in_progress"], "the file to be written")
        server.kill()
        await server.start("--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024", answers=False)
        await until(lambda: is_loading(server), "the server to be loading")
        with pytest.raises(ConnectionError, match="loading"):
            await store.read("c-1")
        got = follow(bus, EVENTS)
        bus.publish(EVENTS, DtmfReceived("1", 1))
        await until(lambda: got == [DtmfReceived("1", 1)], "the server to be ready")
        await until_reached(store)
        assert await store.read("c-1") is not None


def is_loading(server: RedisServer) -> bool:
    try:
        server.ask("GET", "anything")
    except redis.BusyLoadingError:
        return True
    return False


async def test_appends_of_an_outage_arrive_in_order_and_each_callers_newest_audio(tmp_path: Path):
    async with RedisServer(tmp_path / "redis", "--appendonly", "yes") as server, connected(server.url) as bus:
        bus.publish(EVENTS, DtmfReceived("0", 0))
        await until(lambda: server.ask("XLEN", EVENTS) == 1, "the first append")
        server.kill()
        await until(lambda: not bus.connected, "the bus to notice")
        for number in range(1, 500):
            bus.publish(EVENTS, DtmfReceived("1", number))
            bus.publish(call_audio("c-2"), AudioIn(1, 20 * number, 0, b"\xff" * 160))
        await server.start()
        await until(lambda: server.ask("XLEN", EVENTS) >= 500, "what had waited")
        assert [message.at_ms for _, message in await bus.read(EVENTS) if isinstance(message, DtmfReceived)] == [
            *range(500)
        ]
        audio = [message for _, message in await bus.read(call_audio("c-2")) if isinstance(message, AudioIn)]
        assert [message.position_ms for message in audio] == [20 * number for number in range(250, 500)]


async def test_a_reader_whose_entries_were_lost_starts_again(tmp_path: Path):
    """Even if the stream has new entries already, and with smaller ids than those that were read."""
    async with RedisServer(tmp_path / "redis") as server, connected(server.url) as bus:
        got, untouched = follow(bus, EVENTS), follow(bus, call_events("c-2"))
        for number in range(3):
            bus.publish(EVENTS, DtmfReceived("1", number))
            bus.publish(call_events("c-2"), DtmfReceived("2", number))
        await until(lambda: len(got) == len(untouched) == 3, "the first entries")
        with server.client() as client:
            first = client.xrange(EVENTS, count=1)[0][1]
            pipeline = client.pipeline()  # in one step, as a failover does it
            pipeline.delete(EVENTS)
            pipeline.xadd(EVENTS, first, id="1-1")
            pipeline.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            pipeline.execute()
        await until(lambda: len(got) == 4, "the stream to be read again")
        assert got[3] == DtmfReceived("1", 0)
        bus.publish(call_events("c-2"), DtmfReceived("2", 3))
        await until(lambda: len(untouched) == 4, "the other stream")
        assert untouched[3] == DtmfReceived("2", 3)  # it was not read again


async def test_the_first_sentinel_that_names_a_primary_is_believed(tmp_path: Path):
    async with (
        RedisServer(tmp_path / "primary") as primary,
        RedisServer(tmp_path / "replica") as replica,
        sentinel(None) as silent,
        sentinel(replica.port) as behind,
        sentinel(primary.port) as right,
    ):
        replica.ask("REPLICAOF", "127.0.0.1", str(primary.port))
        hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), silent, primary.port, behind, right))
        (place,) = parse_redis_url(f"redis+sentinel://{hosts}/voice")
        began = asyncio.get_running_loop().time()
        connection = await open_primary(place, "test")
        assert connection.peer == ("127.0.0.1", primary.port)
        connection.close()
        assert asyncio.get_running_loop().time() - began < ASK_SECONDS + 1.0
        async with opened_ledger(f"redis+sentinel://{hosts}/voice") as store:
            await store.create(CallRecord("c-1"))
        assert primary.ask("KEYS", "call:*") != []
        with pytest.raises(NoPrimary):
            await open_primary(RedisTarget((("127.0.0.1", behind),), set="voice"), "test")


@asynccontextmanager
async def sentinel(port: int | None) -> AsyncIterator[int]:
    """Says that the primary is at this port, whatever it is asked; or accepts and says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024) and port is not None:
            writer.write(f"*2\r\n$9\r\n127.0.0.1\r\n${len(str(port))}\r\n{port}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "out of memory"),
        ("READONLY You can't write against a read only replica.", "read-only"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "no primary"),
        ("CLUSTERDOWN Hash slot not served", "no primary"),
        ("BUSY Redis is busy running a script.", "busy"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to.", "cannot save"),
        ("NOREPLICAS Not enough good replicas to write.", "no replicas"),
        ("BUSYGROUP Consumer Group name already exists", ""),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ""),
        ("ERR unknown command", ""),
    ],
)
async def test_what_a_server_means_by_an_error(error: str, kind: str):
    assert away_kind(error) == kind
    assert not kind or kind in AWAY_KINDS


async def test_who_only_reads_notices_too_that_the_primary_was_replaced(tmp_path: Path):
    """It answers PING; that it has no replicas any more, it says to writes alone."""
    async with (
        RedisServer(tmp_path / "redis") as server,
        sentinel(server.port) as named,
        connected(f"redis+sentinel://127.0.0.1:{named}/voice") as bus,
    ):
        await until(lambda: bus.connected, "the primary")
        server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        await until(lambda: not bus.connected, "the refusal")
        server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        await until(lambda: bus.connected, "the primary again")
