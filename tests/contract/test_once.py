"""A side effect happens once, whoever asks for it and whoever dies on the way: both ledgers, one server or two."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from common.bus.memory import Streams
from common.call.once import NotDone, once
from common.protocol.redis_keys import call_effects
from common.store import CallRecord, Claim, Ledger
from common.store.effects import EFFECTS_MAX, RESULT_CHARS_MAX, Effect, Known, State
from common.store.memory import MemoryLedger
from common.store.shards import connect_ledger
from tests.conftest import server_url

pytestmark = pytest.mark.anyio

RETENTION_S = 60
NEW = Known(State.NEW)


class Bookings:
    """The other side: every booking that was made, by the key that came with it."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.breaks = False

    async def book(self, key: str) -> str:
        self.made.append(key)
        if self.breaks:
            raise ConnectionResetError("the answer was lost")
        return f"table {len(self.made)}"


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger(Streams())
        return
    async with connect_ledger(server_url(request), "test", RETENTION_S) as connected:
        yield connected


async def held(ledger: Ledger, owner: str = "mind-1") -> Claim:
    """A live call, held by a mind."""
    await ledger.create(CallRecord("c-1"))
    await ledger.start("c-1", "edge-1")
    claim = await ledger.claim("llm", "c-1", owner)
    assert claim is not None
    return claim


async def taken_over(ledger: Ledger, claim: Claim) -> Claim:
    await ledger.release(claim)
    successor = await ledger.claim("llm", "c-1", "mind-2")
    assert successor is not None
    return successor


async def test_a_table_is_booked_once_however_often_the_turn_is_run(ledger: Ledger):
    claim, bookings = await held(ledger), Bookings()
    for _ in range(3):
        assert await once(ledger, Effect("c-1", turn=4, n=0), bookings.book, claim) == "table 1"
    assert bookings.made == ["c-1:4:0"]


async def test_the_next_owner_gets_the_result_and_books_nothing(ledger: Ledger):
    claim, bookings = await held(ledger), Bookings()
    await once(ledger, Effect("c-1", 4, 0), bookings.book, claim)
    successor = await taken_over(ledger, claim)
    assert await once(ledger, Effect("c-1", 4, 0), bookings.book, successor) == "table 1"
    assert await once(ledger, Effect("c-1", 4, 1), bookings.book, successor) == "table 2"  # another effect of the turn
    assert bookings.made == ["c-1:4:0", "c-1:4:1"]


async def test_what_was_begun_and_not_done_is_not_repeated_blindly(ledger: Ledger):
    claim, bookings = await held(ledger), Bookings()
    bookings.breaks = True
    with pytest.raises(ConnectionResetError):
        await once(ledger, Effect("c-1", 4, 0), bookings.book, claim)
    successor, bookings.breaks = await taken_over(ledger, claim), False
    with pytest.raises(NotDone) as unclear:
        await once(ledger, Effect("c-1", 4, 0), bookings.book, successor)
    assert unclear.value.state is State.BEGUN
    assert len(bookings.made) == 1

    # The restaurant takes our key, so it may be asked again, with the same one.
    assert await once(ledger, Effect("c-1", 4, 0), bookings.book, successor, again=True) == "table 2"
    assert bookings.made == ["c-1:4:0", "c-1:4:0"]


async def test_whoever_was_replaced_begins_nothing_and_overwrites_nothing(ledger: Ledger):
    claim, bookings = await held(ledger), Bookings()
    late = Effect("c-1", 4, 0)
    assert await ledger.begin_effect(late, claim) == NEW
    successor = await taken_over(ledger, claim)
    with pytest.raises(NotDone) as fenced:
        await once(ledger, Effect("c-1", 5, 0), bookings.book, claim)
    assert fenced.value.state is State.FENCED
    assert bookings.made == []
    assert (await ledger.finish_effect(late, "too late", claim)).state is State.FENCED
    assert (await ledger.begin_effect(Effect("c-1", 4, 0), successor)).state is State.BEGUN


async def test_a_lost_answer_does_not_make_us_a_stranger_to_ourselves(ledger: Ledger):
    claim, effect = await held(ledger), Effect("c-1", 4, 0)
    assert [await ledger.begin_effect(effect, claim) for _ in range(2)] == [NEW, NEW]
    assert (await ledger.begin_effect(Effect("c-1", 4, 0), claim)).state is State.BEGUN


async def test_of_two_edges_that_are_told_at_once_one_acts(ledger: Ledger):
    await held(ledger)
    bookings = Bookings()
    asked = [once(ledger, Effect("c-1", name="voicemail"), bookings.book) for _ in range(8)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert bookings.made == ["c-1:voicemail"]
    assert outcomes.count("table 1") >= 1
    assert {error.state for error in outcomes if isinstance(error, NotDone)} <= {State.BEGUN}
    assert all(isinstance(outcome, str | NotDone) for outcome in outcomes)


async def test_the_first_result_holds(ledger: Ledger):
    claim, effect = await held(ledger), Effect("c-1", 4, 0)
    await ledger.begin_effect(effect, claim)
    assert await ledger.finish_effect(effect, "table 1", claim) == Known(State.DONE, "table 1")
    assert await ledger.finish_effect(effect, "table 2", claim) == Known(State.DONE, "table 1")


async def test_effects_are_bounded(ledger: Ledger):
    claim = await held(ledger)
    for turn in range(EFFECTS_MAX):
        assert await ledger.begin_effect(Effect("c-1", turn), claim) == NEW
    assert (await ledger.begin_effect(Effect("c-1", EFFECTS_MAX), claim)).state is State.FULL
    assert (await ledger.begin_effect(Effect("c-1", 7), claim)).state is State.BEGUN  # what is there stays known

    async def book(key: str) -> str:
        return "x" * (RESULT_CHARS_MAX + 1)

    with pytest.raises(ValueError, match="16384"):
        await once(ledger, Effect("c-2", 1), book)


@pytest.mark.parametrize("fixture", ["valkey_url", "redis7_url"])
async def test_effects_go_when_their_call_goes(request: pytest.FixtureRequest, fixture: str):
    url = request.getfixturevalue(fixture)
    async with connect_ledger(url, "test", RETENTION_S) as ledger, redis.Redis.from_url(url) as client:
        claim = await held(ledger)
        await ledger.begin_effect(Effect("c-1", 1), claim)
        await client.expire(call_effects("c-1"), 5)
        await ledger.touch(["c-1"])
        assert await client.ttl(call_effects("c-1")) > RETENTION_S  # while the call lives, however long
        await ledger.end("c-1", "caller hung up")
        assert 0 < await client.ttl(call_effects("c-1")) <= RETENTION_S
        await ledger.begin_effect(Effect("c-2", name="voicemail"))  # a call that is not live
        assert 0 < await client.ttl(call_effects("c-2")) <= RETENTION_S
