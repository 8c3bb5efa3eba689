"""A caller on hold hears music: it can be interrupted, goes on after a takeover, and is no word of the conversation."""

import pytest

from common.protocol.messages import Clause, ClauseSynthesized, Interrupted, ReplyEnded, ReplyStarted, UsageReported
from tests.calls.handoff_phone import HandoffPhone, call_to_desk
from workers.tts.audio.hold_tone import hold_tone
from workers.tts.synthesis import SOUND_S_MAX

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ANSWERS = {"stop": "I am here."}
FRAME = 160


async def held(phone: HandoffPhone, goes_on: bool = False) -> None:
    """The agent says a sentence and puts the caller on hold.  `goes_on`: the reply is not complete yet."""
    await phone.hears("Hello.")
    await phone.silence()
    phone.line.listeners.append(phone.frames.append)
    if goes_on:
        await phone.worker("llm").kill()  # it would go on with the reply by itself
    phone.writes(ReplyStarted(2, 0), Clause(2, 0, "One moment."), Clause(2, 1, "", sound="hold"))
    if not goes_on:
        phone.writes(ReplyEnded(2, 2))
    await phone.hears("One moment.")


def sounds(phone: HandoffPhone) -> list[ClauseSynthesized]:
    return [event for event in phone.events if isinstance(event, ClauseSynthesized) and event.clause == 1]


async def test_it_is_played_for_its_time_and_costs_nothing():
    async with call_to_desk(ANSWERS) as phone:
        await held(phone)
        await phone.after(SOUND_S_MAX + 3)
        assert [event.duration_ms for event in sounds(phone)] == [SOUND_S_MAX * 1000]
        assert b"".join(phone.frames[-2950:]) in hold_tone() * (SOUND_S_MAX // 4 + 1)
        assert phone.mouth.said == ["Hello.", "One moment."]
        used = [
            dict(event.amounts) for event in phone.events if isinstance(event, UsageReported) and event.pool == "tts"
        ]
        assert sum(amounts["characters"] for amounts in used) == len("Hello.One moment.")
        assert phone.transcript.exchanges[0].answered == "One moment."
        assert phone.transcript.exchanges[0].heard == "One moment."


async def test_the_caller_interrupts_it():
    async with call_to_desk(ANSWERS) as phone:
        await held(phone)
        await phone.after(5)
        await phone.asks("stop", "I am here.")
        cut = [event for event in phone.events if isinstance(event, Interrupted)][-1]
        assert (cut.turn, cut.clause) == (2, 1) and cut.heard_ms > 4_000
        chat = str(phone.mind.asked[-1])
        assert "One moment." in chat and "hold" not in chat
        assert phone.transcript.exchanges[0].heard == "One moment.", "no word was missed"


async def test_it_ends_where_the_reply_goes_on():
    async with call_to_desk(ANSWERS) as phone:
        await held(phone, goes_on=True)
        await phone.after(0.5)
        text = "Here it is, and I read out all of it to you now."
        phone.writes(Clause(2, 2, text), ReplyEnded(2, 3))
        before = len(phone.frames)
        await phone.after(0.3)
        words = phone.frames.index(b"H" * FRAME)
        assert words - before < 25, "the words wait for no more music than the carrier has already"
        assert [event.clause for event in phone.events if isinstance(event, ClauseSynthesized)][-1] == 2, "sent as fast"
        await phone.hears(text)
        await phone.silence()
        assert phone.transcript.exchanges[0].heard == f"One moment. {text}"


async def test_music_behind_music_waits_for_its_end_and_words_end_both():
    async with call_to_desk(ANSWERS) as phone:
        await held(phone, goes_on=True)
        phone.writes(Clause(2, 2, "", sound="hold"))
        await phone.after(SOUND_S_MAX + 10)
        assert len(phone.frames) > (SOUND_S_MAX + 9) * 50
        phone.writes(Clause(2, 3, "", sound="hold"))
        await phone.after(5)
        phone.writes(Clause(2, 4, "Here it is."), ReplyEnded(2, 5))
        await phone.after(2)
        assert phone.heard.endswith("Here it is.")


async def test_it_goes_on_where_it_was_when_a_tts_worker_dies():
    async with call_to_desk(ANSWERS) as phone:
        await held(phone)
        await phone.after(1)
        dead = phone.worker("tts")
        phone.hire("tts")
        await dead.kill()
        await phone.after(10)
        played = [frame for frame in phone.frames if frame not in spoken_frames()]
        assert len(played) > 500, "no gap"
        assert b"".join(played) in hold_tone() * 5, "no frame is played twice, and none is left out"


async def test_it_goes_on_where_it_was_on_the_next_connection():
    async with call_to_desk(ANSWERS) as phone:
        await held(phone)
        await phone.after(5)
        await phone.edge_dies()
        phone.frames = []
        phone.line.listeners.append(phone.frames.append)
        await phone.after(3)
        begin = (hold_tone() * 2).find(b"".join(phone.frames[:50])) // FRAME
        assert 20 < begin < 55, "a second into the second round"


def spoken_frames() -> set[bytes]:
    return {bytes([ord(character)]) * FRAME for character in "One moment."}
