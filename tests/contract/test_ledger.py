"""Both ledgers keep the promises of common/store/__init__.py."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from common.bus import Bus
from common.bus.memory import MemoryBus, Streams
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.protocol.messages import Digit, Message, Offer, UserTurn
from common.protocol.redis_keys import call_events, pool_calls
from common.store import CallRecord, Claim, Ledger
from common.store.memory import MemoryLedger
from common.store.shards import connect_ledger
from tests.conftest import server_url

pytestmark = pytest.mark.anyio

LEASE_MS = 60
RECORD = CallRecord("c-1", agent={"name": "receptionist"}, from_number="911234567890", to_number="919876543210")


@dataclass
class Server:
    """A ledger, a bus on the same server, and a way to let a lease run out."""

    ledger: Ledger
    bus: Bus

    async def story(self) -> list[Message]:
        return [message for _, message in await self.bus.read(call_events("c-1"))]

    async def lease_runs_out(self) -> None:
        await asyncio.sleep(LEASE_MS / 1000 * 1.5)


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    if request.param == "memory":
        streams = Streams()
        yield Server(MemoryLedger(streams, LEASE_MS), MemoryBus(streams))
        return
    url = server_url(request)
    async with (
        connect_ledger(url, "test", retention_s=60, lease_ms=LEASE_MS) as ledger,
        connect_bus(BusOptions(url, "test")) as bus,
    ):
        yield Server(ledger, bus)


async def offered(server: Server, pool: str, count: int, taker: str = "w-1") -> list[tuple[str, str]]:
    """Take offers until `count` have come: an offer travels for a millisecond or two."""
    return await eventually(lambda: server.ledger.take_offers(pool, taker, count, 500))


async def eventually(take: Callable[[], Awaitable[list]]) -> list:
    async with asyncio.timeout(5):
        while not (found := await take()):
            pass
    return found


async def test_a_call_is_created_once_started_and_ended_once(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.create(CallRecord("c-1", from_number="another"))  # the webhook came twice
    started = await ledger.start("c-1", "e-1")
    assert started is not None
    assert (started.epoch, started.edge, started.status) == (1, "e-1", "live")
    assert (started.from_number, started.agent) == ("911234567890", {"name": "receptionist"})
    assert await ledger.live() == ["c-1"]

    assert await ledger.end("c-1", "caller hung up")
    assert not await ledger.end("c-1", "silence")
    ended = await ledger.read("c-1")
    assert ended is not None
    assert (ended.status, ended.ended_because) == ("ended", "caller hung up")
    assert await ledger.live() == []


async def test_a_reconnect_raises_the_epoch_and_moves_the_edge(server: Server):
    await server.ledger.create(RECORD)
    await server.ledger.start("c-1", "e-1")
    again = await server.ledger.start("c-1", "e-2")
    assert again is not None
    assert (again.epoch, again.edge) == (2, "e-2")
    assert not await server.ledger.end("c-1", "carrier", epoch=1)  # the old socket's end
    assert await server.ledger.live() == ["c-1"]
    assert await server.ledger.end("c-1", "caller hung up", epoch=2)


@pytest.mark.parametrize("reason", ["carrier", "caller hung up"])
async def test_a_call_whose_connection_was_gone_may_be_reopened_and_started_again(server: Server, reason: str):
    ledger = server.ledger
    await ledger.create(RECORD)
    assert await ledger.reopen("c-1")  # it has not begun
    await ledger.start("c-1", "e-1")
    assert await ledger.reopen("c-1")  # it is live
    await ledger.end("c-1", reason)
    assert await ledger.reopen("c-1")
    again = await ledger.start("c-1", "e-2")
    assert again is not None
    assert (again.epoch, again.edge, again.status, again.ended_because) == (2, "e-2", "live", "")
    assert await ledger.claim("llm", "c-1", "w-1") is not None
    assert await ledger.end("c-1", reason)
    assert await ledger.start("c-1", "e-2") is None  # once is once


@pytest.mark.parametrize("reason", ["agent hung up", "operator hung up", "silence", "too long", "refused", "error"])
async def test_a_call_that_we_ended_is_not_reopened(server: Server, reason: str):
    await server.ledger.create(RECORD)
    await server.ledger.start("c-1", "e-1")
    await server.ledger.end("c-1", reason)
    assert not await server.ledger.reopen("c-1")
    assert await server.ledger.start("c-1", "e-1") is None


@pytest.mark.parametrize("first", ["end", "seal"])
async def test_a_call_whose_end_the_carrier_told_is_not_reopened(server: Server, first: str):
    ledger = server.ledger
    await ledger.note_end("nobody", 60)
    assert await ledger.read("nobody") is None
    assert not await ledger.reopen("nobody")
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    for step in ("end", "seal") if first == "end" else ("seal", "end"):
        await (ledger.note_end("c-1", 60) if step == "seal" else ledger.end("c-1", "caller hung up"))
    assert not await ledger.reopen("c-1")
    assert await ledger.start("c-1", "e-1") is None


async def test_the_age_and_the_silence_of_a_call_go_on_over_its_connections(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    first = await ledger.start("c-1", "e-1")
    assert first is not None
    assert (first.age_ms, first.silent_ms) == (0, 0)
    await ledger.note_silence({"c-1": 7_000, "nobody": 1})
    assert await ledger.read("nobody") is None
    await asyncio.sleep(0.05)
    second = await ledger.start("c-1", "e-2")
    assert second is not None
    assert 50 <= second.age_ms < 5_000
    assert 7_050 <= second.silent_ms < 12_000


async def test_the_time_in_which_a_call_was_over_for_us_is_not_counted(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    await ledger.note_silence({"c-1": 60_000})
    await ledger.end("c-1", "carrier")
    await asyncio.sleep(0.3)
    await ledger.reopen("c-1")
    again = await ledger.start("c-1", "e-1")
    assert again is not None
    assert again.age_ms < 250
    assert again.silent_ms == 0


async def test_what_the_carrier_says_is_kept_once(server: Server):
    ledger = server.ledger
    for _ in range(2):
        await ledger.add_facts("c-1", {"Hangup.HangupCause": "NORMAL_CLEARING"})
    await ledger.add_facts("c-1", {"StartApp.Direction": "inbound"})
    assert await ledger.facts("c-1") == {"Hangup.HangupCause": "NORMAL_CLEARING", "StartApp.Direction": "inbound"}
    assert await ledger.facts("another") == {}


async def test_a_nonce_is_good_for_one_body_only(server: Server):
    ledger = server.ledger
    assert await ledger.remember_nonce("12345678901234567890", "one", 600)
    assert await ledger.remember_nonce("12345678901234567890", "one", 600)  # the carrier's own retry
    assert not await ledger.remember_nonce("12345678901234567890", "two", 600)


async def test_an_end_is_noted_for_a_call_without_a_record_and_makes_none(server: Server):
    assert not await server.ledger.end_noted("c-1")
    await server.ledger.note_end("c-1", 60)
    await server.ledger.note_end("c-1", 60)
    assert await server.ledger.end_noted("c-1")
    assert not await server.ledger.end_noted("c-2")
    assert await server.ledger.read("c-1") is None


async def test_an_unknown_or_ended_call_cannot_start(server: Server):
    assert await server.ledger.start("nobody", "e-1") is None
    assert await server.ledger.read("nobody") is None
    await server.ledger.create(RECORD)
    await server.ledger.start("c-1", "e-1")
    await server.ledger.end("c-1", "caller hung up")
    assert await server.ledger.start("c-1", "e-1") is None  # a phantom reconnect


async def test_one_member_holds_a_call_and_the_next_owner_has_a_higher_token(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    first = await ledger.claim("llm", "c-1", "w-1")
    assert first is not None
    assert first.record.agent == {"name": "receptionist"}
    assert await ledger.claim("llm", "c-1", "w-2") is None
    assert await ledger.claim("tts", "c-1", "w-3") is not None  # each pool has a lease of its own

    await ledger.release(first)
    second = await ledger.claim("llm", "c-1", "w-2")
    assert second is not None
    assert second.token > first.token


async def test_a_dead_members_call_is_an_orphan_once_its_lease_has_run_out(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    assert await ledger.orphans("llm") == ["c-1"]
    await ledger.claim("llm", "c-1", "w-1")
    assert await ledger.orphans("llm") == []
    await server.lease_runs_out()
    assert await ledger.orphans("llm") == ["c-1"]


async def test_of_a_pool_one_member_at_a_time_looks_for_orphans(server: Server):
    ledger = server.ledger
    assert await ledger.may_scan("llm", "w-1", 60_000)
    assert not await ledger.may_scan("llm", "w-2", 60_000)
    assert not await ledger.may_scan("llm", "w-1", 60_000)
    assert await ledger.may_scan("tts", "w-3", 1)
    while not await ledger.may_scan("tts", "w-4", 1):
        await asyncio.sleep(0.001)


async def test_a_member_that_slept_but_was_not_replaced_goes_on(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    claim = await ledger.claim("llm", "c-1", "w-1")
    assert claim is not None
    await server.lease_runs_out()
    assert await ledger.renew([claim]) == []
    assert await ledger.orphans("llm") == []


async def test_a_member_that_was_replaced_can_write_nothing(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    old = await ledger.claim("llm", "c-1", "w-1")
    assert old is not None
    await server.lease_runs_out()
    new = await ledger.claim("llm", "c-1", "w-2")
    assert new is not None

    assert not await ledger.append(old, [UserTurn(1, "from the grave", ())])
    assert not await ledger.save_checkpoint(old, "from the grave")
    assert await ledger.renew([old, new]) == [old]
    await ledger.release(old)  # must not take the new owner's lease away
    assert await ledger.claim("llm", "c-1", "w-3") is None

    assert await ledger.append(new, [UserTurn(1, "hello", ()), UserTurn(2, "again", ())])
    assert await server.story() == [UserTurn(1, "hello", ()), UserTurn(2, "again", ())]


async def test_a_checkpoint_reaches_the_next_owner(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    first = await ledger.claim("stt", "c-1", "w-1")
    assert first is not None
    assert await ledger.save_checkpoint(first, "utterance 3")
    await ledger.release(first)
    second = await ledger.claim("stt", "c-1", "w-2")
    assert second is not None
    assert second.checkpoint == "utterance 3"


async def test_the_end_of_a_call_ends_its_leases(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    claim = await ledger.claim("llm", "c-1", "w-1")
    assert claim is not None
    await ledger.end("c-1", "caller hung up")
    assert await ledger.renew([claim]) == [claim]
    assert await ledger.claim("llm", "c-1", "w-2") is None


async def test_a_call_that_the_server_lost_is_written_again_and_its_owners_are_fenced(server: Server):
    ledger = server.ledger
    assert await ledger.notes(["c-1"]) == {}
    record = replace(RECORD, epoch=3, edge="e-1", status="live")
    notes = {"epoch": "2", "token:llm": "4", "checkpoint:stt": "utterance 3"}
    assert await ledger.restore(record, notes, [UserTurn(1, "hello", ()), Digit("1", 1)])
    assert not await ledger.restore(record, notes, [])  # another look of the same edge
    assert await ledger.notes(["c-1", "c-2"]) == {"c-1": {**notes, "epoch": "3", "token:llm": "5"}}
    assert await server.story() == [UserTurn(1, "hello", ()), Digit("1", 1)]

    dead = Claim("c-1", "llm", "w-1", 4, record)
    assert await ledger.renew([dead]) == [dead]
    assert not await ledger.append(dead, [UserTurn(2, "from before", ())])
    assert await ledger.live() == await ledger.orphans("llm") == ["c-1"]
    claim = await ledger.claim("llm", "c-1", "w-2")
    assert claim is not None
    assert (claim.token, claim.record.epoch, claim.record.agent) == (6, 3, {"name": "receptionist"})
    ears = await ledger.claim("stt", "c-1", "w-3")
    assert ears is not None
    assert ears.checkpoint == "utterance 3"


async def test_a_call_that_fell_back_to_an_older_epoch_is_written_again_and_one_that_ended_is_not(server: Server):
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    old = await ledger.claim("llm", "c-1", "w-1")
    assert old is not None
    assert await ledger.restore(replace(RECORD, epoch=3, edge="e-2"), {}, [])
    again = await ledger.read("c-1")
    assert again is not None
    assert (again.epoch, again.edge, again.status) == (3, "e-2", "live")
    await ledger.end("c-1", "caller hung up")
    assert not await ledger.restore(replace(RECORD, epoch=4), {}, [])


async def test_a_token_that_was_given_out_twice_is_its_owners_only(server: Server):
    """A failover may lose a claim; the next one then has the same token as the one that was lost."""
    ledger = server.ledger
    await ledger.create(RECORD)
    await ledger.start("c-1", "e-1")
    kept = await ledger.claim("llm", "c-1", "w-1")
    assert kept is not None
    forgotten = replace(kept, owner="w-2")
    assert await ledger.renew([forgotten]) == [forgotten]
    assert not await ledger.append(forgotten, [UserTurn(1, "hello", ())])
    assert not await ledger.save_checkpoint(forgotten, "utterance 3")
    await ledger.release(forgotten)
    assert await ledger.claim("llm", "c-1", "w-3") is None
    assert await ledger.append(kept, [UserTurn(1, "hello", ())])


async def test_an_offer_goes_to_one_member_and_is_gone_once_settled(server: Server):
    await server.ledger.take_offers("llm", "w-1", 1, 1)
    server.bus.publish(pool_calls("llm"), Offer("c-1"))
    ((offer_id, call_id),) = await offered(server, "llm", 1)
    assert call_id == "c-1"
    assert await server.ledger.take_offers("llm", "w-2", 8, 1) == []
    await server.ledger.settle("llm", offer_id)
    assert await server.ledger.take_offers("llm", "w-2", 8, 1) == []


async def test_no_more_offers_are_taken_than_asked_for(server: Server):
    for number in range(3):
        server.bus.publish(pool_calls("llm"), Offer(f"c-{number}"))
    first = await offered(server, "llm", 1)
    rest = await offered(server, "llm", 5, taker="w-2")
    assert [call_id for _, call_id in first] == ["c-0"]
    assert {call_id for _, call_id in rest} <= {"c-1", "c-2"}


async def test_an_offer_whose_taker_died_is_offered_again(server: Server):
    server.bus.publish(pool_calls("llm"), Offer("c-1"))
    assert await offered(server, "llm", 1, taker="w-dead")
    again = await eventually(lambda: server.ledger.take_offers("llm", "w-2", 1, 300))
    assert [call_id for _, call_id in again] == ["c-1"]


async def test_a_pool_has_room_while_a_member_says_so(server: Server):
    ledger = server.ledger
    assert await ledger.pools_with_room() == set()
    for pool, owner in (("stt", "s-1"), ("stt", "s-2"), ("llm", "l-1")):
        await ledger.report_room(pool, owner, True)
    assert await ledger.pools_with_room() == {"stt", "llm"}
    await ledger.report_room("stt", "s-1", False)
    await ledger.report_room("llm", "l-1", False)
    assert await ledger.pools_with_room() == {"stt"}
    await ledger.report_room("stt", "s-2", False)
    await ledger.report_room("stt", "s-2", False)  # said twice
    assert await ledger.pools_with_room() == set()


async def test_who_does_not_hold_a_call_is_told_by_pool(server: Server):
    ledger = server.ledger
    for call_id in ("c-1", "c-2"):
        await ledger.create(CallRecord(call_id))
        await ledger.start(call_id, "e-1")
    claims = [await ledger.claim(pool, "c-1", "w-1") for pool in ("stt", "llm", "tts")]
    assert await ledger.unheld([]) == {}
    assert await ledger.unheld(["c-1", "c-2"]) == {"c-2": {"stt", "llm", "tts"}}
    assert claims[1] is not None
    await ledger.release(claims[1])
    assert await ledger.unheld(["c-1"]) == {"c-1": {"llm"}}
