"""A cold transfer on the virtual clock: the caller reaches the person, or is with the agent again; nobody is lost."""

from __future__ import annotations

import asyncio

import pytest

from common.store.memory import MemoryCallStore
from tests.calls.legs import Person
from tests.calls.transferring import CALL, PERSON, Desk, transferring

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def test_the_person_answers_and_talks() -> None:
    async with transferring() as desk:
        await desk.order()
        await desk.caller.over()
        assert desk.states == ["asked", "dialled", "answered", "joined", "over"]
        assert [outcome for outcome, _ in desk.results] == ["done"]
        assert desk.rung == [PERSON]
        assert desk.caller.verbs == ["Stream", "Redirect", "Dial", "Hangup"]
        assert desk.ends == ["transferred"]
        assert desk.rest == []  # the carrier was asked nothing: the stream ended


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("no answer", "Nobody answered."),
        ("busy", "The line is busy."),
        ("declines", "The person did not take the call."),
        ("failed", "The number could not be reached."),
    ],
)
async def test_the_person_is_not_reached_and_the_agent_goes_on(does: str, words: str) -> None:
    async with transferring(Desk(person=Person(does))) as desk:
        await desk.order()
        await desk.until(lambda: desk.epochs == 2)
        assert desk.results == [("failed", words)]
        assert desk.states == ["asked", "dialled", "failed"]
        record = await desk.record()
        assert (record.status, record.epoch, record.ended_because) == ("live", 2, "")
        assert record.age_ms < 1_500
        desk.caller.hangs_up()
        await desk.caller.over()
        assert desk.results == [("failed", words)]


async def test_it_rings_as_long_as_the_agents_file_says_and_the_way_back_waits_for_nothing() -> None:
    async with transferring(Desk(person=Person(ring_s=300), target={"ring_s": 20})) as desk:
        began = asyncio.get_running_loop().time()
        await desk.order()
        await desk.until(lambda: desk.epochs == 2)
        assert 20 <= asyncio.get_running_loop().time() - began < 20.5


@pytest.mark.parametrize("talk_s", [0.0, 2.0])
async def test_a_person_who_hangs_up_at_once_or_a_mailbox_gives_the_caller_back(talk_s: float) -> None:
    async with transferring(Desk(person=Person(talk_s=talk_s))) as desk:
        await desk.order()
        await desk.until(lambda: desk.epochs == 2)
        assert desk.states == ["asked", "dialled", "answered", "joined", "failed"]
        assert [outcome for outcome, _ in desk.results] == ["failed"]


async def test_the_person_hears_the_whisper_first() -> None:
    desk = Desk(target={"whisper": "A caller from the web site."})
    async with transferring(desk):
        await desk.order()
        await desk.caller.over()
        assert desk.person.hears == ["A caller from the web site."]
        assert desk.states == ["asked", "dialled", "answered", "joined", "over"]


async def test_a_caller_who_hangs_up_while_it_rings_is_no_ones_any_more() -> None:
    async with transferring(Desk(person=Person(ring_s=20))) as desk:
        await desk.order()
        await asyncio.sleep(5)
        desk.caller.hangs_up()
        await desk.caller.over()
        assert desk.states == ["asked", "dialled", "failed"]
        assert desk.results == [("failed", "The caller hung up.")]
        assert (await desk.record()).ended_because == "transferred"
        assert desk.epochs == 1


async def test_everything_comes_three_times_and_counts_once() -> None:
    async with transferring(Desk(copies=3)) as desk:
        for _ in range(3):
            await desk.order()
        await desk.caller.over()
        assert desk.states == ["asked", "dialled", "answered", "joined", "over"]
        assert len(desk.results) == len(desk.rung) == 1
    async with transferring(Desk(copies=3, person=Person("busy"))) as desk:
        await desk.order()
        await desk.until(lambda: desk.epochs == 2)
        assert len(desk.results) == len(desk.rung) == 1


async def test_a_late_copy_about_an_earlier_transfer_does_not_fail_the_next_one() -> None:
    async with transferring(Desk(person=Person("busy"))) as desk:
        await desk.order()
        await desk.until(lambda: desk.epochs == 2)
        await asyncio.sleep(1)
        desk.person.does, desk.person.ring_s = "answers", 10.0
        await desk.order(turn=5)
        await desk.until(lambda: len(desk.rung) == 2)
        late = {**desk.caller.fields, "Event": "DialAction", "DialStatus": "busy", "attempt": "3.1"}
        await desk.posts("/dial-status", late)
        await desk.posts("/transfer-events", {**late, "Event": "DialConnected"})
        await desk.caller.over()
        assert desk.states == ["asked", "dialled", "failed", "asked", "dialled", "answered", "joined", "over"]
        assert [outcome for outcome, _ in desk.results] == ["failed", "done"]


