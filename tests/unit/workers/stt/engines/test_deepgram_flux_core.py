"""Deepgram Flux's turns as ours: what the vendor says, in a table, and what is heard."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.providers.interfaces import (
    Busy,
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    ProviderError,
    SpeechEnd,
    SpeechStart,
    SttEvent,
)
from workers.stt.engines.deepgram_flux_core import FORCE_END, FluxCore
from workers.stt.stream.audio_feed import AudioFeed

pytestmark = pytest.mark.fast

FINAL_MS, GRACE_MS = 3000, 700
WORDS = (("Hello,", 0.5, 0.9), ("there.", 1.0, 1.3), ("Again.", 1.7, 2.1))


def info(
    event: str, to: float, words: int = 0, turn: int = 0, begin: float = 0.0, times: bool = True
) -> dict[str, Any]:
    """A TurnInfo that covers the audio up to `to`, with the first so many of `WORDS`."""
    spans = [{"word": word, "confidence": 1.0, "start": a, "end": b} for word, a, b in WORDS[:words]]
    if not times:
        spans = [{"word": span["word"], "confidence": 1.0} for span in spans]
    return {
        "type": "TurnInfo",
        "event": event,
        "turn_index": turn,
        "audio_window_start": begin,
        "audio_window_end": to,
        "transcript": " ".join(word for word, _, _ in WORDS[:words]),
        "words": spans,
    }


class Call:
    """A socket that is fed in real time and speaks."""

    def __init__(self, options: ListenOptions | None = None, position_ms: int = 0) -> None:
        self.feed = AudioFeed(60_000)
        self.turns = FluxCore("deepgram/flux-general-en", options or ListenOptions(), self.feed, FINAL_MS, GRACE_MS)
        self.at_ms, self.now_ms = position_ms, 1_000_000

    def audio(self, to_ms: int) -> list[SttEvent | str]:
        heard: list[SttEvent | str] = []
        while self.at_ms < to_ms:
            self.feed.put(self.at_ms, b"\xff" * 160)
            self.feed.take(160)
            self.at_ms += 20
            heard += self.wait(20)
        return heard

    def wait(self, ms: int) -> list[SttEvent | str]:
        heard: list[SttEvent | str] = []
        for _ in range(ms // 20):
            self.now_ms += 20
            heard += self.turns.wake(self.now_ms / 1000)
        return heard

    def hear(self, *messages: dict[str, Any]) -> list[SttEvent | str]:
        return [heard for text in map(json.dumps, messages) for heard in self.turns.receive(text, self.now_ms / 1000)]


def test_a_turn_with_a_likely_end_that_is_confirmed() -> None:
    call = Call(position_ms=40_000)
    call.audio(42_000)
    assert call.hear({"type": "Connected"}, info("Update", 0.5)) == []
    assert call.hear(info("StartOfTurn", 0.9, 1), info("Update", 1.2, 1)) == [SpeechStart(40_500)]
    assert call.hear(info("EagerEndOfTurn", 1.5, 2)) == [
        SpeechEnd(41_300),
        EagerEndOfTurn("Hello, there.", 40_500, 41_300),
    ]
    assert call.hear(info("EndOfTurn", 1.7, 2)) == [EndOfTurn("Hello, there.", 40_500, 41_300, decided_ms=42_000)]
    assert call.hear(info("Update", 2.0, 0, turn=1, begin=1.7)) == []


def test_a_caller_who_goes_on_withdraws_the_likely_end() -> None:
    call = Call()
    call.audio(2_400)
    call.hear(info("StartOfTurn", 0.9, 1), info("EagerEndOfTurn", 1.5, 2))
    assert call.hear(info("TurnResumed", 1.9, 2)) == [SpeechStart(1_600)]
    assert call.hear(info("EndOfTurn", 2.4, 3)) == [
        SpeechEnd(2_100),
        EndOfTurn("Hello, there. Again.", 500, 2_100, decided_ms=2_400),
    ]


def test_a_server_that_gives_no_times_to_words_is_understood_by_its_windows() -> None:
    call = Call()
    call.audio(2_000)
    heard = call.hear(
        info("Update", 0.5, times=False),
        info("StartOfTurn", 0.8, 1, times=False),
        info("Update", 1.25, 2, times=False),
        info("Update", 1.5, 2, times=False),
        info("EndOfTurn", 1.75, 2, times=False),
    )
    assert heard == [SpeechStart(500), SpeechEnd(1_250), EndOfTurn("Hello, there.", 500, 1_250, decided_ms=2_000)]


def test_a_noise_is_an_onset_and_an_offset_and_no_words() -> None:
    call = Call()
    call.audio(2_000)
    assert call.hear(info("StartOfTurn", 0.8), info("EndOfTurn", 1.6)) == [SpeechStart(500), SpeechEnd(660)]
    assert call.hear(info("EndOfTurn", 1.8, turn=1)) == []


def test_an_end_without_a_beginning_is_still_a_turn() -> None:
    call = Call()
    call.audio(2_000)
    heard = call.hear(info("EndOfTurn", 1.6, 2))
    assert [type(event) for event in heard] == [SpeechStart, SpeechEnd, EndOfTurn]


def test_a_turn_that_hangs_is_ended_by_order_and_then_without() -> None:
    call = Call()
    call.audio(1_000)
    call.hear(info("StartOfTurn", 0.9, 1))
    assert call.audio(1_000 + FINAL_MS - 20) == []
    assert call.audio(1_000 + FINAL_MS) == [FORCE_END]
    assert call.audio(20_000) == [], "the vendor is mute: it may know more words"
    assert call.hear(info("Update", 19.0, 1)) == [SpeechEnd(900), EndOfTurn("Hello,", 500, 900, decided_ms=20_000)]
    assert call.hear(info("EndOfTurn", 20.0, 1)) == [], "the same turn is not told twice"
    with pytest.raises(Down, match="given up"):
        call.hear(info("Update", 21.0, 2))


def test_without_audio_the_turn_ends_with_what_is_known() -> None:
    call = Call()
    call.audio(1_000)
    call.hear(info("StartOfTurn", 0.9, 1))
    heard = call.wait(FINAL_MS + GRACE_MS + 40)
    assert heard[0] == FORCE_END and [type(event) for event in heard[1:]] == [SpeechEnd, EndOfTurn]


def test_new_words_put_the_deadline_off() -> None:
    call = Call()
    call.audio(1_000)
    call.hear(info("StartOfTurn", 0.9, 1))
    call.audio(1_000 + FINAL_MS - 100)
    call.hear(info("Update", 3.8, 2))
    assert call.audio(1_000 + 2 * FINAL_MS - 200) == []


def test_a_turn_that_is_too_long_is_ended_by_order() -> None:
    call = Call(ListenOptions(utterance_ms_max=1_000))
    call.audio(2_000)
    assert call.hear(info("StartOfTurn", 0.9, 1), info("Update", 2.2, 3)) == [SpeechStart(500), FORCE_END]


def test_a_turn_begins_no_sooner_than_the_last_one_ended() -> None:
    call = Call()
    call.audio(2_400)
    call.hear(info("StartOfTurn", 0.9, 1), info("EndOfTurn", 1.5, 2))
    assert call.hear(info("StartOfTurn", 1.5, turn=1, begin=1.2, times=False)) == [SpeechStart(1_300)]


@pytest.mark.parametrize(("code", "error"), [("RATE_LIMIT_EXCEEDED", Busy), ("INTERNAL_SERVER_ERROR", Down)])
def test_an_error_is_told_apart_and_its_prose_is_kept_out(code: str, error: type[ProviderError]) -> None:
    with pytest.raises(error) as caught:
        Call().hear({"type": "Error", "code": code, "description": "words of a caller"})
    assert "words" not in str(caught.value)


@pytest.mark.parametrize("message", [{"type": "TurnInfo"}, info("Update", 1.0) | {"turn_index": None}, "text"])
def test_a_malformed_message_is_an_error_of_the_few_kinds_that_the_ear_knows(message: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError, ArithmeticError, AttributeError)):
        Call().hear(message)
