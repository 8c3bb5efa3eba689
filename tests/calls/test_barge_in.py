"""The caller takes the turn back."""

import pytest

from common.protocol.messages import AudioOut, Interrupted, PlaybackStarted, ReplyResumed
from common.protocol.redis_keys import edge_audio
from edge.session.call import CallOptions
from tests.calls.doubles import TextEars, spoken
from tests.calls.phone import answered_call
from workers.providers.interfaces import ListenOptions

pytestmark = pytest.mark.anyio

LONG = "We are open from Monday to Friday from nine to six, and on Saturday from ten to two in the afternoon."


async def test_the_agent_stops_when_the_caller_speaks():
    async with answered_call({"hours": LONG, "wait stop": "Of course."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        phone.starts_saying("wait stop")
        began = phone.call._ticker.now_ms()
        await phone.hears("Of course.")
        (cleared,) = phone.line.clears
        assert 139 <= cleared * 1000 - began <= 160 + 40  # 8 frames of speech count as speech; then at once
        heard = phone.heard.replace("Hello.", "").replace("Of course.", "")
        assert LONG.startswith(heard.strip())
        assert len(heard) < len(LONG) / 2


async def test_the_history_holds_what_was_heard_and_not_a_word_more():
    async with answered_call({"hours": LONG, "wait stop": "Of course."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Friday")
        await phone.says("wait stop")
        await phone.hears("Of course.")
        remembered = phone.mind.asked[-1][-2]["content"]
        assert remembered.endswith("—")
        words = remembered.removesuffix("—").split()
        heard = phone.heard.replace("Hello.", "").replace("Of course.", "").split()
        assert words == LONG.split()[: len(words)]
        assert len(heard) - 2 <= len(words) <= len(heard)  # a word that was cut in two was not heard


async def test_nothing_of_the_old_reply_is_heard_after_the_clear():
    async with answered_call({"hours": LONG, "wait stop": "Of course."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await phone.says("wait stop")
        await phone.hears("Of course.")
        await phone.silence()
        assert phone.heard.endswith("Of course.")
        assert phone.heard.count("Monday") == 1
        assert phone.mind.open == 0  # the model's request was closed


async def test_audio_of_the_old_reply_that_was_on_its_way_is_never_heard():
    async with answered_call({"hours": LONG, "wait stop": "Of course."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await phone.says("wait stop")
        stale = AudioOut("call-1", 1, 1, 2, 7, 0, b"".join(spoken("STALE")), last=True)
        phone.bus.publish(edge_audio("edge-1"), stale)
        await phone.hears("Of course.")
        assert "STALE" not in phone.heard


async def test_a_mouth_that_was_replaced_is_not_heard():
    async with answered_call({"hours": LONG}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        for token, text in ((9, "NEW"), (1, "ZOMBIE")):
            audio = AudioOut("call-1", 1, token, 3, 0, 0 if token == 9 else 9, b"".join(spoken(text)))
            phone.bus.publish(edge_audio("edge-1"), audio)
        await phone.hears("NEW")
        await phone.after(2)
        assert "ZOMBIE" not in phone.heard


async def test_new_audio_waits_for_the_carriers_answer_to_the_clear():
    async with answered_call({"hours": LONG, "wait stop": "Of course."}) as phone:
        phone.line.CLEAR_SECONDS = 0.9  # the line raises if audio comes before
        phone.mind.word_seconds = phone.mouth.first_chunk_seconds = 0.0
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await phone.says("wait stop")
        await phone.hears("Of course.")


async def test_a_caller_who_goes_on_before_the_answer_began_gets_one_answer_to_both():
    async with answered_call({"what about sunday": "Closed on Sunday."}) as phone:
        phone.mind.word_seconds = 1.0
        await phone.hears("Hello.")
        await phone.says("when are you open")
        await phone.after(0.8)  # the model is thinking
        phone.mind.answers["when are you open what about sunday"] = "Closed on Sunday."
        await phone.says("what about sunday")
        await phone.hears("Closed on Sunday.")
        assert phone.mind.asked[-1][-1] == {"role": "user", "content": "when are you open what about sunday"}
        assert "I do not" not in phone.heard


async def test_a_cough_before_the_answer_began_does_not_lose_the_answer():
    async with answered_call({"hours": "Nine to six."}) as phone:
        phone.mind.word_seconds = 0.5
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(0.7)
        phone.coughs()
        await phone.hears("Nine to six.")


async def test_the_model_is_not_told_that_it_said_what_nobody_heard():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        phone.mouth.first_chunk_seconds = 2.0
        await phone.says("hours")
        await phone.after(1.0)  # the answer's text is there, its audio is not
        await phone.says("on sunday")
        await phone.hears("I do not know.")
        assert phone.mind.asked[-1][-1] == {"role": "user", "content": "hours on sunday"}


async def test_the_greeting_can_be_interrupted_too():
    async with answered_call({"hours": "Nine to six."}, greeting=LONG) as phone:
        await phone.hears("open")
        await phone.says("hours")
        await phone.hears("Nine to six.")
        interrupted = [message.turn for message in phone.events if isinstance(message, Interrupted)]
        assert interrupted == [1, 1]  # at the first sound, and for good


async def test_an_agent_that_may_not_be_interrupted_finishes_first():
    async with answered_call(
        {"hours": "Nine to six."}, greeting=LONG, options=CallOptions(interruptible=False)
    ) as phone:
        await phone.hears("Monday")
        await phone.says("hours")
        await phone.hears(LONG.split()[-1])
        assert phone.line.clears == []


async def test_a_reply_counts_as_begun_only_when_its_first_frame_left():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert [message.turn for message in phone.events if isinstance(message, PlaybackStarted)] == [1, 2]


@pytest.mark.parametrize("end", ["the caller interrupts", "the caller hangs up", "the worker stops"])
async def test_a_voice_falls_silent_when_nobody_will_hear_the_rest(end: str):
    async with answered_call({"hours": "We are open from Monday to Friday."}) as phone:
        await phone.hears("Hello.")
        phone.mouth.chunk_seconds = 5.0
        await phone.says("hours")
        await phone.hears("We are")
        assert phone.mouth.cut == []
        match end:
            case "the caller interrupts":
                await phone.says("stop")
                await phone.after(0.6)  # then there are words
            case "the caller hangs up":
                phone.hangs_up()
                await phone.after(0.1)
            case "the worker stops":
                await phone.worker("tts").stop()
        assert phone.mouth.cut == ["We are open from Monday to Friday."]


# --- was it speech? -----------------------------------------------------------------------------------------------


def joined(text: str) -> str:
    """Without spaces: between two clauses none is spoken."""
    return "".join(text.split())


async def test_after_a_cough_the_agent_goes_on_from_the_very_syllable():
    async with answered_call({"hours": LONG}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        phone.coughs()
        await phone.after(0.5)
        assert phone.line.quiet
        assert len(phone.line.clears) == 1
        await phone.after(1.0)
        assert phone.line.quiet
        await phone.after(0.15)  # 200 ms of noise, as much until it counts as over, and 1.2 s for words of it
        assert not phone.line.quiet
        await phone.hears("afternoon.")
        await phone.silence()
        assert joined(phone.heard) == joined(f"Hello.{LONG}")
        assert phone.transcript.exchanges[-1].heard == LONG
        assert phone.mouth.said.count(LONG) <= 1
        assert [type(event) for event in phone.events if isinstance(event, (Interrupted, ReplyResumed))] == [
            Interrupted,
            ReplyResumed,
        ]


async def test_a_nod_is_no_turn():
    async with answered_call({"hours": LONG, "and on sunday": "Closed."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await phone.says("Mm-hm.")
        await phone.hears("afternoon.")
        await phone.silence()
        assert joined(phone.heard) == joined(f"Hello.{LONG}")
        await phone.says("and on sunday")
        await phone.hears("Closed.")
        assert [message["content"] for message in phone.mind.asked[-1]][-3:] == ["hours", LONG, "and on sunday"]


@pytest.mark.parametrize("coughs", [False, True])
async def test_a_nod_while_the_agent_listens_is_an_answer(coughs: bool):
    async with answered_call({"Mm-hm.": "I take that for a yes."}, greeting=LONG) as phone:
        await phone.hears("Monday")
        if coughs:
            phone.coughs()
        await phone.hears("afternoon.")
        await phone.silence()
        await phone.says("Mm-hm.")
        await phone.hears("I take that for a yes.")


async def test_a_cough_while_the_mind_is_still_writing_costs_no_word():
    async with answered_call({"hours": LONG}) as phone:
        phone.mind.word_seconds = 0.35
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("We are")
        phone.coughs()
        await phone.hears("afternoon.")
        assert joined(phone.heard) == joined(f"Hello.{LONG}")
        assert len(phone.mind.asked) == 1


async def test_two_coughs():
    async with answered_call({"hours": LONG}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        phone.coughs()
        await phone.after(0.9)
        phone.coughs()
        await phone.after(0.9)
        assert not phone.heard.endswith("afternoon.")
        await phone.hears("afternoon.")
        await phone.says("thanks")
        await phone.hears("I do not know.")
        assert joined(phone.heard) == joined(f"Hello.{LONG}I do not know.")


async def test_words_of_slow_ears_stop_the_agent_late_but_they_do():
    async with answered_call({"hours": LONG, "stop": "Of course."}, ears=TextEars(late_seconds=1.5)) as phone:
        phone.listen = ListenOptions(eager_endpointing_ms=0)
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await phone.says("stop")
        await phone.hears("Of course.")
        await phone.silence()
        assert phone.heard.endswith("Of course.")
        assert [type(event) for event in phone.events if isinstance(event, (Interrupted, ReplyResumed))] == [
            Interrupted,
            ReplyResumed,
            Interrupted,
        ]
        heard = phone.heard.removeprefix("Hello.").removesuffix("Of course.")
        assert joined(LONG).startswith(joined(heard))
        assert len(heard) < len(LONG)


@pytest.mark.parametrize("pool", ["stt", "llm", "tts"])
async def test_a_worker_that_dies_while_the_agent_waits_for_words_loses_none(pool: str):
    async with answered_call({"hours": LONG}) as phone:
        phone.hire(pool)
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        phone.coughs()
        await phone.after(0.45)
        await phone.worker(pool).kill()
        await phone.hears("afternoon.")
        assert joined(phone.heard) == joined(f"Hello.{LONG}")


@pytest.mark.parametrize(
    "deadline",
    [ListenOptions(eager_endpointing_ms=0), ListenOptions(endpointing_ms=2500)],
    ids=["no early words", "late endpoint"],
)
async def test_words_are_an_interruption_however_the_ears_tell_them(deadline: ListenOptions):
    async with answered_call({"hours": LONG, "wait stop": "Of course."}, listen=deadline) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        phone.mind.word_seconds = 1.0  # the answer is not what stops it
        await phone.says("wait stop")
        await phone.hears("Of course.")
        assert not [event for event in phone.events if isinstance(event, ReplyResumed)]


async def test_a_nod_that_is_so_long_that_it_stops_the_agent_is_answered():
    async with answered_call({"hours": LONG, "mm hm mm hm mm hm mm": "Shall I go on?"}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await phone.says("mm hm mm hm mm hm mm")
        await phone.hears("Shall I go on?")
