"""The edge is told to go, and hands its call over when nobody is speaking."""

import asyncio

import pytest

from common.bus.memory import MemoryBus
from common.protocol.messages import UserTurn
from edge.session.calls import Calls
from edge.session.reconnect_silence import fill_silence
from tests.calls.phone import answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

LONG = "We are open from Monday to Friday. On Saturday we open at ten. On Sunday we are closed, I am sorry to say."


async def test_a_call_is_handed_over_between_the_callers_words_and_the_answer():
    async with answered_call({"hours": LONG}) as phone:
        phone.mind.word_seconds = 0.4
        await phone.hears("Hello.")
        await phone.silence()
        (call,) = phone.calls.live()
        going = asyncio.create_task(phone.calls.hand_over_between_turns())
        phone.starts_saying("hours")
        await phone.after(0.25)
        assert not call.lifecycle.handed_over  # the caller speaks
        await phone.after(0.4)
        assert call.lifecycle.handed_over  # they have fallen silent
        going.cancel()
        await phone.edge_dies(away_seconds=0.3)
        await phone.hears("sorry to say.")
        assert phone.heard == LONG.replace(". ", ".")
        assert phone.heard_before == "Hello."


async def test_a_call_in_which_that_moment_does_not_come_is_handed_over_all_the_same():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        (call,) = phone.calls.live()
        going = asyncio.create_task(phone.calls.hand_over_between_turns())
        await phone.after(7.5)
        assert not call.lifecycle.handed_over
        await phone.after(1.0)
        assert call.lifecycle.handed_over
        await going


async def test_the_carriers_pause_is_spent_on_the_wait_for_the_answer():
    async with answered_call({"hours": "At nine."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        asyncio.create_task(phone.calls.hand_over_between_turns())  # noqa: RUF006 - ends with the test
        phone.starts_saying("hours")
        await phone.until(lambda: phone.call.lifecycle.handed_over, "the handover")
        assert not any(isinstance(message, UserTurn) for message in phone.events)
        await phone.edge_lets_go(away_seconds=0.6)
        assert [message.text for message in phone.events if isinstance(message, UserTurn)] == ["hours"]
        await phone.after(0.1)
        assert phone.heard, "the answer was ready, and waits for nothing more"
        await phone.hears("At nine.")


async def test_what_the_caller_says_next_is_understood_after_a_bridged_pause():
    async with answered_call({"hours": "At nine.", "thanks": "Bye."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        asyncio.create_task(phone.calls.hand_over_between_turns())  # noqa: RUF006 - ends with the test
        phone.starts_saying("hours")
        await phone.until(lambda: phone.call.lifecycle.handed_over, "the handover")
        await phone.edge_lets_go(away_seconds=0.3)
        await phone.hears("At nine.")
        await phone.silence()
        await phone.says("thanks")
        await phone.hears("Bye.")
        assert [message.text for message in phone.events if isinstance(message, UserTurn)] == ["hours", "thanks"]


async def test_a_call_whose_answer_is_about_to_come_is_not_handed_over_before_it():
    async with answered_call({"hours": "At nine."}) as phone:
        phone.mind.word_seconds = 0.3
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(0.5)
        assert phone.call.turn.between
        going = asyncio.create_task(phone.calls.hand_over_between_turns())
        await phone.hears("At nine.")
        assert not phone.call.lifecycle.handed_over
        await phone.says("thanks")
        await phone.after(0.4)
        assert phone.call.lifecycle.handed_over, "after the next words"
        going.cancel()


async def test_a_sentence_in_which_the_line_breaks_is_not_ended_by_our_own_silence():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        phone.starts_saying("i would like to ask something")
        await phone.after(0.8)
        frames = phone.call.frames_in
        await fill_silence(phone.call)
        assert phone.call.frames_in == frames


class CutOff(MemoryBus):
    """Redis is away, as the edge sees it."""

    def away_s(self, call_id: str = "") -> float:
        return 1.0


async def test_nobody_is_handed_over_while_their_words_cannot_leave_the_edge():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        await phone.silence()
        calls = Calls("edge-1", CutOff(phone.streams), phone.store, calls_max=10)
        calls.add(phone.call)
        going = asyncio.create_task(calls.hand_over_between_turns())
        await phone.says("hours")
        await phone.after(0.4)
        assert phone.call.turn.between
        assert not phone.call.lifecycle.handed_over, "the next edge's audio would overtake it"
        going.cancel()
