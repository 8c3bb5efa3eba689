"""A warm transfer on the virtual clock: the caller stays until the person accepts; nobody is left alone in a room."""

from __future__ import annotations

import asyncio

import pytest

from common.store import CallLookup
from common.store.memory import MemoryCallStore
from tests.calls.legs import Person
from tests.calls.transferring import CALL, PERSON, Desk, transferring

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

TALKED = ["asked", "dialled", "ringing", "answered", "joined", "over"]
REASON = "The caller has lost a parcel."


async def test_the_person_is_briefed_accepts_by_key_and_both_are_in_one_room() -> None:
    async with transferring(Desk("warm")) as desk:
        await desk.order(reason=REASON)
        await desk.caller.over()
        assert desk.states == TALKED
        assert [outcome for outcome, _ in desk.results] == ["done"]
        assert desk.rung == [PERSON]
        assert desk.person.hears[0] == REASON
        assert "Press 1" in desk.person.hears[1]
        assert desk.caller.verbs[:3] == ["Stream", "Redirect", "Conference"]
        assert desk.ends == ["transferred"]
        await desk.legs["person-0"].over()


@pytest.mark.parametrize("says", ["Yes, put them through.", "haan ji", "Okay"])
async def test_the_person_accepts_by_a_word(says: str) -> None:
    async with transferring(Desk("warm", person=Person(keys="", says=says))) as desk:
        await desk.order()
        await desk.caller.over()
        assert desk.states == TALKED


@pytest.mark.parametrize(
    ("person", "words"),
    [
        (Person("no answer", ring_s=300), "Nobody answered."),
        (Person("busy"), "The line is busy."),
        (Person("declines"), "The person did not take the call."),
        (Person("failed"), "The number could not be reached."),
        (Person(keys="2"), "The person did not take the call."),
        (Person(keys=""), "The person did not take the call."),
        (Person(keys="", says="no, not now"), "The person did not take the call."),
        (Person(keys="", says="who is this"), "The person did not take the call."),
        (Person(keys="7"), "The person did not take the call."),
    ],
    ids=["no answer", "busy", "rejects", "fails", "key 2", "silence", "a no", "unclear words", "another key"],
)
async def test_the_person_does_not_take_the_call_and_the_caller_never_left(person: Person, words: str) -> None:
    async with transferring(Desk("warm", person=person)) as desk:
        await desk.order(reason=REASON)
        await desk.until(lambda: desk.results)
        assert desk.results == [("failed", words)]
        assert desk.states[-1] == "failed"
        record = await desk.record()
        assert (record.status, record.epoch) == ("live", 1)
        assert desk.caller.verbs == ["Stream"]
        assert len(desk.rung) == 1
        await desk.legs["person-0"].over()
        assert not desk.rooms


async def test_a_caller_does_not_wait_for_a_telephone_that_never_rings() -> None:
    async with transferring(Desk("warm", person=Person("is not rung"), target={"ring_s": 20})) as desk:
        began = asyncio.get_running_loop().time()
        await desk.order()
        await desk.until(lambda: desk.results)
        assert 40 <= asyncio.get_running_loop().time() - began < 42
        assert desk.results == [("failed", "The person could not be reached in time.")]
        assert desk.caller.verbs == ["Stream"]


async def test_who_presses_no_key_is_asked_twice() -> None:
    async with transferring(Desk("warm", person=Person(keys=""))) as desk:
        await desk.order(reason=REASON)
        await desk.until(lambda: desk.results)
        assert desk.person.hears.count(REASON) == 2


async def test_the_model_is_told_within_a_second_that_nobody_answers() -> None:
    async with transferring(Desk("warm", person=Person(ring_s=300), target={"ring_s": 20}, hangup_s=0.0)) as desk:
        began = asyncio.get_running_loop().time()
        await desk.order()
        await desk.until(lambda: desk.results)
        assert 20 < asyncio.get_running_loop().time() - began < 21


