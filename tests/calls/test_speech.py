"""What is written, what is spoken, and what of it was heard."""

import pytest

from common.protocol.messages import ClauseSynthesized
from tests.calls.doubles import Mouth
from tests.calls.phone import answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def test_markup_and_amounts_are_spoken_and_the_history_keeps_what_was_written():
    async with answered_call(answers={"price": "It is **only** ₹500."}) as phone:
        await phone.silence()
        await phone.says("price")
        await phone.hears("It is only five hundred rupees.")
        await phone.silence()
        assert phone.transcript.exchanges[-1].heard == "It is **only** ₹500."


async def test_an_interruption_in_an_amount_is_cut_at_the_written_word():
    async with answered_call(answers={"price": "You pay ₹12,345 in all, and not more."}) as phone:
        phone.mouth.spells = True
        await phone.silence()
        await phone.says("price")
        await phone.hears("twelve thousand three hundred")
        phone.starts_saying("stop it please")
        await phone.silence()
        (spoken,) = [event for event in phone.events if isinstance(event, ClauseSynthesized) and event.turn == 2][:1]
        assert spoken.char_timings[:3] == ((0, 0), (4, 240), (8, 480)), "word times in the written text"
        assert phone.transcript.exchanges[1].heard == "You pay —"


async def test_a_clause_of_nothing_but_a_smile_is_not_spoken_and_does_no_harm():
    async with answered_call(answers={"hello": "Hi there.\n😀\n😀\nBye now."}) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.hears("Bye now.")
        await phone.silence()
        assert not phone.call.lifecycle.stopped


async def test_a_clause_that_came_without_sound_is_spoken_all_the_same():
    async with answered_call(answers={"when": "It is on Monday at five."}) as phone:
        await phone.silence()
        phone.mouth.empty = 1
        await phone.says("when")
        await phone.hears("It is on Monday at five.")
        await phone.silence()
        assert phone.mouth.said.count("It is on Monday at five.") == 2


async def test_a_voice_without_sound_gives_way_to_the_next():
    second = Mouth()
    async with answered_call(answers={"when": "It is on Monday at five."}, more={"tts": [second]}) as phone:
        await phone.silence()
        phone.mouth.empty = 99
        await phone.says("when")
        await phone.hears("It is on Monday at five.")
        assert second.said == ["It is on Monday at five."]
        assert phone.mouth.said.count("It is on Monday at five.") == 2


async def test_what_no_voice_spoke_is_in_nobodys_history():
    answers = {"when": "It is on Monday at five. Shall I book it?", "sorry": "Once more."}
    async with answered_call(answers=answers) as phone:
        await phone.silence()
        phone.mouth.empty = 2
        await phone.says("when")
        await phone.hears("Shall I book it?")
        await phone.silence()
        assert phone.transcript.exchanges[-1].heard == "Shall I book it?"
        await phone.says("sorry")
        await phone.hears("Once more.")
        assert "Monday" not in str(phone.mind.asked[-1])
