"""One agent hands the call to another: voice, language, recognition and providers follow, whoever dies meanwhile."""

import pytest

from common.protocol.messages import AudioOut, Clause, ReplyEnded, ReplyStarted, UserTurn
from common.protocol.redis_keys import edge_audio
from tests.calls.handoff_phone import DESK, HandoffPhone, call_to_desk
from workers.providers.interfaces import VoiceOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ANSWERS = {"billing please": "One moment.", "how much": "Two hundred.", "thanks": "Bye."}
POOLS = ("stt", "tts")


async def asked_for_billing(phone: HandoffPhone) -> None:
    await phone.hears("Hello.")
    await phone.silence()
    await phone.asks("billing please", "One moment.")
    await phone.silence()


def turns(phone: HandoffPhone) -> list[tuple[int, str]]:
    return [(event.utterance, event.text) for event in phone.events if isinstance(event, UserTurn)]


async def test_the_next_agent_speaks_and_is_spoken_to_in_its_own_way():
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "billing")
        await phone.after(0.5)
        await phone.asks("how much", "Two hundred.")
        await phone.silence()
        assert [options.language for options in phone.ears.options] == ["en-IN", "hi"]
        assert (phone.ears.options[1].keyterms, phone.ears.options[1].endpointing_ms) == (("invoice",), 700)
        assert phone.mouth.voices["One moment."] == VoiceOptions("en-IN", "anna")
        assert phone.other_mouth.voices == {"Two hundred.": VoiceOptions("hi", "ravi")}
        assert turns(phone) == [(1, "billing please"), (2, "how much")]
        assert phone.ears.open == 1


async def test_it_may_be_handed_back():
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "billing")
        await phone.asks("how much", "Two hundred.")
        await phone.silence()
        phone.hands_over(4, "desk")
        await phone.asks("thanks", "Bye.")
        assert phone.mouth.voices["Bye."] == VoiceOptions("en-IN", "anna")
        assert [options.language for options in phone.ears.options] == ["en-IN", "hi", "en-IN"]


async def test_words_that_are_spoken_while_the_recogniser_changes_are_not_lost():
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        phone.ears.goodbye_seconds = 0.3
        phone.starts_saying("how much")
        await phone.after(0.25)
        phone.hands_over(3, "billing")
        await phone.hears("Two hundred.")
        assert turns(phone) == [(1, "billing please"), (2, "how much")]
        assert len(phone.ears.options) == 2


async def test_an_agent_that_is_listened_to_alike_costs_no_new_stream():
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "sales")
        await phone.asks("how much", "Two hundred.")
        assert len(phone.ears.options) == 1


async def test_an_agent_that_the_record_does_not_hold_changes_nothing():
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "nobody")
        await phone.asks("how much", "Two hundred.")
        assert phone.mouth.voices["Two hundred."] == VoiceOptions("en-IN", "anna")
        assert len(phone.ears.options) == 1


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("killed_first", [True, False], ids=["killed before", "killed after"])
async def test_who_takes_over_goes_on_with_the_right_agent(pool: str, killed_first: bool):
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        dead = phone.worker(pool)
        phone.hire(pool)
        if not killed_first:
            phone.hands_over(3, "billing")
            await phone.after(0.3)
        await dead.kill()
        if killed_first:
            phone.hands_over(3, "billing")
        await phone.after(3)
        await phone.asks("how much", "Two hundred.")
        await phone.silence()
        assert phone.ears.options[-1].language == "hi"
        assert list(phone.other_mouth.voices) == ["Two hundred."]
        assert phone.heard == "Hello.One moment.Two hundred."
        assert turns(phone) == [(1, "billing please"), (2, "how much")]


async def test_the_call_does_not_ask_for_the_first_agent_after_a_takeover():
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "billing")
        await phone.after(0.3)
        dead = phone.worker("stt")
        phone.hire("stt")
        await dead.kill()
        await phone.after(3)
        assert [options.language for options in phone.ears.options] == ["en-IN", "hi", "hi"]


async def test_whether_the_agent_can_be_interrupted_follows():
    async with call_to_desk({**ANSWERS, "how much": "It is two hundred and twelve in all."}) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "billing")
        await phone.asks("how much", "two hundred")
        phone.starts_saying("stop it please")
        await phone.hears("in all.")
        frames = [entry for _, entry in phone.streams.after(edge_audio("edge-1"), 0) if isinstance(entry, AudioOut)]
        assert {frame.turn: frame.interruptible for frame in frames if frame.turn < 4} == {1: 1, 2: 1, 3: 0}


async def test_the_transcript_says_who_spoke():
    async with call_to_desk(ANSWERS) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "billing")
        await phone.asks("how much", "Two hundred.")
        await phone.silence()
        transcript = phone.transcript
        assert [turn.agent for turn in transcript.exchanges] == ["", "", "billing"]
        assert [(change.turn, change.name) for change in transcript.handoffs] == [(3, "billing")]


async def test_a_call_that_cannot_be_handed_over_reads_no_event_log_for_it():
    async with call_to_desk(ANSWERS, agent=DESK.others["sales"]) as phone:
        await asked_for_billing(phone)
        phone.hands_over(3, "billing")
        await phone.asks("how much", "Two hundred.")
        assert len(phone.ears.options) == 1 and not phone.other_mouth.voices


async def test_what_the_first_agent_still_has_to_say_is_in_its_own_voice():
    async with call_to_desk() as phone:
        await phone.hears("Hello.")
        await phone.worker("llm").kill()
        phone.writes(ReplyStarted(2, 0), Clause(2, 0, "I will pass you on."))
        phone.hands_over(3, "billing")
        phone.writes(Clause(2, 1, "One moment."), ReplyEnded(2, 2))
        await phone.hears("One moment.")
        await phone.silence()
        phone.writes(ReplyStarted(3, 0), Clause(3, 0, "This is billing."), ReplyEnded(3, 1))
        await phone.hears("This is billing.")
        assert list(phone.mouth.voices) == ["Hello.", "I will pass you on.", "One moment."]
        assert list(phone.other_mouth.voices) == ["This is billing."]