@pytest.mark.parametrize("ends_conferences", [True, False])
async def test_a_person_who_accepts_and_hangs_up_gives_the_caller_back(ends_conferences: bool) -> None:
    """Also on a carrier that leaves the caller alone in the room."""
    desk = Desk("warm", person=Person(talk_s=1.0), ends_conferences=ends_conferences)
    async with transferring(desk):
        await desk.order()
        await desk.until(lambda: desk.epochs == 2)
        await asyncio.sleep(5)
        assert [outcome for outcome, _ in desk.results] == ["failed"]
        assert (await desk.record()).status == "live"
        assert (f"transfer {CALL}" in desk.rest) is not ends_conferences
        assert not desk.rooms


@pytest.mark.parametrize("ends_conferences", [True, False])
async def test_a_caller_is_hung_up_when_the_person_leaves_after_a_talk(ends_conferences: bool) -> None:
    async with transferring(Desk("warm", ends_conferences=ends_conferences)) as desk:
        await desk.order()
        await desk.caller.over()
        assert desk.states == TALKED
        assert (f"hang up {CALL}" in desk.rest) is not ends_conferences


@pytest.mark.parametrize("ends_conferences", [True, False])
async def test_a_person_is_hung_up_when_the_caller_leaves(ends_conferences: bool) -> None:
    async with transferring(Desk("warm", ends_conferences=ends_conferences)) as desk:
        await desk.order()
        await desk.until(lambda: desk.states[-1:] == ["joined"])
        await asyncio.sleep(10)
        desk.caller.hangs_up()
        await desk.caller.over()
        await desk.legs["person-0"].over()
        assert desk.states == TALKED


@pytest.mark.parametrize("when", ["rings", "briefed", "accepted"])
async def test_a_caller_who_hangs_up_before_leaves_nobody_ringing_or_waiting(when: str) -> None:
    async with transferring(Desk("warm")) as desk:
        await desk.order(reason=REASON)
        await asyncio.sleep(5.0 if when == "briefed" else 1.0)
        if when == "accepted":
            await desk.until(lambda: desk.rooms)
        desk.caller.hangs_up()
        await desk.caller.over()
        await asyncio.wait_for(desk.legs["person-0"].over(), 30)
        joined = when == "accepted"  # by then both are in the room
        assert desk.states[-1] == ("over" if joined else "failed")
        assert [outcome for outcome, _ in desk.results] == ["done" if joined else "failed"]


async def test_a_warm_transfer_without_credentials_is_refused_with_words() -> None:
    async with transferring(Desk("warm", has_account=False)) as desk:
        await desk.order()
        await asyncio.sleep(1)
        assert [outcome for outcome, _ in desk.results] == ["refused"]
        assert (await desk.record()).status == "live"


async def test_everything_comes_three_times_and_the_person_is_rung_once() -> None:
    async with transferring(Desk("warm", copies=3)) as desk:
        for _ in range(3):
            await desk.order()
            await asyncio.sleep(1)
        await desk.caller.over()
        assert desk.states == TALKED
        assert len(desk.results) == len(desk.rung) == 1


async def test_the_same_request_once_more_takes_nobody_out_of_the_room() -> None:
    """Its first answer may be lost; that the caller has left the room says the URL behind the <Conference>."""
    async with transferring(Desk("warm")) as desk:
        await desk.order()
        await desk.until(lambda: "joined" in desk.states)
        again = await desk.posts(f"/after-stream?{desk.proven('/after-stream')}", {"CallUUID": CALL})
        assert b"<Conference" in again
        await desk.caller.over()
        assert desk.states == TALKED
        assert [outcome for outcome, _ in desk.results] == ["done"]


