"""Answers begun on interim words: nobody hears one before the turn is over, nor one to other words than the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.call.same_words import same_words
from common.protocol.messages import EagerUserTurn, ReplyDiscarded, ReplyReleased, ReplyStarted, UserTurn
from simulators.providers.deepgram_speech import Pace
from tests.calls.doubles import SILENCE, Mind
from tests.calls.nova_ears import LOUD, NovaEars
from tests.calls.phone import Phone, answered_call
from tests.clock import VirtualLoop
from tests.hypothesis_profile import examples
from workers.providers.interfaces import ChatMessage, ListenOptions, Piece

pytestmark = pytest.mark.fast

WORDS = [f"word{number}" for number in range(16)]
SCRIPT = [" ".join(WORDS[number : number + 4]) for number in range(0, len(WORDS), 4)]
LISTEN = ListenOptions(endpointing_ms=500, eager_endpointing_ms=300, interim_endpointing_ms=100)
QUICK = Pace(interim_ms=140, word_ms=130)


class LetterMind(Mind):
    """Answers other words with another letter, so that a frame says which words it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: dict[str, str] = {}

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict] = (), said: str = ""
    ) -> AsyncIterator[Piece]:
        words = dialogue[-1]["content"]
        letter = self.letters.setdefault(words, chr(ord("A") + len(self.letters) % 26))
        self.answers[words] = f"{letter * 4} {letter * 3}."
        async for piece in super().reply(dialogue, tools, said):
            yield piece


class Listener:
    """Compares each frame that leaves for the carrier with what the event log says at that moment."""

    def __init__(self, phone: Phone, mind: LetterMind) -> None:
        self._phone = phone
        self._mind = mind
        self.wrong: list[str] = []
        phone.line.listeners.append(self.hear)

    def hear(self, frame: bytes) -> None:
        asked = [words for words, letter in self._mind.letters.items() if letter == chr(frame[0])]
        over = [turn.text for turn in self._phone.events if isinstance(turn, UserTurn)]
        for words in asked:
            if not any(same_words(words[-len(text) :], text) for text in over):
                self.wrong.append(f"{chr(frame[0])} answers {words!r}; the turns so far are {over}")


def speech(*parts_ms: int) -> list[bytes]:
    """Speech and silence by turns."""
    return [frame for n, ms in enumerate(parts_ms) for frame in [SILENCE if n % 2 else LOUD] * (ms // 20)]


async def talk(phone: Phone, *parts_ms: int) -> None:
    phone.speech.extend(speech(*parts_ms))
    await phone.until(lambda: not phone.speech, "it to be said")


def decisions(phone: Phone) -> list[str]:
    kinds = EagerUserTurn | ReplyReleased | ReplyDiscarded | UserTurn
    return [type(event).__name__ for event in phone.events if isinstance(event, kinds)]


@pytest.mark.anyio
async def test_the_answer_is_ready_when_the_turn_is_over():
    mind = LetterMind()
    async with answered_call(mind=mind, ears=NovaEars(SCRIPT, QUICK), listen=LISTEN) as phone:
        mind.word_seconds = 0.15
        await phone.silence()
        await talk(phone, 600)
        before, begun = len(phone.heard), asyncio.get_running_loop().time()
        await phone.until(lambda: len(phone.heard) > before, "an answer")
        assert asyncio.get_running_loop().time() - begun <= 0.5 + 0.06 + 0.03, "the silence, a letter, and no more"
        assert decisions(phone) == ["EagerUserTurn", "EagerUserTurn", "UserTurn", "ReplyReleased"]
        assert [event.unsure for event in phone.events if isinstance(event, EagerUserTurn)] == [True, False]
        assert [event.turn for event in phone.events if isinstance(event, ReplyStarted)] == [1, 2]


@pytest.mark.anyio
async def test_a_caller_who_goes_on_never_hears_it_and_is_answered_to_all_words():
    mind = LetterMind()
    async with answered_call(mind=mind, ears=NovaEars(SCRIPT, QUICK), listen=LISTEN) as phone:
        listener = Listener(phone, mind)
        await phone.silence()
        await talk(phone, 300, 240, 300)
        await phone.silence()
        assert listener.wrong == []
        assert decisions(phone)[-2:] == ["UserTurn", "ReplyReleased"]
        assert "ReplyDiscarded" in decisions(phone)
        assert mind.letters[SCRIPT[0]] in phone.heard


@pytest.mark.anyio
async def test_interim_words_that_prove_wrong_are_answered_as_they_end():
    mind = LetterMind()
    async with answered_call(mind=mind, ears=NovaEars(SCRIPT, QUICK, wrong=1.0, seed=3), listen=LISTEN) as phone:
        listener = Listener(phone, mind)
        await phone.silence()
        await talk(phone, 600)
        await phone.silence()
        assert listener.wrong == []
        assert mind.letters[SCRIPT[0]] in phone.heard


turns = st.lists(st.integers(2, 40).map(lambda frames: frames * 20), min_size=1, max_size=9)


@settings(max_examples=examples(30), deadline=None)
@given(
    parts_ms=turns,
    cadence_ms=st.sampled_from((60, 140, 300, 1000)),
    wrong=st.sampled_from((0.0, 0.3, 0.8)),
    eager_ms=st.sampled_from((100, 200, 400)),
    word_end_error_ms=st.sampled_from((-120, 0, 120)),
    seed=st.integers(0, 1_000),
)
def test_whatever_is_said_no_frame_leaves_before_its_turn_is_over_and_it_answers_the_final_words(
    parts_ms: list[int], cadence_ms: int, wrong: float, eager_ms: int, word_end_error_ms: int, seed: int
):
    pace = Pace(interim_ms=cadence_ms, word_ms=110, word_end_error_ms=word_end_error_ms)
    listen = ListenOptions(endpointing_ms=400, eager_endpointing_ms=eager_ms, interim_endpointing_ms=100)

    async def call() -> None:
        mind = LetterMind()
        ears = NovaEars(SCRIPT, pace, wrong, seed)
        async with answered_call(mind=mind, ears=ears, listen=listen) as phone:
            listener = Listener(phone, mind)
            await phone.silence()
            await talk(phone, *parts_ms)
            await phone.silence()
            assert listener.wrong == []
            began = {event.turn: event for event in phone.events if isinstance(event, ReplyStarted)}
            over = {event.utterance: event.text for event in phone.events if isinstance(event, UserTurn)}
            for event in phone.events:
                if isinstance(event, ReplyReleased):
                    assert same_words(began[event.turn].based_on, over[began[event.turn].utterance])
            if over:
                assert phone.heard.strip()[-1:] == "."

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(call())
