"""Answers that are ready before the turn is over: prepared at the likely end, unheard until it is the end."""

import asyncio

import pytest

from common.protocol.messages import (
    EagerUserTurn,
    ReplyDiscarded,
    ReplyReleased,
    ReplyStarted,
)
from tests.calls.phone import answered_call
from workers.providers.interfaces import ListenOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def waited_ms(phone) -> float:
    """From the caller's last word to the first sound of the answer."""
    begun = asyncio.get_running_loop().time()
    before = len(phone.heard)
    await phone.until(lambda: len(phone.heard) > before, "an answer")
    return (asyncio.get_running_loop().time() - begun) * 1000 - 3 * 20  # a character is heard with its last frame


async def test_the_answer_is_ready_when_the_turn_is_over():
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        phone.mind.word_seconds = 0.05
        phone.mouth.first_chunk_seconds = 0.15
        await phone.silence()
        await phone.says("hello")
        assert await waited_ms(phone) <= 550, "the silence that ends a turn takes 500 ms, and nothing comes on top"
        await phone.hears("Hi there.")
        decisions = EagerUserTurn | ReplyReleased | ReplyDiscarded
        seen = [type(event) for event in phone.events if isinstance(event, decisions)]
        assert seen == [EagerUserTurn, ReplyReleased]


async def test_without_preparation_the_caller_waits_for_it_all():
    listen = ListenOptions(eager_endpointing_ms=0)
    async with answered_call(answers={"hello": "Hi there."}, listen=listen) as phone:
        phone.mind.word_seconds = 0.05
        phone.mouth.first_chunk_seconds = 0.15
        await phone.silence()
        await phone.says("hello")
        assert await waited_ms(phone) >= 700


async def test_a_caller_who_goes_on_never_hears_what_was_prepared():
    answers = {"I want": "What do you want?", "I want tea": "Tea it is."}
    async with answered_call(answers=answers) as phone:
        await phone.silence()
        await phone.says("I want")
        await phone.after(0.4)
        await phone.says(" tea")
        await phone.hears("Tea it is.")
        await phone.silence()
        assert "What do" not in phone.heard
        assert phone.mouth.said[1:] == ["What do you want?", "Tea it is."], "it was prepared, and thrown away"
        assert [turn for turn in phone.events if isinstance(turn, ReplyDiscarded)] == [ReplyDiscarded(2)]
        assert phone.mind.asked[-1][-1] == {"role": "user", "content": "I want tea"}
        assert not any("What do" in line["content"] for line in phone.mind.asked[-1])


async def test_a_transcript_that_changes_at_the_end_is_answered_as_it_ends():
    async with answered_call(answers={"tea for to": "To what?", "tea for two": "Two it is."}) as phone:
        phone.ears.corrections = {"tea for to": "tea for two"}
        await phone.silence()
        await phone.says("tea for to")
        await phone.hears("Two it is.")
        await phone.silence()
        assert "To what?" not in phone.heard
        assert phone.mind.asked[-1][-1] == {"role": "user", "content": "tea for two"}


async def test_capitals_and_a_full_stop_are_no_change():
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        phone.ears.corrections = {"hello": "Hello."}
        await phone.silence()
        await phone.says("hello")
        await phone.hears("Hi there.")
        assert len([event for event in phone.events if isinstance(event, ReplyStarted)]) == 2


async def test_the_mind_dies_while_the_answer_is_kept():
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        phone.hire("llm")
        phone.starts_saying("hello")
        await phone.after(0.3 + 0.35)
        assert any(isinstance(event, EagerUserTurn) for event in phone.events)
        await phone.worker("llm").kill()
        await phone.hears("Hi there.")
        await phone.silence()
        assert phone.heard.count("Hi there.") == 1


async def test_the_mouth_dies_while_the_answer_is_kept():
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        phone.hire("tts")
        phone.starts_saying("hello")
        await phone.after(0.3 + 0.35)
        await phone.worker("tts").kill()
        await phone.hears("Hi there.")
        await phone.silence()
        assert phone.heard.count("Hi there.") == 1


async def test_the_edge_dies_while_it_keeps_the_answer():
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.after(0.35)
        await phone.edge_dies()
        await phone.hears("Hi there.")
        await phone.silence()
        assert phone.heard.count("Hi there.") == 1


async def test_a_farewell_that_was_prepared_does_not_hang_up_before_it_is_heard():
    answers = {"bye": "Goodbye. <end_call>", "bye and thanks": "You are welcome."}
    async with answered_call(answers=answers) as phone:
        await phone.silence()
        await phone.says("bye")
        await phone.after(0.42)
        await phone.says(" and thanks")
        await phone.hears("You are welcome.")
        assert not phone.call.lifecycle.stopped
