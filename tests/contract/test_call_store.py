"""Both ledgers keep the promises of common/store/__init__.py."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest
from redis.asyncio import Redis

from common.bus import Bus
from common.bus.memory import MemoryBus, MemoryStreams
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.protocol.messages import CallOffered, DtmfReceived, Message, UserTurn
from common.protocol.redis_keys import call_events, call_state, pool_calls, shard_index
from common.store import CallRecord, CallStore, Claim
from common.store.leases_redis import UNCONFIRMED_MS
from common.store.members import MemberReport
from common.store.memory import MemoryCallStore
from common.store.shards import connect_store
from tests.conftest import server_url
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

LEASE_MS = 150
"""Long enough for the few requests that a test makes within it."""
RECORD = CallRecord("c-1", agent={"name": "receptionist"}, from_number="911234567890", to_number="919876543210")


@dataclass
class Server:
    """A ledger, a bus on the same server, and a way to let a lease run out."""

    store: CallStore
    bus: Bus
    url: str = ""

    async def transcript(self) -> list[Message]:
        return [message for _, message in await self.bus.read(call_events("c-1"))]

    async def lease_runs_out(self) -> None:
        await asyncio.sleep(LEASE_MS / 1000 * 1.5)

    async def nobody_confirms(self, pool: str) -> None:
        """The last confirmation of c-1 by its owner was long ago, however alive that is."""
        if isinstance(self.store, MemoryCallStore):
            self.store._calls["c-1"].seen_ms[pool] -= UNCONFIRMED_MS
            return
        urls = self.url.split(",")
        async with Redis.from_url(urls[shard_index("c-1", len(urls))]) as client:
            key, field = call_state("c-1"), f"seen:{pool}"
            await client.hincrby(key, field, -UNCONFIRMED_MS)


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    if request.param == "memory":
        streams = MemoryStreams()
        yield Server(MemoryCallStore(streams, LEASE_MS), MemoryBus(streams))
        return
    url = server_url(request)
    async with (
        connect_store(url, "test", retention_s=60, lease_ms=LEASE_MS) as store,
        connect_bus(BusOptions(url, "test")) as bus,
    ):
        yield Server(store, bus, url)


def holds(owner: str, pool: str = "llm") -> MemberReport:
    """The report of a member that holds calls and takes no more."""
    return MemberReport(pool, owner, holds_calls=True, has_room=False)


def has_room(pool: str, owner: str) -> MemberReport:
    """The report of a member without calls."""
    return MemberReport(pool, owner, holds_calls=False, has_room=True)


async def offered(server: Server, pool: str, count: int, taker: str = "w-1") -> list[tuple[str, str]]:
    """Take offers until `count` have come: an offer travels for a millisecond or two."""
    return await eventually(lambda: server.store.take_offers(pool, taker, count, 500))


async def eventually(take: Callable[[], Awaitable[list]]) -> list:
    async with asyncio.timeout(WAIT_S):
        while not (found := await take()):
            pass
    return found


async def test_a_call_is_created_once_started_and_ended_once(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.create(CallRecord("c-1", from_number="another"))  # the webhook came twice
    started = await store.start("c-1", "e-1")
    assert started is not None
    assert (started.epoch, started.edge, started.status) == (1, "e-1", "live")
    assert (started.from_number, started.agent) == ("911234567890", {"name": "receptionist"})
    assert await store.live() == ["c-1"]

    assert await store.end("c-1", "caller hung up")
    assert not await store.end("c-1", "silence")
    ended = await store.read("c-1")
    assert ended is not None
    assert (ended.status, ended.ended_because) == ("ended", "caller hung up")
    assert await store.live() == []


async def test_a_reconnect_raises_the_epoch_and_moves_the_edge(server: Server):
    await server.store.create(RECORD)
    await server.store.start("c-1", "e-1")
    again = await server.store.start("c-1", "e-2")
    assert again is not None
    assert (again.epoch, again.edge) == (2, "e-2")
    assert not await server.store.end("c-1", "carrier", epoch=1)  # the old socket's end
    assert await server.store.live() == ["c-1"]
    assert await server.store.end("c-1", "caller hung up", epoch=2)


@pytest.mark.parametrize("reason", ["carrier", "caller hung up"])
async def test_a_call_whose_connection_was_gone_may_be_reopened_and_started_again(server: Server, reason: str):
    store = server.store
    await store.create(RECORD)
    assert await store.reopen("c-1")  # it has not begun
    await store.start("c-1", "e-1")
    assert await store.reopen("c-1")  # it is live
    await store.end("c-1", reason)
    assert await store.reopen("c-1")
    again = await store.start("c-1", "e-2")
    assert again is not None
    assert (again.epoch, again.edge, again.status, again.ended_because) == (2, "e-2", "live", "")
    assert await store.claim("llm", "c-1", "w-1") is not None
    assert await store.end("c-1", reason)
    assert await store.start("c-1", "e-2") is None  # once is once


@pytest.mark.parametrize("reason", ["agent hung up", "operator hung up", "silence", "too long", "refused", "error"])
async def test_a_call_that_we_ended_is_not_reopened(server: Server, reason: str):
    await server.store.create(RECORD)
    await server.store.start("c-1", "e-1")
    await server.store.end("c-1", reason)
    assert not await server.store.reopen("c-1")
    assert await server.store.start("c-1", "e-1") is None


@pytest.mark.parametrize("first", ["end", "seal"])
async def test_a_call_whose_end_the_carrier_told_is_not_reopened(server: Server, first: str):
    store = server.store
    await store.note_end("nobody", 60)
    assert await store.read("nobody") is None
    assert not await store.reopen("nobody")
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    for step in ("end", "seal") if first == "end" else ("seal", "end"):
        await (store.note_end("c-1", 60) if step == "seal" else store.end("c-1", "caller hung up"))
    assert not await store.reopen("c-1")
    assert await store.start("c-1", "e-1") is None


async def test_the_age_and_the_silence_of_a_call_go_on_over_its_connections(server: Server):
    store = server.store
    await store.create(RECORD)
    first = await store.start("c-1", "e-1")
    assert first is not None
    assert (first.age_ms, first.silent_ms) == (0, 0)
    await store.note_silence({"c-1": 7_000, "nobody": 1})
    assert await store.read("nobody") is None
    await asyncio.sleep(0.05)
    second = await store.start("c-1", "e-2")
    assert second is not None
    assert 50 <= second.age_ms < 5_000
    assert 7_050 <= second.silent_ms < 12_000


async def test_the_time_in_which_a_call_was_over_for_us_is_not_counted(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    await store.note_silence({"c-1": 60_000})
    await store.end("c-1", "carrier")
    await asyncio.sleep(1.0)
    await store.reopen("c-1")
    again = await store.start("c-1", "e-1")
    assert again is not None
    assert again.age_ms < 900
    assert again.silent_ms == 0


async def test_what_the_carrier_says_is_kept_once(server: Server):
    store = server.store
    for _ in range(2):
        await store.add_webhook_fields("c-1", {"Hangup.HangupCause": "NORMAL_CLEARING"})
    await store.add_webhook_fields("c-1", {"StartApp.Direction": "inbound"})
    assert await store.webhook_fields("c-1") == {
        "Hangup.HangupCause": "NORMAL_CLEARING",
        "StartApp.Direction": "inbound",
    }
    assert await store.webhook_fields("another") == {}


async def test_a_nonce_is_good_for_one_body_only(server: Server):
    store = server.store
    assert await store.remember_nonce("12345678901234567890", "one", 600)
    assert await store.remember_nonce("12345678901234567890", "one", 600)  # the carrier's own retry
    assert not await store.remember_nonce("12345678901234567890", "two", 600)


async def test_an_unknown_or_ended_call_cannot_start(server: Server):
    assert await server.store.start("nobody", "e-1") is None
    assert await server.store.read("nobody") is None
    await server.store.create(RECORD)
    await server.store.start("c-1", "e-1")
    await server.store.end("c-1", "caller hung up")
    assert await server.store.start("c-1", "e-1") is None  # a phantom reconnect


async def test_one_member_holds_a_call_and_the_next_owner_has_a_higher_token(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    first = await store.claim("llm", "c-1", "w-1")
    assert first is not None
    assert first.record.agent == {"name": "receptionist"}
    assert await store.claim("llm", "c-1", "w-2") is None
    assert await store.claim("tts", "c-1", "w-3") is not None  # each pool has a lease of its own

    await store.release(first)
    second = await store.claim("llm", "c-1", "w-2")
    assert second is not None
    assert second.token > first.token


async def test_a_member_that_slept_but_was_not_replaced_goes_on(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    claim = await store.claim("llm", "c-1", "w-1")
    assert claim is not None
    await server.lease_runs_out()
    await store.renew(holds("w-1"))
    assert await store.confirm([claim]) == []
    assert await store.orphans("llm") == []


async def test_a_member_that_was_replaced_can_write_nothing(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    old = await store.claim("llm", "c-1", "w-1")
    assert old is not None
    await server.lease_runs_out()
    new = await store.claim("llm", "c-1", "w-2")
    assert new is not None

    assert not await store.append(old, [UserTurn(1, "from the grave", ())])
    assert not await store.save_checkpoint(old, "from the grave")
    await store.renew(holds("w-1"))  # it is alive, and that does not make the call its own
    assert await store.confirm([old, new]) == [old]
    await store.release(old)  # must not take the call from its new owner
    await store.renew(holds("w-2"))
    assert await store.claim("llm", "c-1", "w-3") is None

    assert await store.append(new, [UserTurn(1, "hello", ()), UserTurn(2, "again", ())])
    assert await server.transcript() == [UserTurn(1, "hello", ()), UserTurn(2, "again", ())]


async def test_a_checkpoint_reaches_the_next_owner(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    first = await store.claim("stt", "c-1", "w-1")
    assert first is not None
    assert await store.save_checkpoint(first, "utterance 3")
    await store.release(first)
    second = await store.claim("stt", "c-1", "w-2")
    assert second is not None
    assert second.checkpoint == "utterance 3"


async def test_a_call_that_the_server_lost_is_written_again_and_its_owners_are_fenced(server: Server):
    store = server.store
    assert await store.state_fields(["c-1"]) == {}
    record = replace(RECORD, epoch=3, edge="e-1", status="live")
    notes = {"epoch": "2", "token:llm": "4", "checkpoint:stt": "utterance 3"}
    assert await store.restore(record, notes, [UserTurn(1, "hello", ()), DtmfReceived("1", 1)])
    assert not await store.restore(record, notes, [])  # another look of the same edge
    assert await store.state_fields(["c-1", "c-2"]) == {"c-1": {**notes, "epoch": "3", "token:llm": "5"}}
    assert await server.transcript() == [UserTurn(1, "hello", ()), DtmfReceived("1", 1)]

    dead = Claim("c-1", "llm", "w-1", 4, record)
    assert await store.confirm([dead]) == [dead]
    assert not await store.append(dead, [UserTurn(2, "from before", ())])
    assert await store.live() == await store.orphans("llm") == ["c-1"]
    claim = await store.claim("llm", "c-1", "w-2")
    assert claim is not None
    assert (claim.token, claim.record.epoch, claim.record.agent) == (6, 3, {"name": "receptionist"})
    ears = await store.claim("stt", "c-1", "w-3")
    assert ears is not None
    assert ears.checkpoint == "utterance 3"


async def test_a_call_that_fell_back_to_an_older_epoch_is_written_again_and_one_that_ended_is_not(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    old = await store.claim("llm", "c-1", "w-1")
    assert old is not None
    assert await store.restore(replace(RECORD, epoch=3, edge="e-2"), {}, [])
    again = await store.read("c-1")
    assert again is not None
    assert (again.epoch, again.edge, again.status) == (3, "e-2", "live")
    await store.end("c-1", "caller hung up")
    assert not await store.restore(replace(RECORD, epoch=4), {}, [])


async def test_a_token_that_was_given_out_twice_is_its_owners_only(server: Server):
    """A failover may lose a claim; the next one then has the same token as the one that was lost."""
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    kept = await store.claim("llm", "c-1", "w-1")
    assert kept is not None
    forgotten = replace(kept, owner="w-2")
    assert await store.confirm([forgotten]) == [forgotten]
    assert not await store.append(forgotten, [UserTurn(1, "hello", ())])
    assert not await store.save_checkpoint(forgotten, "utterance 3")
    await store.release(forgotten)
    assert await store.claim("llm", "c-1", "w-3") is None
    assert await store.append(kept, [UserTurn(1, "hello", ())])


async def test_an_offer_goes_to_one_member_and_is_gone_once_settled(server: Server):
    await server.store.take_offers("llm", "w-1", 1, 1)
    server.bus.publish(pool_calls("llm"), CallOffered("c-1"))
    ((offer_id, call_id),) = await offered(server, "llm", 1)
    assert call_id == "c-1"
    assert await server.store.take_offers("llm", "w-2", 8, 1) == []
    await server.store.ack_offer("llm", offer_id)
    assert await server.store.take_offers("llm", "w-2", 8, 1) == []


async def test_no_more_offers_are_taken_than_asked_for(server: Server):
    for number in range(3):
        server.bus.publish(pool_calls("llm"), CallOffered(f"c-{number}"))
    first = await offered(server, "llm", 1)
    rest = await offered(server, "llm", 5, taker="w-2")
    assert [call_id for _, call_id in first] == ["c-0"]
    assert {call_id for _, call_id in rest} <= {"c-1", "c-2"}


async def test_an_offer_whose_taker_died_is_offered_again(server: Server):
    server.bus.publish(pool_calls("llm"), CallOffered("c-1"))
    assert await offered(server, "llm", 1, taker="w-dead")
    again = await eventually(lambda: server.store.take_offers("llm", "w-2", 1, 300))
    assert [call_id for _, call_id in again] == ["c-1"]


async def test_a_pool_has_room_while_a_member_says_so(server: Server):
    store = server.store
    assert await store.pools_with_room() == set()
    for pool, owner in (("stt", "s-1"), ("stt", "s-2"), ("llm", "l-1")):
        await store.renew(has_room(pool, owner))
    assert await store.pools_with_room() == {"stt", "llm"}
    await store.renew(replace(has_room("stt", "s-1"), has_room=False))
    await store.renew(replace(has_room("llm", "l-1"), has_room=False))
    assert await store.pools_with_room() == {"stt"}
    await store.renew(replace(has_room("stt", "s-2"), has_room=False))
    await store.renew(replace(has_room("stt", "s-2"), has_room=False))  # said twice
    assert await store.pools_with_room() == set()


async def test_who_does_not_hold_a_call_is_told_by_pool(server: Server):
    store = server.store
    for call_id in ("c-1", "c-2"):
        await store.create(CallRecord(call_id))
        await store.start(call_id, "e-1")
    claims = [await store.claim(pool, "c-1", "w-1") for pool in ("stt", "llm", "tts")]
    assert await store.unheld([]) == {}
    assert await store.unheld(["c-1", "c-2"]) == {"c-2": {"stt", "llm", "tts"}}
    assert claims[1] is not None
    await store.release(claims[1])
    assert await store.unheld(["c-1"]) == {"c-1": {"llm"}}
