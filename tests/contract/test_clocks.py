"""No host's clock judges what another host wrote: every ledger, used from hosts whose clocks are wrong."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from common.bus.memory import MemoryStreams
from common.protocol.redis_keys import CALLS_LIVE, SHARDS, nodes, shard_index
from common.store import CallRecord, CallStore
from common.store.dials import RedisOutboundQueue
from common.store.memory import MemoryCallStore
from common.store.redis import LIVE_STALE_MS, LOST_MS
from common.store.shards import connect_store
from common.telemetry import metrics
from tests.conftest import server_url
from tests.host_clock import host_clock, on_host

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

RECORD = CallRecord("c-1")
SKEWS = [(0, 80), (80, 0), (80, -20), (0, -20), (-20, 0), (-20, 80), (-80, 80), (2, -2), (86_400, 0)]
"""Seconds by which the clocks of two hosts are ahead: of the one that writes, and of the one that judges."""
hosts = pytest.mark.parametrize(("writer_s", "judge_s"), SKEWS)


class Deployment:
    """A ledger, and a way to let time pass for a call."""

    def __init__(self, store: CallStore, urls: list[str]) -> None:
        self.store, self._urls = store, urls

    async def silent_for(self, call_ids: list[str], seconds: float) -> None:
        """The edge of these calls has given no sign of life for so long; negative: the server's clock was set back."""
        if isinstance(self.store, MemoryCallStore):
            for call_id in call_ids:
                self.store.touched_ms[call_id] = round((asyncio.get_running_loop().time() - seconds) * 1000)
            return
        for number, url in enumerate(self._urls):
            own = [call_id for call_id in call_ids if shard_index(call_id, len(self._urls)) == number]
            async with Redis.from_url(url) as client:
                now_s, micros = await client.time()
                at_ms = int(1000 * (now_s + micros / 1e6 - seconds))
                if own:
                    await client.zadd(CALLS_LIVE, dict.fromkeys(own, at_ms))


