"""The cores of Cartesia's and Sarvam's ears, on strips of sound: "#" is 100 ms of speech, "." of silence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from common.audio import g711
from workers.providers.interfaces import (
    Busy,
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    Rejected,
    SpeechEnd,
    SpeechStart,
    SttEvent,
)
from workers.providers.sarvam import language_code
from workers.stt.engines.cartesia_ink_core import FINALIZE, InkCore
from workers.stt.engines.sarvam_core import FLUSH, SarvamCore
from workers.stt.stream.backlog import FREE_S, ReplayBacklog
from workers.stt.stream.stt_core import IDLE_S, Effect, SttCore, UnresponsiveVendor
from workers.stt.vad.energy import NOT, EnergyVad

pytestmark = pytest.mark.fast

LOUD, QUIET = b"\x10\x90" * 400, g711.SILENCE * 800
FINAL_S = 4.0


class Call:
    """A call in real time: sounds and the vendor's messages in, events out."""

    def __init__(self, hearing: SttCore) -> None:
        self.hearing = hearing
        self.now_ms = 0
        self._orders: list[str] = []

    @property
    def now(self) -> float:
        return self.now_ms / 1000

    def sounds(self, strip: str) -> list[SttEvent]:
        heard: list[SttEvent] = []
        for sound in strip:
            heard += self.events(self.hearing.feed(self.now_ms, LOUD if sound == "#" else QUIET, self.now))
            self.now_ms += 100
        return heard

    def says(self, *messages: dict[str, Any]) -> list[SttEvent]:
        texts = map(json.dumps, messages)
        return [event for text in texts for event in self.events(self.hearing.receive(text, self.now))]

    def events(self, effects: Iterable[Effect]) -> list[SttEvent]:
        """The events among the effects; the texts are kept for `orders`."""
        effects = list(effects)
        self._orders += [effect for effect in effects if isinstance(effect, str)]
        return [effect for effect in effects if not isinstance(effect, str)]

    def orders(self) -> list[str]:
        orders, self._orders = self._orders, []
        return orders

    def wakes(self, after_s: float) -> list[SttEvent]:
        self.now_ms += int(after_s * 1000)
        return self.events(self.hearing.wake(self.now))


def kinds(heard: Sequence[SttEvent]) -> list[type]:
    return [type(event) for event in heard]


def final(text: str) -> dict[str, Any]:
    return {"type": "transcript", "is_final": True, "text": text}


def interim(text: str) -> dict[str, Any]:
    return {"type": "transcript", "is_final": False, "text": text}


DONE = {"type": "flush_done"}
START = {"type": "events", "data": {"signal_type": "START_SPEECH"}}
END = {"type": "events", "data": {"signal_type": "END_SPEECH"}}


def data(text: str) -> dict[str, Any]:
    return {"type": "data", "data": {"transcript": text}}


# --- Ink ------------------------------------------------------------------------------------------------------------


def ink(options: ListenOptions | None = None) -> Call:
    return Call(InkCore(options or ListenOptions(), FINAL_S))


def test_ink_is_asked_when_the_caller_pauses_and_answered_in_time() -> None:
    call = ink()
    assert kinds(call.sounds("...########")) == [SpeechStart]
    assert kinds(call.sounds("...")) == [SpeechEnd] and call.orders() == [FINALIZE]
    (likely,) = call.says(interim("hel"), final("hello"), DONE)
    assert isinstance(likely, EagerEndOfTurn) and likely.text == "hello"
    (utterance,) = call.sounds("...")
    assert isinstance(utterance, EndOfTurn) and utterance.text == "hello" and call.orders() == []


def test_a_late_answer_completes_the_turn_and_leaves_the_next_one_alone() -> None:
    call = ink()
    call.sounds("########.......")
    assert call.orders() == [FINALIZE]
    call.sounds("########")  # the caller speaks again before the answer
    (first,) = call.says(final("one"), DONE)
    assert isinstance(first, EndOfTurn) and first.text == "one" and first.end_ms <= 900
    call.sounds("...")
    call.says(final("two"), DONE)
    assert [event.text for event in call.sounds("....") if isinstance(event, EndOfTurn)] == ["two"]


