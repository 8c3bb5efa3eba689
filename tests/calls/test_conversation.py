"""An ordinary call: greeted, answered, and ended."""

import pytest

from common.protocol.messages import DtmfReceived, ReplyPlayed, UserTurn
from common.protocol.redis_keys import call_events
from edge.session.call import CallOptions
from tests.calls.doubles import TextEars
from tests.calls.phone import answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def test_the_caller_is_greeted_and_answered():
    async with answered_call({"when do you open": "We open at nine."}) as phone:
        await phone.hears("Hello.")
        await phone.says("when do you open")
        await phone.hears("We open at nine.")
        (greeting, exchange) = phone.transcript.exchanges
        assert (greeting.answered, greeting.utterance) == ("Hello.", 0)
        assert (exchange.understood, exchange.heard) == ("when do you open", "We open at nine.")
        assert phone.mind.asked == [
            [
                {"role": "system", "content": "Be brief."},
                {"role": "assistant", "content": "Hello."},
                {"role": "user", "content": "when do you open"},
            ]
        ]


async def test_each_answer_is_heard_once_and_whole_over_many_turns():
    answers = {f"question {n}": f"This is the answer to question {n} as far as I know." for n in "abcde"}
    async with answered_call(answers) as phone:
        await phone.hears("Hello.")
        for question, answer in answers.items():
            await phone.says(question)
            await phone.hears(answer)
            await phone.silence()
        assert phone.heard.replace(" ", "") == ("Hello." + "".join(answers.values())).replace(" ", "")
        assert [message.turn for message in phone.events if isinstance(message, ReplyPlayed)] == [1, 2, 3, 4, 5, 6]
        assert " ".join(phone.mouth.said) == " ".join(["Hello.", *answers.values()])  # each clause was voiced once


async def test_the_agent_says_goodbye_to_the_end_before_it_hangs_up():
    async with answered_call({"bye": "Goodbye, and thank you for calling. <end_call>"}) as phone:
        await phone.hears("Hello.")
        await phone.says("bye")
        await phone.hears("Goodbye, and thank you for calling.")
        await phone.after(1)
        assert phone.line.stopped
        assert phone.heard.endswith("Goodbye, and thank you for calling.")
        phone.hangs_up()  # the carrier closes the socket that we stopped
        assert await phone.ended() == "agent hung up"


async def test_when_the_caller_hangs_up_every_pool_lets_go():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        assert phone.ears.open == 1
        phone.hangs_up()
        assert await phone.ended() == "caller hung up"
        await phone.after(1)
        assert phone.ears.open == 0
        assert await phone.store.live() == []
        assert [worker.runner.refusal for worker in phone.workers] == ["", "", ""]


async def test_a_lost_checkpoint_answer_does_not_keep_the_agent_from_hanging_up():
    async with answered_call({"bye": "Goodbye. <end_call>"}) as phone:
        await phone.hears("Hello.")
        phone.line.answers_marks = False
        await phone.says("bye")
        await phone.hears("Goodbye.")
        await phone.after(3)
        assert phone.line.stopped


async def test_a_silent_line_is_hung_up_after_the_agents_limit():
    async with answered_call(options=CallOptions(silence_s_max=10)) as phone:
        assert await phone.ended() == "silence"
        assert phone.line.stopped


async def test_a_carrier_that_sends_no_audio_for_a_minute_has_no_caller_any_more():
    async with answered_call(options=CallOptions(silence_s_max=300)) as phone:
        await phone.hears("Hello.")
        phone._connected = False  # the socket stays open, and says nothing: no media, no stop, no hangup
        await phone.after(55)
        assert not phone.call.lifecycle.over
        await phone.after(10)
        assert await phone.ended() == "carrier"
        assert await phone.store.live() == []


async def test_no_call_is_longer_than_the_agents_limit():
    async with answered_call(options=CallOptions(call_s_max=30, silence_s_max=60)) as phone:
        assert await phone.ended() == "too long"


async def test_a_pressed_key_is_part_of_the_story():
    async with answered_call() as phone:
        phone._from_carrier('{"event":"dtmf","dtmf":{"track":"inbound","digit":"5"}}')
        await phone.after(0.1)
        assert [message.digit for message in phone.events if isinstance(message, DtmfReceived)] == ["5"]


async def test_when_the_model_fails_the_caller_is_told_and_can_ask_again():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        phone.mind.fails = 1
        await phone.says("hours")
        await phone.hears("Could you say that again, please?")
        await phone.says("hours")
        await phone.hears("Nine to six.")


async def test_when_the_voice_fails_twice_the_next_answer_is_to_both_questions():
    async with answered_call({"one": "First answer.", "one two": "Second answer."}) as phone:
        await phone.hears("Hello.")
        phone.mouth.fails = 2  # and once more, in vain
        await phone.says("one")
        await phone.after(3)
        await phone.says("two")
        await phone.hears("Second answer.")
        assert "First" not in phone.heard


async def test_words_that_come_late_are_not_lost_when_the_caller_already_speaks_again():
    async with answered_call({"one": "First."}, ears=TextEars(late_seconds=0.4)) as phone:
        await phone.hears("Hello.")
        phone.starts_saying("one")
        await phone.after(0.18 + 0.55)  # said, and endpointed; its words are still on their way
        await phone.says("and two")
        await phone.silence()
        turns = [(message.utterance, message.text) for message in phone.events if isinstance(message, UserTurn)]
        assert turns == [(1, "one"), (2, "and two")]


async def test_an_ear_that_dies_is_opened_again_and_hears_the_utterance_from_its_start():
    async with answered_call({"i have a question": "Go ahead."}) as phone:
        await phone.hears("Hello.")
        phone.starts_saying("i have a question")
        await phone.after(0.5)
        phone.ears.ears[0].breaks()
        await phone.hears("Go ahead.")
        turns = [message.text for message in phone.events if isinstance(message, UserTurn)]
        assert turns == ["i have a question"]


async def test_an_utterance_is_answered_once_however_often_it_is_reported():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Nine to six.")
        turn = next(message for message in phone.events if isinstance(message, UserTurn))
        phone.streams.append(call_events("call-1"), turn)
        await phone.silence()
        assert len(phone.mind.asked) == 1