@asynccontextmanager
async def deployed(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    if request.param == "memory":
        yield Deployment(MemoryCallStore(MemoryStreams(), 60), [])
        return
    url = server_url(request)
    async with connect_store(url, "test", retention_s=60, lease_ms=60) as store:
        yield Deployment(store, url.split(","))


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    async with deployed(request) as it:
        yield it


@hosts
async def test_a_call_that_its_edge_has_is_live_for_all_and_lost_for_none(
    deployment: Deployment, writer_s: int, judge_s: int
):
    writer, judge = on_host(deployment.store, writer_s), on_host(deployment.store, judge_s)
    await writer.create(RECORD)
    await writer.start("c-1", "e-1")
    await writer.heartbeat_calls(["c-1"])
    assert await judge.live() == ["c-1"]
    assert await judge.orphans("stt") == ["c-1"]  # a dead worker's call is taken over, whatever the time is there
    assert await judge.abandoned() == {}
    assert await judge.ended(["c-1"]) == set()


@hosts
async def test_a_call_that_no_edge_has_is_lost_for_all(deployment: Deployment, writer_s: int, judge_s: int):
    writer, judge = on_host(deployment.store, writer_s), on_host(deployment.store, judge_s)
    await writer.create(RECORD)
    await writer.start("c-1", "e-1")
    await deployment.silent_for(["c-1"], LIVE_STALE_MS / 1000 + 1)
    assert await judge.live() == []
    assert await judge.abandoned() == {}
    await deployment.silent_for(["c-1"], LOST_MS / 1000 + 1)
    first = await judge.abandoned()
    assert first.keys() == {"c-1"}
    assert await judge.abandoned() == first  # no sign of life between the two looks
    await writer.heartbeat_calls(["c-1"])
    assert await judge.abandoned() == {}


@hosts
async def test_age_silence_and_reopening_are_of_one_clock(deployment: Deployment, writer_s: int, judge_s: int):
    writer, judge = on_host(deployment.store, writer_s), on_host(deployment.store, judge_s)
    await writer.create(RECORD)
    await writer.start("c-1", "e-1")
    await writer.note_silence({"c-1": 3_000})
    again = await judge.start("c-1", "e-2")
    assert again is not None
    assert 0 <= again.age_ms < 2_000
    assert 3_000 <= again.silent_ms < 5_000
    await writer.end("c-1", "carrier")
    assert await writer.reopen("c-1")
    back = await judge.start("c-1", "e-3")
    assert back is not None
    assert 0 <= back.age_ms < 2_000


@hosts
async def test_what_one_edge_signs_is_judged_by_the_same_clock(deployment: Deployment, writer_s: int, judge_s: int):
    signed = await on_host(deployment.store, writer_s).look_up("c-1")
    assert 0 <= (await on_host(deployment.store, judge_s).look_up("c-1")).now_ms - signed.now_ms < 2_000


async def test_a_server_whose_clock_was_set_back_still_shows_who_gives_no_sign(deployment: Deployment):
    store = deployment.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    await deployment.silent_for(["c-1"], -5)
    assert await store.live() == ["c-1"]
    assert await store.abandoned() == {}  # a step of a few seconds
    await deployment.silent_for(["c-1"], -3600)
    first = await store.abandoned()
    assert first.keys() == {"c-1"}
    await store.heartbeat_calls(["c-1"])
    assert await store.abandoned() == {}


async def test_ten_thousand_lost_calls_are_told_at_once(deployment: Deployment):
    calls = [f"c-{number}" for number in range(10_000)]
    if isinstance(deployment.store, MemoryCallStore):
        for call_id in calls:
            await deployment.store.create(CallRecord(call_id))
            await deployment.store.start(call_id, "e-1")
    await deployment.silent_for(calls, LOST_MS / 1000 + 1)
    assert (await deployment.store.abandoned()).keys() == set(calls)


async def test_the_end_of_a_call_that_no_edge_had_does_not_end_one_that_an_edge_has_by_now(deployment: Deployment):
    store = deployment.store
    await store.create(RECORD)
    assert (await store.read("c-1") or RECORD).status == "new"
    await store.start("c-1", "e-1")  # between the look and the end
    assert not await store.end("c-1", "carrier", 0)
    assert await store.live() == ["c-1"]
    assert await store.end("c-1", "carrier", 1)
    assert await store.ended(["c-1", "nobody"]) == {"c-1"}
    await store.create(replace(RECORD, call_id="c-2"))
    assert await store.end("c-2", "carrier", 0)


async def test_the_silence_of_a_connection_that_is_past_is_none_of_the_calls(deployment: Deployment):
    store = deployment.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    await store.start("c-1", "e-2")
    await store.note_silence({"c-1": 3_000}, {"c-1": 2})
    await store.note_silence({"c-1": 60_000}, {"c-1": 1})  # of a socket that was long dead
    again = await store.start("c-1", "e-2")
    assert again is not None
    assert 3_000 <= again.silent_ms < 30_000


async def test_a_node_is_not_forgotten_because_another_hosts_clock_is_ahead(valkey_url: str):
    async with connect_store(valkey_url, "test", retention_s=60) as store:
        await on_host(store, -600).heartbeat("stt", "slow")
        await on_host(store, 600).heartbeat("stt", "fast")
    async with Redis.from_url(valkey_url) as client:
        assert {node async for node, _ in client.zscan_iter(nodes("stt"))} == {b"slow", b"fast"}


@pytest.mark.parametrize("ahead_s", [0, 80, -20, 2])
async def test_each_host_shows_how_far_its_clock_is_off(valkey_url: str, ahead_s: int):
    async with connect_store(valkey_url, "test", retention_s=60) as store:
        await store.heartbeat("stt", "s-1")  # connects
        await on_host(store, ahead_s).heartbeat("stt", "s-1")
    lines = metrics.exposition().decode().splitlines()
    (shown,) = [line for line in lines if line.startswith('voice_clock_offset_seconds{server="0"}')]
    assert float(shown.split()[1]) == pytest.approx(ahead_s, abs=0.3)


@hosts
async def test_a_dial_is_due_by_the_servers_clock(valkey_url: str, writer_s: int, judge_s: int):
    async with aclosing(RedisOutboundQueue.connect(valkey_url, "test", 60)) as queue:
        with host_clock(writer_s):
            now_ms = await queue.now_ms()
            await queue.add("out-1", {"to": "x"}, now_ms)
            await queue.add("out-2", {"to": "x"}, now_ms + 30_000)
        with host_clock(judge_s):
            assert await queue.due(5) == ["out-1"]
            entry = await queue.read("out-1")
            assert entry is not None
            assert abs(entry.now_ms - time.time() * 1000 + judge_s * 1000) < 2_000
            assert await queue.write("out-1", entry.version, entry.body, "open", entry.now_ms + 30_000)
            assert await queue.overdue(5) == []


async def test_a_dialer_that_froze_and_dials_no_more_sends_nothing(valkey_url: str):
    async with aclosing(RedisOutboundQueue.connect(valkey_url, "test", 60)) as queue:
        await queue.add("out-1", {"to": "x"}, 0)
        entry = await queue.read("out-1")
        assert entry is not None
        assert await queue.lead("e-1", 20)
        await asyncio.sleep(0.05)
        assert await queue.lead("e-2", 5_000)
        assert not await queue.write("out-1", entry.version, entry.body, "open", 0, dialer="e-1")
        assert await queue.write("out-1", entry.version, entry.body, "open", 0, dialer="e-2")


def test_the_calls_of_a_test_are_on_both_servers():
    assert {shard_index(f"c-{number}", 2) for number in range(SHARDS)} == {0, 1}