def test_words_before_and_after_a_breath_are_one_turn() -> None:
    call = ink(ListenOptions(endpointing_ms=900))
    call.sounds("####......")
    call.says(final("book"), DONE)
    call.sounds("####......")
    call.says(final("a table"), DONE)
    assert [event.text for event in call.sounds("........") if isinstance(event, EndOfTurn)] == ["book a table"]


def test_a_caller_who_went_on_is_not_told_to_be_likely_done() -> None:
    call = ink(ListenOptions(endpointing_ms=900))
    call.sounds("######...####")
    assert call.says(final("book"), DONE) == []


def test_a_noise_without_words_is_no_utterance() -> None:
    call = ink()
    assert kinds(call.sounds("####.......")) == [SpeechStart, SpeechEnd]
    assert call.says(DONE) == [] and call.hearing.deadline is None


def test_what_is_known_is_told_when_the_answer_does_not_come() -> None:
    call = ink()
    call.sounds("########....")
    call.says(interim("hello the"))
    call.sounds("....")
    assert call.wakes(2.0) == []
    with pytest.raises(UnresponsiveVendor) as silent:
        call.wakes(2.0)
    assert [event.text for event in silent.value.events if isinstance(event, EndOfTurn)] == ["hello the"]


def test_words_that_a_flush_leaves_open_are_final_and_told_once() -> None:
    call = ink(ListenOptions(endpointing_ms=900))
    call.sounds("######...")
    call.says(interim("book"), DONE)
    call.sounds("######...")
    call.says(interim("a table"), DONE)
    assert [event.text for event in call.sounds("........") if isinstance(event, EndOfTurn)] == ["book a table"]