@pytest.mark.parametrize(
    ("order", "outcome"),
    [({"target": "nobody"}, "refused"), ({"agent": "another"}, "refused")],
)
async def test_an_order_that_cannot_be_carried_out_leaves_the_caller_with_the_agent(
    order: dict[str, str], outcome: str
) -> None:
    async with transferring() as desk:
        await desk.order(**order)
        await asyncio.sleep(1)
        assert [result for result, _ in desk.results] == [outcome]
        assert (await desk.record()).status == "live"
        assert desk.rung == desk.states == []


async def test_two_transfers_at_once_are_one() -> None:
    async with transferring(Desk("warm", person=Person(ring_s=10))) as desk:
        await desk.order(n=1)
        await desk.order(n=2)
        await asyncio.sleep(1)
        assert desk.results == [("refused", "Another transfer is under way, or there were too many.")]
        assert desk.rung == [PERSON]


async def test_a_carrier_that_does_not_close_the_stream_is_taken_there_by_rest() -> None:
    async with transferring(Desk(minds_stop=False)) as desk:
        await desk.order()
        await desk.caller.over()
        assert desk.rest == [f"transfer {CALL}"]
        assert desk.states == ["asked", "dialled", "answered", "joined", "over"]
        assert len(desk.rung) == 1


async def test_a_carrier_that_rings_already_is_not_sent_there_again() -> None:
    """The end of the stream did not reach its edge, but the carrier has asked another one what follows."""
    async with transferring(Desk(minds_stop=False, person=Person(ring_s=20))) as desk:
        await desk.order()
        await asyncio.sleep(1)
        desk.new_edge()
        await desk.posts(f"/after-stream?{desk.proven('/after-stream')}", desk.caller.fields)
        await asyncio.sleep(5)
        assert desk.rest == []


# --- whoever dies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("does", ["answers", "busy"])
@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.3, 4.2, 20.0])
async def test_the_edge_dies_in_each_state(does: str, after_s: float) -> None:
    """Before the stream is closed, while it rings, when the person answers, and while they talk or the caller comes
    back.
    """
    async with transferring(Desk(person=Person(does))) as desk:
        await desk.order()
        await asyncio.sleep(after_s)
        await desk.edge_dies()
        if does == "busy":
            await desk.until(lambda: desk.epochs >= 2 and desk.states[-1] == "failed")
            await asyncio.sleep(3)
            assert (await desk.record()).status == "live"
        else:
            await desk.caller.over()
            assert desk.states == ["asked", "dialled", "answered", "joined", "over"]
        assert len(desk.results) == len(desk.rung) == 1


async def test_the_edge_dies_with_the_order_and_the_next_one_gets_it_again() -> None:
    async with transferring() as desk:
        await desk.edge_dies()
        await desk.until(lambda: desk.epochs == 2)
        await asyncio.sleep(0.5)
        await desk.order()
        await desk.caller.over()
        assert desk.states == ["asked", "dialled", "answered", "joined", "over"]


class Forgetful(MemoryCallStore):
    """Loses everything when it is asked to, as a server without persistence does."""

    def forget(self) -> None:
        self._calls.clear()


@pytest.mark.parametrize("does", ["answers", "busy"])
async def test_redis_loses_everything_while_it_rings(does: str) -> None:
    """The caller who comes back begins anew with the agent; who talks is not disturbed."""
    async with transferring(Desk(person=Person(does), ledgers=Forgetful)) as desk:
        await desk.order()
        await desk.until(lambda: desk.states[-1:] == ["dialled"])
        assert isinstance(desk.store, Forgetful)
        desk.store.forget()
        if does == "answers":
            await desk.caller.over()
            assert desk.caller.verbs == ["Stream", "Redirect", "Dial", "Hangup"]
        else:
            await desk.until(lambda: desk.epochs == 2)
            assert (await desk.record()).status == "live"
        assert len(desk.rung) == 1


async def test_keys_are_sent_once_and_their_failure_is_told() -> None:
    async with transferring() as desk:
        for _ in range(3):
            await desk.sends_keys("12")
        await desk.sends_keys("9", n=2)
        assert desk.keys_sent == ["12", "9"]
        assert desk.results == [
            ("done", "The keys were sent."),
            ("done", "The keys were sent."),
            ("done", "The keys were sent."),
            ("failed", "The keys could not be sent."),
        ]


async def test_an_order_of_a_worker_that_was_replaced_is_ignored() -> None:
    async with transferring() as desk:
        await desk.order(token=5)
        await desk.until(lambda: desk.epochs == 1 and desk.states)
    async with transferring() as desk:
        desk.edge.calls.live()[0].fences.admits("llm", 7)
        await desk.order(token=5)
        await desk.order(token=9, epoch=3)
        await asyncio.sleep(1)
        assert desk.states == desk.results == []


async def test_a_carrier_that_asks_again_while_they_talk_rings_nobody_again() -> None:
    async with transferring(Desk("cold")) as desk:
        await desk.order()
        await desk.until(lambda: "joined" in desk.states)
        await asyncio.sleep(5)
        answer = await desk.posts(f"/after-stream?{desk.proven('/after-stream')}", {"CallUUID": CALL})
        assert b"<Dial" not in answer
        assert desk.rung == [PERSON]
