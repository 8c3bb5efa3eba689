"""An edge dies in the middle of a reply: at the next one it goes on from the word, and the history says so.

A character is 60 ms of sound, so what the caller's ear got can be counted to the letter.
"""

import pytest

from common.protocol.messages import AudioIn, CallEnded, CallStarted, Clause
from common.protocol.redis_keys import call_audio
from edge.session.calls import Calls
from tests.calls.phone import CALL, Phone, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.exhaustive, pytest.mark.anyio]

ANSWER = (
    "We are open from Monday to Friday, from nine in the morning to six at night. On Saturday we open at ten. "
    "On Sunday we are closed, I am sorry to say."
)
BEGIN_S = 0.9
"""So long after the question the answer has begun."""


def whole(phone: Phone, turn: int = 2) -> str:
    """The reply as it sounds: no pause between its clauses."""
    clauses = {m.clause: m.text for m in phone.events if isinstance(m, Clause) and m.turn == turn}
    return "".join(clauses[number] for number in sorted(clauses))


def check(before: str, after: str, text: str) -> None:
    """Nothing lost; no more than one word, and the beginning of another, heard twice."""
    before = before.removeprefix("Hello.")
    assert text.startswith(before), before
    assert text.endswith(after), after
    begins = len(text) - len(after)
    assert begins <= len(before), f"{text[len(before) : begins]!r} was lost"
    twice = text[begins : len(before)]
    is_whole = [text[len(before) : len(before) + 1].strip(" .,") == "", *[True] * len(twice.split())]
    words = twice.split()
    count = len(words) - (0 if is_whole[0] else 1) if words else 0
    assert count <= 1, f"{twice!r} was heard twice"


@pytest.mark.parametrize("spells", [True, False], ids=["with word times", "without"])
@pytest.mark.parametrize("at_ms", range(0, 8_800, 440))
async def test_whenever_the_edge_dies_the_reply_goes_on_from_the_word(at_ms: int, spells: bool):
    async with answered_call({"hours": ANSWER}) as phone:
        phone.mouth.spells = spells
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + at_ms / 1000)
        await phone.edge_dies(away_seconds=0.4)
        await phone.after(1.0)
        await phone.silence()
        check(phone.heard_before, phone.heard, whole(phone))
        (last,) = [exchange for exchange in phone.transcript.exchanges if exchange.utterance == 1]
        assert last.heard == ANSWER, "it was heard to its end"


@pytest.mark.parametrize("at_ms", [500, 2_000, 4_100])
async def test_a_voice_that_is_slow_goes_on_from_the_word_too(at_ms: int):
    """The clause is still being synthesised when its edge dies, and nobody knows its length."""
    async with answered_call({"hours": ANSWER}) as phone:
        phone.mouth.chunk_seconds = 0.6
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + at_ms / 1000)
        await phone.edge_dies(away_seconds=0.2)
        await phone.hears("sorry to say.")
        check(phone.heard_before, phone.heard, whole(phone))


@pytest.mark.parametrize("times", [2, 3])
async def test_an_edge_that_dies_again_and_again_repeats_no_more(times: int):
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S)
        before = ""
        for _ in range(times):
            await phone.after(1.3)
            await phone.edge_dies(away_seconds=0.3)
            before = phone.heard_before.removeprefix("Hello.") if not before else joined(before, phone.heard_before)
        await phone.hears("sorry to say.")
        check(before, phone.heard, whole(phone))


def joined(before: str, more: str) -> str:
    """What was heard on two connections, once."""
    overlap = next(size for size in range(min(len(before), len(more)), -1, -1) if before.endswith(more[:size]))
    return before + more[overlap:]


async def test_a_member_that_takes_over_meanwhile_goes_on_from_the_word_too():
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 3)
        dead = phone.worker("tts")
        phone.hire("tts")
        await dead.kill()
        await phone.edge_dies(away_seconds=0.4)
        await phone.hears("sorry to say.")
        check(phone.heard_before, phone.heard, whole(phone))


