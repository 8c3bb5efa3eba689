"""A word that stood in interims and is missing in the final: one rule for every engine, one row for each."""

from __future__ import annotations

import json

import pytest

from common.protocol.messages import (
    CallStarted,
    Clause,
    Interrupted,
    PlaybackStarted,
    ReplyEnded,
    ReplyPlayed,
    ReplyStarted,
    UserTurn,
)
from tests.unit.workers.stt.engines.test_deepgram_nova_core import Call as DeepgramCall
from tests.unit.workers.stt.engines.test_deepgram_nova_core import results
from workers.llm.conversation import Dialogue
from workers.providers.interfaces import EagerEndOfTurn, EndOfTurn, ListenOptions, SpeechStart
from workers.stt.engines.deepgram_flux_core import FluxCore
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.interim_words import InterimWords

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("interims", "final", "missing"),
    [
        (["yes", "yes"], "", "yes"),
        (["Yes", "yes."], "", "yes."),
        (["seven", "at seven", "at seven thirty"], "", "at seven"),
        (["नौ बजे", "नौ बजे"], "", "नौ बजे"),
        (["yes", "", "yes"], "", "yes"),
        (["yes", "no", "no"], "", "no"),
        (["yes"], "", ""),
        (["yes", "guess"], "", ""),
        (["", ""], "", ""),
        ([], "", ""),
        (["yes", "yes"], "Yes, please.", ""),
    ],
)
def test_a_word_that_stood_in_two_results_was_said(interims: list[str], final: str, missing: str) -> None:
    words = InterimWords()
    for text in interims:
        words.interim(text)
    assert words.final(final) == missing
    assert words.final("") == "", "it is taken once"


# --- the engines ----------------------------------------------------------------------------------------------------

YES = ("Yes.", 0.5, 0.8)


def deepgram(interims: int) -> list[object]:
    call = DeepgramCall()
    heard: list[object] = [*call.audio(1000)]
    for at in range(interims):
        heard += call.hear(results(0.0, 0.8 + 0.1 * at, YES))
    heard += [*call.audio(1300), *call.hear(results(0.0, 1.3, final=True)), *call.audio(3000)]
    return [*heard, *call.hear(results(1.3, 3.0, final=True)), *call.audio(3400)]


def flux(interims: int) -> list[object]:
    feed = AudioFeed(60_000)
    feed.put(0, b"\xff" * 24_000)
    feed.take(24_000)
    turns = FluxCore("deepgram/flux", ListenOptions(), feed, 1500, 700)

    def told(event: str, text: str) -> list[object]:
        body = {"type": "TurnInfo", "event": event, "turn_index": 0, "transcript": text}
        message = {**body, "audio_window_start": 0.0, "audio_window_end": 1.0, "words": []}
        return list(turns.receive(json.dumps(message), 1.0))

    heard = told("StartOfTurn", "")
    for _ in range(interims):
        heard += told("Update", "Yes.")
    return [*heard, *told("Update", ""), *told("EndOfTurn", "")]


@pytest.mark.parametrize("engine", [deepgram, flux])
def test_the_engine_tells_the_word_as_unsure(engine) -> None:  # type: ignore[no-untyped-def]
    heard = engine(2)
    assert any(isinstance(one, SpeechStart) for one in heard)
    (said,) = [one for one in heard if isinstance(one, EndOfTurn)]
    assert (said.text, said.unsure) == ("Yes.", True)
    assert not [one for one in heard if isinstance(one, EagerEndOfTurn)], "nothing is prepared for a guess"


@pytest.mark.parametrize("interims", [0, 1])
@pytest.mark.parametrize("engine", [deepgram, flux])
def test_a_noise_and_a_single_guess_stay_nothing(engine, interims: int) -> None:  # type: ignore[no-untyped-def]
    assert not [one for one in engine(interims) if isinstance(one, EndOfTurn)]


# --- the mind -------------------------------------------------------------------------------------------------------

GREETED = (CallStarted(1, "e", 1), ReplyStarted(1, 0), Clause(1, 0, "Is nine all right?"), ReplyEnded(1, 1))
UNSURE = UserTurn(1, "yes", (1, 2, 3), unsure=True)


@pytest.mark.parametrize(
    ("before", "answered"),
    [
        ((PlaybackStarted(1, 1), ReplyPlayed(1)), True),
        ((PlaybackStarted(1, 1), Interrupted(1, 0, 500)), True),
        ((PlaybackStarted(1, 1),), False),
        ((PlaybackStarted(1, 1), Interrupted(1, 0, 500, utterance=1)), False),
        ((), False),
    ],
    ids=["it waits", "it was stopped", "it speaks", "it may go on", "it is about to speak"],
)
def test_the_word_is_taken_when_the_agent_waits_for_an_answer(before: tuple[object, ...], answered: bool) -> None:
    dialogue = Dialogue("Be brief.")
    for message in (*GREETED, *before, UNSURE):
        dialogue.receive(message)  # type: ignore[arg-type]
    wanted = dialogue.wanted()
    assert (wanted is not None and wanted.turn == 2) is answered
    assert ("yes" in str(dialogue.messages())) is answered


def test_what_is_sure_is_always_taken() -> None:
    dialogue = Dialogue("Be brief.")
    for message in (*GREETED, PlaybackStarted(1, 1), UserTurn(1, "yes", (1, 2, 3))):
        dialogue.receive(message)
    wanted = dialogue.wanted()
    assert wanted is not None
    assert wanted.turn == 2