@pytest.mark.parametrize("person", [Person(), Person("busy"), Person(keys="2")], ids=["accepts", "busy", "declines"])
@pytest.mark.parametrize("after_s", [0.0, 0.2, 3.0, 4.5, 7.5, 9.0, 20.0])
async def test_the_edge_dies_in_each_state(person: Person, after_s: float) -> None:
    """The LLM worker repeats its order to each new connection until the log has the result."""
    async with transferring(Desk("warm", person=Person(person.does, keys=person.keys))) as desk:
        await desk.order()
        await asyncio.sleep(after_s)
        await desk.edge_dies()
        takes = person.does == "answers" and person.keys == "1"
        for _ in range(200):
            await asyncio.sleep(0.5)
            if not desk.results and (await desk.record()).status == "live":
                await desk.order()
        assert len(desk.rung) == 1
        assert len(desk.results) == 1
        if takes:
            assert desk.states[-2:] == ["joined", "over"]
            await desk.caller.over()
            await desk.legs["person-0"].over()
        else:
            assert desk.states[-1] == "failed"
            assert (await desk.record()).status == "live"


class Away(MemoryCallStore):
    """Answers nothing about transfers while `away`; with `deaf` the next change is made, and the answer lost."""

    away = deaf = leaves = False
    """`leaves`: it is away after that answer."""

    async def look_up(self, call_id: str) -> CallLookup:
        if self.away:
            raise ConnectionError("away")
        return await super().look_up(call_id)

    async def change_transfer(self, *about: object, **more: object) -> bool:
        if self.away:
            raise ConnectionError("away")
        changed = await super().change_transfer(*about, **more)  # type: ignore[arg-type]
        if self.deaf:
            self.deaf, self.away = False, self.leaves
            raise TimeoutError("no answer")
        return changed


@pytest.mark.parametrize("mode", ["cold", "warm"])
async def test_redis_answers_too_late_to_the_order(mode: str) -> None:
    desk = Desk(mode, ledgers=Away)
    async with transferring(desk):
        assert isinstance(desk.store, Away)
        desk.store.deaf = True
        await desk.order()
        await desk.caller.over()
        assert desk.states[-2:] == ["joined", "over"]
        assert len(desk.rung) == len(desk.results) == 1


@pytest.mark.parametrize("mode", ["cold", "warm"])
async def test_redis_loses_its_answer_and_is_away_for_longer_than_a_transfer_is_tried(mode: str) -> None:
    """It was begun, so it takes place: the model is not told the contrary."""
    desk = Desk(mode, ledgers=Away)
    async with transferring(desk):
        assert isinstance(desk.store, Away)
        desk.store.deaf = desk.store.leaves = True
        await desk.order()
        await asyncio.sleep(7)
        desk.store.away = False
        await desk.until(lambda: desk.results)
        assert desk.states[-2:] == ["joined", "over"]
        assert [outcome for outcome, _ in desk.results] == ["done"]


@pytest.mark.parametrize("mode", ["cold", "warm"])
@pytest.mark.parametrize("away_s", [2.0, 20.0])
async def test_redis_is_away_when_the_order_comes(mode: str, away_s: float) -> None:
    desk = Desk(mode, ledgers=Away)
    async with transferring(desk):
        assert isinstance(desk.store, Away)
        desk.store.away = True
        await desk.order()
        await asyncio.sleep(away_s)
        desk.store.away = False
        await asyncio.sleep(1)
        if away_s > 10:
            assert desk.results == [("failed", "Transfers are not possible at the moment.")]
            assert (await desk.record()).status == "live"
        else:
            await desk.caller.over()
            assert desk.states[-2:] == ["joined", "over"]


@pytest.mark.parametrize("mode", ["cold", "warm"])
async def test_redis_is_away_when_the_carrier_asks(mode: str) -> None:
    """It is asked to come again, for longer than a failover takes."""
    desk = Desk(mode, ledgers=Away, person=Person("busy") if mode == "cold" else Person())
    async with transferring(desk):
        assert isinstance(desk.store, Away)
        await desk.order()
        await desk.until(lambda: desk.states[-1:] == (["dialled"] if mode == "cold" else ["answered"]))
        desk.store.away = True
        await asyncio.sleep(6)
        desk.store.away = False
        if mode == "cold":
            await desk.until(lambda: desk.epochs == 2)
            assert desk.results == [("failed", "The line is busy.")]
        else:
            await desk.until(lambda: desk.results)
            assert (await desk.record()).status == "live"