async def test_a_caller_who_interrupts_on_the_next_connection_is_believed_to_the_word():
    async with answered_call({"hours": ANSWER, "wait": "Yes."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 2)
        await phone.edge_dies(away_seconds=0.4)
        await phone.after(1.0)
        await phone.says("wait")
        await phone.hears("Yes.")
        told = phone.mind.asked[-1][-2]["content"].removesuffix(" —")
        heard = joined(phone.heard_before.removeprefix("Hello."), phone.heard.removesuffix("Yes."))
        assert_told(told, heard)


async def test_a_caller_who_speaks_before_the_reply_goes_on_is_believed_to_the_word():
    """Nobody gives the agent a voice on the next connection, so nothing of the reply is played there."""
    async with answered_call({"hours": ANSWER, "wait": "Yes."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 2)
        await phone.worker("tts").kill()
        await phone.edge_dies(away_seconds=0.4)
        await phone.says("wait")
        await phone.until(lambda: len(phone.mind.asked) == 2, "the model to be asked")
        told = phone.mind.asked[-1]
        assert [line["role"] for line in told[-2:]] == ["assistant", "user"]
        assert told[-2]["content"].endswith("—")
        heard = phone.heard_before.removeprefix("Hello.")
        assert_told(told[-2]["content"], heard)
        (lost,) = [exchange for exchange in phone.transcript.exchanges if exchange.utterance == 1]
        assert_told(lost.heard, heard)


async def test_a_call_that_was_over_and_is_handed_back_remembers_what_was_heard():
    async with answered_call({"hours": ANSWER, "wait": "Yes."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 2)
        await phone.worker("tts").kill()
        heard = phone.heard.removeprefix("Hello.")
        phone.call.end("carrier")
        await phone.after(5)
        assert await phone.store.reopen(CALL)
        await phone.comes_back()
        await phone.says("wait")
        await phone.until(lambda: len(phone.mind.asked) == 2, "the model to be asked")
        told = phone.mind.asked[-1]
        assert [line["role"] for line in told[-2:]] == ["assistant", "user"]
        assert told[-2]["content"].endswith("—")
        assert_told(told[-2]["content"], heard)


def assert_told(told: str, heard: str) -> None:
    """The words that the history says were heard, and at most the one that was being spoken is not among them."""
    told, heard = told.removesuffix(" —").replace(" ", ""), heard.replace(" ", "")
    assert told and heard.startswith(told) and len(heard) - len(told) <= 10, (told, heard)


async def test_a_caller_who_is_muted_hears_no_less():
    """No media prove that the line lives: the reply goes on from where it certainly was heard."""
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        phone.muted = True
        await phone.after(BEGIN_S + 3)
        await phone.edge_dies(away_seconds=0.4)
        await phone.hears("sorry to say.")
        text = whole(phone)
        assert len(text) - len(phone.heard) <= len(phone.heard_before.removeprefix("Hello."))


async def test_what_is_played_into_a_line_that_is_dead_was_not_heard():
    """The carrier lost the connection, and its edge did not notice: it plays on, and writes silence for the ears."""
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 2)
        heard = phone.heard
        phone._connected = False
        await phone.after(1.5)
        await phone.edge_dies(away_seconds=0.1)
        await phone.hears("sorry to say.")
        check(heard, phone.heard, whole(phone))


@pytest.mark.parametrize("reason", ["caller hung up", "silence"])
async def test_the_history_of_a_call_that_ends_in_a_sentence_says_what_was_heard(reason: str):
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 2)
        phone.call.end(reason)
        heard = phone.heard.removeprefix("Hello.")
        (last,) = [exchange for exchange in phone.transcript.exchanges if exchange.utterance == 1]
        assert_told(last.heard, heard)
        assert last.heard.endswith("—")


async def test_the_history_of_a_call_whose_edge_died_for_good_says_what_was_heard():
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 2)
        phone.bus.kill()
        phone._connected = False
        heard = phone.heard.removeprefix("Hello.")
        undertaker = Calls("edge-2", phone.hire("stt").bus, AbandonedCalls(phone), calls_max=1)  # type: ignore[arg-type]
        await undertaker._end_abandoned_call(CALL)
        (end,) = [message for message in phone.events if isinstance(message, CallEnded)]
        assert end.heard[0] == 2
        (last,) = [exchange for exchange in phone.transcript.exchanges if exchange.utterance == 1]
        assert_told(last.heard, heard)


class AbandonedCalls:
    """The ledger, in which the call has been without a sign of life for long."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone

    def __getattr__(self, name: str) -> object:
        return getattr(self._phone.store, name)

    async def abandoned(self) -> list[str]:
        return [CALL]


async def test_an_older_edge_said_nothing_of_what_was_heard_and_the_clause_is_repeated():
    """Of the release before: its frames have no such field."""
    async with answered_call({"hours": ANSWER}) as phone:
        phone.call._publisher._ask_heard = lambda now: ()
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.after(BEGIN_S + 2)
        await phone.edge_dies()
        await phone.hears("sorry to say.")
        assert ANSWER.startswith(phone.heard[:20]) or ANSWER.find(phone.heard[:20]) > 0


async def test_nothing_is_told_while_no_reply_is_unfinished():
    async with answered_call({"hours": "Nine."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.edge_dies()
        await phone.says("hours")
        await phone.hears("Nine.")
        frames = [m for _, m in phone.streams.after(call_audio(CALL), 0) if isinstance(m, AudioIn)]
        assert any(frame.heard for frame in frames) and any(not frame.heard for frame in frames)
        assert [m.heard for m in phone.events if isinstance(m, CallStarted)] == [(), ()]
        assert phone.heard == "Nine."
