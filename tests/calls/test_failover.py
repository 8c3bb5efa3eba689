"""A vendor's bad minute: the next one takes over, and the caller hears at most a pause."""

import pytest

from common.protocol.messages import ClauseSynthesized, UserTurn
from tests.calls.doubles import Mind, Mouth, TextEars
from tests.calls.phone import answered_call
from workers.providers.interfaces import SpeechEnd
from workers.stt.stream.reopening import OPENINGS_PER_MINUTE

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def test_a_model_that_is_down_is_replaced_before_the_caller_notices():
    second = Mind({"hello": "Hi there."})
    async with answered_call(more={"llm": [second]}) as phone:
        await phone.silence()
        phone.mind.fails = 99
        await phone.says("hello")
        await phone.hears("Hi there.")
        assert len(second.asked) == 1


async def test_a_model_that_breaks_off_is_continued_by_the_next():
    answer = "Of course, I can. We open at nine in the morning. We close at six."
    second = Mind({"hello": answer})
    async with answered_call(answers={"hello": answer}, more={"llm": [second]}) as phone:
        await phone.silence()
        phone.mind.breaks_after_words = 9
        await phone.says("hello")
        await phone.hears("We close at six.")
        await phone.silence()
        assert phone.heard.replace(" ", "") == f"Hello.{answer}".replace(" ", ""), "nothing twice, nothing missing"
        assert second.said == ["Of course, I can."], "it was told what had been said"


async def test_the_breaker_keeps_a_dead_model_out_of_the_way():
    second = Mind({"hello": "Hi there."})
    async with answered_call(more={"llm": [second]}) as phone:
        await phone.silence()
        phone.mind.fails = 99
        for _ in range(5):
            await phone.says("hello")
            await phone.silence()
        assert len(second.asked) == 5
        assert len(phone.mind.asked) == 4, "after three failures it is left alone, but for one probe"


async def test_two_replies_without_a_model_end_the_call_rather_than_apologise_for_ever():
    async with answered_call() as phone:
        await phone.silence()
        phone.mind.fails = 99
        await phone.says("hello")
        await phone.hears("say that again, please?")
        await phone.silence()
        await phone.says("hello again")
        assert await phone.ended() == "error"


async def test_a_voice_that_breaks_off_is_followed_by_the_next_at_the_same_word():
    second = Mouth()
    async with answered_call(answers={"hello": "We open at nine in the morning."}, more={"tts": [second]}) as phone:
        await phone.silence()
        phone.mouth.breaks_after_ms = 700
        await phone.says("hello")
        await phone.hears("in the morning.")
        await phone.silence()
        assert second.said[-1].startswith("nine"), "700 ms of speech end before the fourth word"
        spoken = [event for event in phone.events if isinstance(event, ClauseSynthesized)][-1]
        assert spoken.duration_ms == 700 + len(second.said[-1]) * 60


async def test_a_clause_that_no_voice_can_speak_twice_in_a_row_ends_the_call():
    async with answered_call(answers={"hello": "One is here. Two is here. Three is here."}) as phone:
        await phone.silence()
        phone.mouth.fails = 99
        await phone.says("hello")
        assert await phone.ended() == "error"


async def test_an_ear_that_dies_in_the_middle_of_a_sentence_loses_none_of_it():
    second = TextEars()
    async with answered_call(answers={"I would like some tea": "Tea it is."}, more={"stt": [second]}) as phone:
        await phone.silence()
        phone.starts_saying("I would like some tea")
        await phone.after(0.6)
        phone.ears.refuses = True
        phone.ears.ears[-1].breaks()
        await phone.hears("Tea it is.")
        assert [turn.text for turn in phone.events if isinstance(turn, UserTurn)] == ["I would like some tea"]
        assert len(second.ears) == 1


async def test_a_call_that_nobody_can_hear_is_given_up():
    async with answered_call() as phone:
        await phone.silence()
        phone.ears.refuses = True
        phone.ears.ears[-1].breaks()
        assert await phone.ended() == "error"


async def test_the_story_says_what_was_used_and_of_whom():
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.hears("Hi there.")
        await phone.silence()
        usage = phone.transcript.usage
        assert usage["tts", "test/tts-0", "characters"] == len("Hello.") + len("Hi there.")
        assert usage["stt", "test/stt-0", "audio_ms"] > 1500


async def test_ears_that_break_again_and_again_are_not_opened_in_a_rush():
    """Each of them hears that the caller speaks, and is gone: the same audio would be sent, and paid for, for ever."""
    async with answered_call() as phone:
        await phone.hears("Hello.")
        began = len(phone.ears.ears)
        for _ in range(600):  # a minute
            if phone.ears.open:
                phone.ears.ears[-1]._tell(SpeechEnd(0))
                phone.ears.ears[-1].breaks()
            await phone.after(0.1)
        assert 3 <= len(phone.ears.ears) - began <= OPENINGS_PER_MINUTE + 2


async def test_an_ear_that_breaks_once_is_replaced_at_once():
    async with answered_call({"hours": "Nine to six.", "thanks": "Bye."}) as phone:
        await phone.hears("Hello.")
        await phone.says("thanks")
        await phone.hears("Bye.")
        phone.ears.ears[-1].breaks()
        await phone.after(0.05)
        assert len(phone.ears.ears) == 2
        await phone.says("hours")
        await phone.hears("Nine to six.")
