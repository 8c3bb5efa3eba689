"""The edge is told to go, and hands its call over when nobody is speaking."""

import asyncio

import pytest

from tests.calls.phone import answered_call

pytestmark = pytest.mark.anyio

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
        assert not call.handed_over  # the caller speaks
        await phone.after(0.4)
        assert call.handed_over  # they have fallen silent
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
        assert not call.handed_over
        await phone.after(1.0)
        assert call.handed_over
        await going
