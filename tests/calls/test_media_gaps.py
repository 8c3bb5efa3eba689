"""The carrier sends no media for a while: the line goes on in time, and so do the turns."""

import pytest

from common.protocol.messages import AudioIn, UserTurn
from common.protocol.redis_keys import call_audio
from edge.session.call import CallOptions
from tests.calls.doubles import SILENCE, media
from tests.calls.phone import CALL, Phone, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ANSWERS = {"hours": "Nine to six.", "thanks": "Bye."}


def turns(phone: Phone) -> list[str]:
    return [message.text for message in phone.events if isinstance(message, UserTurn)]


def frames(phone: Phone) -> list[bytes]:
    """What the ears got, in order."""
    audio = (message for _, message in phone.streams.after(call_audio(CALL), 0))
    return [message.mulaw for message in audio if isinstance(message, AudioIn)]


async def test_a_carrier_that_sends_media_only_while_the_caller_speaks_is_answered_as_soon_as_another():
    async with answered_call(ANSWERS) as phone:
        phone.muted = True
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(0.75)  # endpointing, and the model's first word
        assert turns(phone) == ["hours"]
        await phone.hears("Nine to six.")
        await phone.says("thanks")
        await phone.hears("Bye.")
        assert turns(phone) == ["hours", "thanks"]


async def test_a_caller_who_is_muted_for_40_s_is_still_there_and_is_understood():
    async with answered_call(ANSWERS) as phone:
        await phone.hears("Hello.")
        phone.muted = True
        await phone.after(40)
        assert not phone.call.lifecycle.over
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert turns(phone) == ["hours"]


@pytest.mark.parametrize("seconds", [0.15, 0.3, 1.0, 5.0])
async def test_a_call_lasts_as_long_by_its_audio_as_by_the_clock_whatever_the_gap(seconds: float):
    async with answered_call() as phone:
        await phone.hears("Hello.")
        before, clock = phone.call.frames_in, phone.call._ticker.now_ms()
        phone.muted = True
        await phone.after(seconds)
        phone.muted = False
        await phone.after(1)
        elapsed = (phone.call._ticker.now_ms() - clock) / 20
        assert phone.call.frames_in - before == pytest.approx(elapsed, abs=9)


@pytest.mark.parametrize("seconds", [0.15, 0.3, 1.0, 5.0])
async def test_silence_that_comes_late_in_a_heap_is_not_there_twice(seconds: float):
    async with answered_call() as phone:
        await phone.hears("Hello.")
        before, clock = phone.call.frames_in, phone.call._ticker.now_ms()
        await phone.stalls(seconds)
        await phone.after(1)
        elapsed = (phone.call._ticker.now_ms() - clock) / 20
        assert phone.call.frames_in - before == pytest.approx(elapsed, abs=4)


@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.45])
async def test_a_word_in_which_the_network_stands_still_is_understood_as_a_whole(seconds: float):
    async with answered_call({"please tell me the hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        phone.starts_saying("please tell me the hours")
        await phone.after(0.4)
        await phone.stalls(seconds)
        await phone.hears("Nine to six.")
        assert turns(phone) == ["please tell me the hours"]


async def test_no_word_is_lost_in_a_long_standstill():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        phone.starts_saying("please tell me the hours")
        await phone.after(0.4)
        await phone.stalls(2)
        await phone.silence()
        assert " ".join(turns(phone)).replace(" ", "") == "pleasetellmethehours"


async def test_a_stream_whose_first_media_come_late_is_listened_to_from_its_start():
    async with answered_call(ANSWERS) as phone:
        phone.muted = True
        await phone.after(3)
        assert phone.call.frames_in == pytest.approx(150, abs=2)
        await phone.says("hours")
        await phone.hears("Nine to six.")


async def test_the_agent_stops_for_a_caller_whose_media_begin_with_their_words():
    async with answered_call({"hours": "We are open from Monday to Friday, from nine to six."}) as phone:
        phone.muted = True
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("We are open")
        await phone.says("stop it please")
        await phone.after(0.3)
        assert phone.line.quiet
        assert phone.line.clears


async def test_nobody_is_on_the_line_when_no_media_come_for_a_minute_whatever_we_fill_in():
    async with answered_call(options=CallOptions(silence_s_max=600)) as phone:
        await phone.hears("Hello.")
        phone.muted = True
        await phone.after(59)
        assert not phone.call.lifecycle.over
        await phone.after(3)
        assert phone.call.lifecycle.reason == "carrier"


async def test_media_that_come_in_large_pieces_are_no_gaps():
    async with answered_call() as phone:
        phone.muted = True
        await phone.hears("Hello.")
        before = phone.call.frames_in
        for _ in range(20):
            await phone.after(0.2)
            phone._from_carrier(media(SILENCE * 10))
        assert phone.call.frames_in - before == pytest.approx(200, abs=12)


async def test_after_the_end_nothing_is_written():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        phone.hangs_up()
        await phone.after(0.1)
        count = len(frames(phone))
        await phone.after(2)
        assert len(frames(phone)) == count