def test_a_line_that_falls_silent_ends_the_turn() -> None:
    call = ink()
    call.sounds("########")
    assert kinds(call.wakes(IDLE_S)) == [SpeechEnd] and call.orders() == [FINALIZE]
    assert kinds(call.says(final("hello"), DONE)) == [EndOfTurn]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "error", "status_code": 429, "message": "hello"}, Busy),
        ({"type": "error", "status_code": 400, "message": "hello"}, Rejected),
        ({"type": "error", "status_code": 500, "message": "hello"}, Down),
        ({"type": "error"}, Down),
        ([], Down),
    ],
)
def test_inks_errors_are_told_apart_without_their_texts(message: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as told:
        ink().says(message)
    assert "hello" not in str(told.value)


# --- Sarvam ---------------------------------------------------------------------------------------------------------


def sarvam(options: ListenOptions | None = None) -> Call:
    return Call(SarvamCore(options or ListenOptions(), FINAL_S, 4.0))


def test_sarvams_signals_are_placed_by_loudness() -> None:
    call = sarvam()
    call.sounds("....####")
    (onset,) = call.says(START)
    call.sounds("####......")
    (offset,) = call.says(END)
    assert onset == SpeechStart(384) and offset == SpeechEnd(1216)  # to the window of 32 ms
    (utterance,) = call.says(data("नमस्ते"))
    assert utterance == EndOfTurn("नमस्ते", 384, 1216, decided_ms=1800)


def test_transcripts_come_to_the_turns_in_order() -> None:
    call = sarvam()
    call.sounds("########")
    call.says(START)
    call.sounds("......")
    call.says(END)
    call.sounds("########")
    call.says(START)
    (first,) = call.says(data("one"))
    call.sounds("......")
    call.says(END)
    (second,) = call.says(data("two"))
    assert isinstance(first, EndOfTurn) and isinstance(second, EndOfTurn)
    assert (first.text, second.text) == ("one", "two") and first.end_ms < second.start_ms


def test_a_transcript_that_is_late_is_asked_for_and_then_given_up() -> None:
    call = sarvam()
    call.sounds("############")
    call.says(START)
    call.sounds("......")
    call.says(END)
    assert call.wakes(0.5 * FINAL_S) == [] and call.orders() == [FLUSH]
    with pytest.raises(Down, match="transcript"):
        call.wakes(0.5 * FINAL_S)


def test_a_cough_without_a_transcript_is_forgotten() -> None:
    call = sarvam()
    call.sounds("##")
    call.says(START)
    call.sounds("......")
    call.says(END)
    assert call.wakes(FINAL_S) == [] and call.hearing.deadline is None


def test_an_end_that_is_not_told_is_found_by_loudness() -> None:
    call = sarvam()
    call.sounds("########")
    call.says(START)
    assert kinds(call.sounds("." * 26)) == [SpeechEnd] and FLUSH in call.orders()
    assert kinds(call.says(data("one"))) == [EndOfTurn]


def test_a_vendor_that_notices_no_speech_is_down() -> None:
    call = sarvam()
    call.sounds("####.#####." * 6)
    with pytest.raises(Down, match="notice"):
        call.wakes(FINAL_S)


@pytest.mark.parametrize(
    ("code", "error"),
    [("rate_limit_exceeded_error", Busy), ("invalid_api_key_error", Rejected), (422, Rejected), (500, Down)],
)
def test_sarvams_errors_are_told_apart(code: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        sarvam().says({"type": "error", "data": {"code": code, "message": "hello"}})


def test_sarvams_languages() -> None:
    tags = ("hi", "hi-IN", "or", "ta-LK", "EN-us")
    assert [language_code("sarvam/x", tag) for tag in tags] == ["hi-IN", "hi-IN", "od-IN", "ta-IN", "en-IN"]
    with pytest.raises(Rejected, match="'fr'"):
        language_code("sarvam/x", "fr")


# --- loudness, pace -------------------------------------------------------------------------------------------------


def test_a_steady_hiss_is_soon_no_speech_and_words_over_it_are() -> None:
    hiss = bytes(0x50 | (n * 7 & 0x8F) for n in range(8000))
    ear = EnergyVad()
    early = [probability for _, probability in ear.feed(0, hiss)]
    later = [probability for second in range(1, 12) for _, probability in ear.feed(1000 * second, hiss)]
    assert early[0] > NOT and later[-1] == NOT
    assert ear.feed(12_000, LOUD)[-1][1] > NOT


def test_a_long_replay_gives_a_vendor_the_time_to_hear_it() -> None:
    pace = ReplayBacklog()
    pace.feed(20_000, 100.0)
    assert pace.allowance_s(100.0) == 20.0 - FREE_S
    assert pace.allowance_s(110.0) == 10.0 - FREE_S and pace.allowance_s(116.0) == 0.0


# --- words that stood in interims only ------------------------------------------------------------------------------


def said(heard: Sequence[SttEvent]) -> list[tuple[str, bool]]:
    return [(event.text, event.unsure) for event in heard if isinstance(event, EndOfTurn)]


@pytest.mark.parametrize(
    ("interims", "told"),
    [(["yes", "yes"], [("yes", True)]), (["yes"], []), ([], []), (["yes", "yes", "yes"], [("yes", True)])],
)
def test_ink_tells_a_word_that_stood_in_two_interims_and_is_missing_in_the_final(
    interims: list[str], told: list[tuple[str, bool]]
) -> None:
    call = ink()
    heard = call.sounds("..####...")
    heard += call.says(*map(interim, interims), final(""), DONE)
    heard += call.sounds("........")
    heard += call.says(final(""), DONE)
    assert said(heard) == told


def test_ink_forgets_it_when_a_later_final_has_words() -> None:
    call = ink()
    heard = call.sounds("..####...")
    heard += call.says(interim("yes"), interim("yes"), final(""), final("Yes."), DONE)
    heard += call.sounds("........")
    heard += call.says(DONE)
    assert said(heard) == [("Yes.", False)]
