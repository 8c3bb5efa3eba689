"""An ended call is shortened once, in one step, and only while it is over and nobody writes; members that died go."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
import redis

from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.call.log_compaction import compacted
from common.protocol.codec import encode
from common.protocol.messages import CallOffered, Clause, ClauseSynthesized, ReplyPlayed, ReplyStarted, UserTurn
from common.protocol.redis_keys import call_events, call_state, pool_calls
from common.redis.client import Client
from common.redis.url import parse_redis_url
from common.store import CallRecord, Claim
from common.store.ended_calls import COMPACT_TRIES_MAX, Entries
from common.store.redis import RedisCallStore
from tests.conftest import server_url
from tests.contract.test_call_store import Server, server  # noqa: F401 - the fixture

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

RECORD = CallRecord("c-1", agent={"name": "desk", "instructions": "Be brief."}, from_number="911234567890")
SAID = [
    ReplyStarted(1, 0),
    Clause(1, 0, "Hello.", (1, 2, 3)),
    ClauseSynthesized(1, 0, 300),
    ReplyPlayed(1),
    UserTurn(1, "yes", ()),
]


@pytest.fixture(params=["valkey", "redis-7"])
def url(request: pytest.FixtureRequest) -> str:
    return server_url(request)


async def spoken(server: Server, reason: str) -> Entries:  # noqa: F811
    """A call with a few words, which has ended; its event log."""
    await server.store.create(RECORD)
    await server.store.start("c-1", "e-1")
    claim = await server.store.claim("llm", "c-1", "w-1")
    assert claim is not None
    assert await server.store.append(claim, SAID)
    await server.store.save_checkpoint(claim, "here")
    await server.store.end("c-1", reason)
    return await server.bus.read(call_events("c-1"))


async def shortened(server: Server, read: Entries) -> bool:  # noqa: F811
    return await server.store.ended_calls.compact("c-1", "desk", read, compacted(read))


@pytest.mark.parametrize("twice", [False, True])
async def test_the_log_and_the_record_are_shortened_and_keep_their_ids(server: Server, twice: bool):  # noqa: F811
    whole = await spoken(server, "agent hung up")
    assert await server.store.ended_calls.take() == []  # not yet
    assert await shortened(server, whole)
    if twice:
        assert await shortened(server, await server.bus.read(call_events("c-1")))
    kept = await server.bus.read(call_events("c-1"))
    assert kept == compacted(whole)
    assert [message for _, message in kept] == [SAID[0], Clause(1, 0, "Hello."), SAID[3], SAID[4]]
    record = await server.store.read("c-1")
    assert record is not None
    assert (record.agent, record.from_number, record.ended_because) == (
        {"name": "desk"},
        "911234567890",
        "agent hung up",
    )
    assert await server.store.state_fields(["c-1"]) == {"c-1": {"epoch": "1"}}


async def test_what_was_written_since_is_not_lost(server: Server):  # noqa: F811
    read = await spoken(server, "agent hung up")
    for late in range(2):
        server.bus.publish(call_events("c-1"), UserTurn(2 + late, "late", ()))
    while len(await server.bus.read(call_events("c-1"))) < len(read) + 2:
        await asyncio.sleep(0.01)
    assert not await shortened(server, read)
    assert await server.transcript() == [*SAID, UserTurn(2, "late", ()), UserTurn(3, "late", ())]
    for _ in range(COMPACT_TRIES_MAX - 1):
        left = await shortened(server, read)
    assert left  # it stays whole: nobody tries for ever
    assert len(await server.transcript()) == len(SAID) + 2


async def test_a_call_that_the_carrier_may_hand_back_goes_on_as_if_nothing_had_been(server: Server):  # noqa: F811
    assert await shortened(server, await spoken(server, "carrier"))
    assert await server.store.reopen("c-1")
    again = await server.store.start("c-1", "e-2")
    assert again is not None
    assert (again.epoch, again.agent) == (2, RECORD.agent)
    await server.lease_runs_out()
    claim = await server.store.claim("llm", "c-1", "w-2")
    assert claim is not None
    assert (claim.token, claim.checkpoint) == (2, "here")
    assert await server.store.append(claim, [UserTurn(2, "again", ())])
    transcript = await server.transcript()
    assert (transcript[0], transcript[-1]) == (SAID[0], UserTurn(2, "again", ()))


async def test_of_a_call_that_the_carrier_will_not_hand_back_nothing_is_kept_for_that(server: Server):  # noqa: F811
    read = await spoken(server, "carrier")
    await server.store.note_end("c-1", 60)
    assert await shortened(server, read)
    record = await server.store.read("c-1")
    assert record is not None
    assert record.agent == {"name": "desk"}
    assert await server.store.state_fields(["c-1"]) == {"c-1": {"epoch": "1"}}
    assert not await server.store.reopen("c-1")


@pytest.mark.parametrize("state", ["live", "unknown"])
async def test_a_call_that_lives_again_is_left_alone(server: Server, state: str):  # noqa: F811
    read = await spoken(server, "carrier")
    await server.store.reopen("c-1")
    await server.store.start("c-1", "e-2")
    assert await server.store.ended_calls.compact("c-1" if state == "live" else "c-2", "desk", read, [])
    assert await server.transcript() == SAID


async def test_a_worker_that_wakes_up_after_it_can_write_nothing(server: Server):  # noqa: F811
    read = await spoken(server, "error")
    assert await shortened(server, read)
    record = await server.store.read("c-1")
    assert record is not None
    claim = Claim("c-1", "llm", "w-1", 1, replace(record, status="live"))
    assert not await server.store.append(claim, [UserTurn(9, "from the grave", ())])


async def test_members_that_died_are_forgotten_unless_they_owe_something(url: str):
    (place,) = parse_redis_url(url)
    store = RedisCallStore(Client(place, "test"), 60, idle_ms=100)
    stream = pool_calls("llm")
    with contextlib.closing(redis.Redis.from_url(url, decode_responses=True)) as client:
        async with contextlib.aclosing(store):
            await store.heartbeat("llm", "w-1")  # nobody has a group yet
            client.xgroup_create(stream, "members", id="0", mkstream=True)
            client.xadd(stream, {"d": encode(CallOffered("c-1"))})
            assert len(await store.take_offers("llm", "w-owing", 1, 10)) == 1
            assert await store.take_offers("llm", "w-dead", 1, 10) == []
            await asyncio.sleep(0.15)
            assert await store.take_offers("llm", "w-1", 1, 10) == []
            await store.heartbeat("llm", "w-1")
            known = {one["name"] for one in client.xinfo_consumers(stream, "members")}
            assert {"w-owing"} <= known <= {"w-owing", "w-1"}  # Redis 7.0 forgets who got nothing by itself
            await asyncio.sleep(1)
            assert len(await store.take_offers("llm", "w-2", 1, 10)) == 1  # what it owed is not lost
            await store.heartbeat("llm", "w-2")
            assert {one["name"] for one in client.xinfo_consumers(stream, "members")} == {"w-2"}


async def test_an_entry_that_this_release_cannot_read_keeps_the_log_whole(url: str):
    async with (
        contextlib.aclosing(RedisCallStore.connect(url, "test", 60)) as store,
        connect_bus(BusOptions(url, "t")) as bus,
    ):
        both = Server(store, bus)
        await spoken(both, "agent hung up")
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            client.xadd(call_events("c-1"), {"d": b"\x92\xcd\x03\xe7\x01"})  # tag 999
            read = await bus.read(call_events("c-1"))
            for _ in range(COMPACT_TRIES_MAX):
                done = await shortened(both, read)
            assert done
            assert client.xlen(call_events("c-1")) == len(SAID) + 1
            assert client.ttl(call_state("c-1")) > 0


@pytest.mark.parametrize("retention_s", [60, 7200], ids=["shorter than a live call's keys last", "longer"])
async def test_a_call_that_is_over_stays_for_the_retention_and_no_longer(url: str, retention_s: int):
    async with (
        contextlib.aclosing(RedisCallStore.connect(url, "test", retention_s)) as store,
        connect_bus(BusOptions(url, "t")) as bus,
    ):
        await spoken(Server(store, bus), "agent hung up")
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            for key in (call_state("c-1"), call_events("c-1")):
                assert retention_s - 30 <= client.ttl(key) <= retention_s
