"""What the edge tells of Redis: read from INFO, and from a real server."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from redis.asyncio import Redis

from common.bus import Bus
from common.bus.redis import BusOptions, RedisBus
from common.protocol.messages import CallOffered, HangUp
from common.protocol.redis_keys import edge_priority, pool_calls
from common.telemetry import metrics
from edge.session.admission.redis_health import Health, RedisWatch, health
from simulators.redis_servers import RedisServer, SentinelSet
from tests.deadlines import WAIT_S

pytestmark = pytest.mark.servers

INFO = {
    "run_id": "a1",
    "used_memory": 1_500_000,
    "maxmemory": 4_000_000,
    "total_system_memory": 8_000_000_000,
    "instantaneous_ops_per_sec": 1200,
    "used_cpu_user": 1.5,
    "used_cpu_sys": 0.25,
    "connected_slaves": 2,
}


def shown(name: str, **labels: str) -> float | None:
    """The sample as a scrape would see it."""
    wanted = name + "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "} "
    lines = metrics.exposition().decode().splitlines()
    return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), None)


def test_a_server_tells_its_health() -> None:
    assert health(INFO) == Health("a1", 1_500_000, 4_000_000, 1200.0, 1.75, 2)


def test_without_maxmemory_the_machine_is_the_bound() -> None:
    assert health({**INFO, "maxmemory": 0}).memory_max_bytes == 8_000_000_000


def test_what_a_server_does_not_tell_is_zero() -> None:
    assert health({}) == Health("", 0, 0, 0.0, 0.0, 0)
    assert health({"used_memory": "many"}).memory_bytes == 0


@pytest.mark.anyio
async def test_an_edge_shows_memory_load_and_what_waits(valkey_url: str) -> None:
    bus: Bus
    async with (
        RedisBus.connect(BusOptions(valkey_url, "test")) as bus,
        contextlib.aclosing(RedisWatch.connect(valkey_url, "edge-1")) as watch,
    ):
        assert shown("voice_redis_up", server="0") == 0  # nobody was asked yet
        bus.publish(pool_calls("stt"), CallOffered("call-1"))
        bus.publish(pool_calls("stt"), CallOffered("call-2"))
        bus.publish(edge_priority("edge-1"), HangUp("call-1", "error"))
        async with Redis.from_url(valkey_url) as client:
            async with asyncio.timeout(WAIT_S):
                while await client.xlen(edge_priority("edge-1")) < 1 or await client.xlen(pool_calls("stt")) < 2:
                    await asyncio.sleep(0.01)
            await client.config_set("maxmemory", 64_000_000)
            try:
                await watch.look()
            finally:
                await client.config_set("maxmemory", 0)
    assert shown("voice_redis_up", server="0") == 1
    assert shown("voice_redis_memory_max_bytes", server="0") == 64_000_000
    assert 100_000 < (shown("voice_redis_memory_bytes", server="0") or 0) < 64_000_000
    assert (shown("voice_redis_cpu_seconds", server="0") or 0) > 0
    assert shown("voice_stream_entries", stream="offers:stt") == 2
    assert shown("voice_stream_entries", stream="offers:llm") == 0
    assert shown("voice_stream_entries", stream="edge priority") == 1


@pytest.mark.anyio
async def test_a_restart_is_counted_once(tmp_path: Path) -> None:
    async with (
        RedisServer(tmp_path / "redis") as server,
        contextlib.aclosing(RedisWatch.connect(server.url, "edge-1")) as watch,
    ):
        before = shown("voice_redis_changes_total", server="0") or 0
        await watch.look()
        await watch.look()
        assert shown("voice_redis_changes_total", server="0") == before  # the same server is no change
        server.kill()
        await watch.look()
        assert shown("voice_redis_up", server="0") == 0
        await server.start()
        await watch.look()
        await watch.look()
        assert shown("voice_redis_changes_total", server="0") == before + 1


@pytest.mark.anyio
async def test_who_may_not_ask_for_info_sees_the_streams_only(tmp_path: Path) -> None:
    """An account without INFO is no reason to end an edge."""
    async with RedisServer(tmp_path / "redis") as server:
        server.ask("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-info")
        url = f"redis://app:secret@127.0.0.1:{server.port}/0"
        server.ask("XADD", pool_calls("llm"), "*", "d", "x")
        async with contextlib.aclosing(RedisWatch.connect(url, "edge-1")) as watch:
            await watch.look()
    assert shown("voice_redis_up", server="0") == 1
    assert shown("voice_stream_entries", stream="offers:llm") == 1


@pytest.mark.anyio
async def test_a_server_that_is_away_is_no_error(valkey_url: str) -> None:
    nobody = "redis://127.0.0.1:1/0"
    async with contextlib.aclosing(RedisWatch.connect(f"{valkey_url},{nobody}", "edge-1")) as watch:
        await watch.look()
    assert shown("voice_redis_up", server="0") == 1
    assert shown("voice_redis_up", server="1") == 0


@pytest.mark.anyio
async def test_of_a_set_with_sentinels_the_primary_is_asked(tmp_path: Path) -> None:
    async with (
        SentinelSet(tmp_path) as servers,
        contextlib.aclosing(RedisWatch.connect(servers.url, "edge-1")) as watch,
    ):
        await watch.look()
        assert shown("voice_redis_up", server="0") == 1
        assert (shown("voice_redis_replicas", server="0") or 0) >= 1
