"""A side effect happens once, whoever asks for it and whoever dies on the way: both ledgers, one server or two."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from common.bus.memory import MemoryStreams
from common.call.once import NotDone, once
from common.protocol.redis_keys import call_effects
from common.store import CallRecord, CallStore, Claim
from common.store.effects import EFFECTS_MAX, RESULT_CHARS_MAX, Effect, EffectState, Known
from common.store.memory import MemoryCallStore
from common.store.shards import connect_store
from tests.conftest import server_url

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

RETENTION_S = 60
NEW = Known(EffectState.NEW)


class Bookings:
    """The other side: every booking that was made, by the key that came with it."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.breaks = False

    async def queue(self, key: str) -> str:
        self.made.append(key)
        if self.breaks:
            raise ConnectionResetError("the answer was lost")
        return f"table {len(self.made)}"


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CallStore]:
    if request.param == "memory":
        yield MemoryCallStore(MemoryStreams())
        return
    async with connect_store(server_url(request), "test", RETENTION_S) as connected:
        yield connected


async def held(store: CallStore, owner: str = "mind-1") -> Claim:
    """A live call, held by a mind."""
    await store.create(CallRecord("c-1"))
    await store.start("c-1", "edge-1")
    claim = await store.claim("llm", "c-1", owner)
    assert claim is not None
    return claim


async def taken_over(store: CallStore, claim: Claim) -> Claim:
    await store.release(claim)
    successor = await store.claim("llm", "c-1", "mind-2")
    assert successor is not None
    return successor


async def test_a_table_is_booked_once_however_often_the_turn_is_run(store: CallStore):
    claim, bookings = await held(store), Bookings()
    for _ in range(3):
        assert await once(store, Effect("c-1", turn=4, n=0), bookings.queue, claim) == "table 1"
    assert bookings.made == ["c-1:4:0"]


async def test_the_next_owner_gets_the_result_and_books_nothing(store: CallStore):
    claim, bookings = await held(store), Bookings()
    await once(store, Effect("c-1", 4, 0), bookings.queue, claim)
    successor = await taken_over(store, claim)
    assert await once(store, Effect("c-1", 4, 0), bookings.queue, successor) == "table 1"
    assert await once(store, Effect("c-1", 4, 1), bookings.queue, successor) == "table 2"  # another effect of the turn
    assert bookings.made == ["c-1:4:0", "c-1:4:1"]


async def test_what_was_begun_and_not_done_is_not_repeated_blindly(store: CallStore):
    claim, bookings = await held(store), Bookings()
    bookings.breaks = True
    with pytest.raises(ConnectionResetError):
        await once(store, Effect("c-1", 4, 0), bookings.queue, claim)
    successor, bookings.breaks = await taken_over(store, claim), False
    with pytest.raises(NotDone) as unclear:
        await once(store, Effect("c-1", 4, 0), bookings.queue, successor)
    assert unclear.value.state is EffectState.BEGUN
    assert len(bookings.made) == 1

    # The restaurant takes our key, so it may be asked again, with the same one.
    assert await once(store, Effect("c-1", 4, 0), bookings.queue, successor, again=True) == "table 2"
    assert bookings.made == ["c-1:4:0", "c-1:4:0"]


async def test_whoever_was_replaced_begins_nothing_and_overwrites_nothing(store: CallStore):
    claim, bookings = await held(store), Bookings()
    late = Effect("c-1", 4, 0)
    assert await store.begin_effect(late, claim) == NEW
    successor = await taken_over(store, claim)
    with pytest.raises(NotDone) as fenced:
        await once(store, Effect("c-1", 5, 0), bookings.queue, claim)
    assert fenced.value.state is EffectState.FENCED
    assert bookings.made == []
    assert (await store.finish_effect(late, "too late", claim)).state is EffectState.FENCED
    assert (await store.begin_effect(Effect("c-1", 4, 0), successor)).state is EffectState.BEGUN


async def test_a_lost_answer_does_not_make_us_a_stranger_to_ourselves(store: CallStore):
    claim, effect = await held(store), Effect("c-1", 4, 0)
    assert [await store.begin_effect(effect, claim) for _ in range(2)] == [NEW, NEW]
    assert (await store.begin_effect(Effect("c-1", 4, 0), claim)).state is EffectState.BEGUN


async def test_of_two_edges_that_are_told_at_once_one_acts(store: CallStore):
    await held(store)
    bookings = Bookings()
    asked = [once(store, Effect("c-1", name="voicemail"), bookings.queue) for _ in range(8)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert bookings.made == ["c-1:voicemail"]
    assert outcomes.count("table 1") >= 1
    assert {error.state for error in outcomes if isinstance(error, NotDone)} <= {EffectState.BEGUN}
    assert all(isinstance(outcome, str | NotDone) for outcome in outcomes)


async def test_the_first_result_holds(store: CallStore):
    claim, effect = await held(store), Effect("c-1", 4, 0)
    await store.begin_effect(effect, claim)
    assert await store.finish_effect(effect, "table 1", claim) == Known(EffectState.DONE, "table 1")
    assert await store.finish_effect(effect, "table 2", claim) == Known(EffectState.DONE, "table 1")


async def test_effects_are_bounded(store: CallStore):
    claim = await held(store)
    for turn in range(EFFECTS_MAX):
        assert await store.begin_effect(Effect("c-1", turn), claim) == NEW
    assert (await store.begin_effect(Effect("c-1", EFFECTS_MAX), claim)).state is EffectState.FULL
    assert (await store.begin_effect(Effect("c-1", 7), claim)).state is EffectState.BEGUN  # what is there stays known

    async def queue(key: str) -> str:
        return "x" * (RESULT_CHARS_MAX + 1)

    with pytest.raises(ValueError, match="16384"):
        await once(store, Effect("c-2", 1), queue)


@pytest.mark.parametrize("fixture", ["valkey_url", "redis7_url"])
async def test_effects_go_when_their_call_goes(request: pytest.FixtureRequest, fixture: str):
    url = request.getfixturevalue(fixture)
    async with connect_store(url, "test", RETENTION_S) as store, redis.Redis.from_url(url) as client:
        claim = await held(store)
        await store.begin_effect(Effect("c-1", 1), claim)
        await client.expire(call_effects("c-1"), 5)
        await store.heartbeat_calls(["c-1"])
        assert await client.ttl(call_effects("c-1")) > RETENTION_S  # while the call lives, however long
        await store.end("c-1", "caller hung up")
        assert 0 < await client.ttl(call_effects("c-1")) <= RETENTION_S
        await store.begin_effect(Effect("c-2", name="voicemail"))  # a call that is not live
        assert 0 < await client.ttl(call_effects("c-2")) <= RETENTION_S
