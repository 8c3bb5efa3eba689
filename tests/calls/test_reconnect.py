"""The edge dies, and the carrier comes back to another one."""

import pytest

from common.protocol.messages import CallStarted, UserTurn
from tests.calls.phone import answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ANSWER = "We are open from Monday to Friday. On Saturday we open at ten. On Sunday we are closed."


async def test_the_caller_is_not_greeted_twice_and_is_understood_at_the_new_edge():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.edge_dies()
        await phone.after(2)
        assert phone.heard == ""
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert [message.epoch for message in phone.events if isinstance(message, CallStarted)] == [1, 2]


async def test_an_answer_that_was_cut_off_goes_on_from_the_word():
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("On Saturday")
        await phone.edge_dies()
        await phone.hears("On Sunday we are closed.")
        assert "Monday to Friday." in phone.heard_before
        assert phone.heard.startswith("Saturday we open at ten.")


async def test_what_the_caller_said_before_the_edge_died_is_still_answered():
    async with answered_call({"hours": "Nine to six."}) as phone:
        phone.mind.word_seconds = 0.5
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(0.7)  # the mind is thinking
        await phone.edge_dies()
        await phone.hears("Nine to six.")


async def test_a_sentence_that_the_reconnect_cuts_in_two_is_heard_in_both_parts():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        phone.starts_saying("i would like to ask something")
        await phone.after(0.8)
        await phone.edge_dies(away_seconds=0.2)
        await phone.silence()
        turns = " ".join(message.text for message in phone.events if isinstance(message, UserTurn))
        assert turns == "i would like to ask something"


async def test_the_end_of_the_old_socket_does_not_end_the_call():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        old = phone.call
        await phone.edge_dies()
        old._bus = phone.bus  # it was only cut off, and its end is published late
        old.end("caller hung up")
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert not await phone.store.end("call-1", "caller hung up", epoch=1)


async def test_no_clause_is_voiced_twice_for_a_new_connection():
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("On Saturday")
        await phone.edge_dies()
        await phone.hears("On Sunday we are closed.")
        assert " ".join(phone.mouth.said) == f"Hello. {ANSWER}"


async def test_a_clause_that_is_being_voiced_when_the_edge_dies_goes_on_and_is_heard_from_the_word():
    async with answered_call({"hours": "We are open from Monday to Friday."}) as phone:
        phone.mouth.chunk_seconds = 0.5
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("We are")
        await phone.edge_dies(away_seconds=0.2)
        await phone.hears("to Friday.")
        assert phone.heard == "are open from Monday to Friday."
        assert phone.mouth.said == ["Hello.", "We are open from Monday to Friday."]
