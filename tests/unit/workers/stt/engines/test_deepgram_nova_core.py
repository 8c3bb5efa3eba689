"""Deepgram's results as turns: what the vendor says, in a table, and what is heard."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.providers.interfaces import (
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    SpeechEnd,
    SpeechStart,
    SttEvent,
)
from workers.stt.engines.deepgram_nova_core import DEAD_MS, FINALIZE, LIVE_LAG_MS, NovaCore
from workers.stt.stream.audio_feed import AudioFeed

pytestmark = pytest.mark.fast

FINAL_MS, GRACE_MS = 1500, 700
OPTIONS = ListenOptions(endpointing_ms=500, eager_endpointing_ms=200, min_interruption_ms=160)


def results(start: float, end: float, *words: tuple[str, float, float], **flags: bool) -> dict[str, Any]:
    """A Results message: words are (word, start, end); `final`, `speech_final`."""
    spans = [{"word": word.lower(), "punctuated_word": word, "start": a, "end": b} for word, a, b in words]
    alternative = {"transcript": " ".join(word for word, _, _ in words), "words": spans, "confidence": 1.0}
    ended = flags.get("speech_final", False)
    head = {"type": "Results", "start": start, "duration": end - start, "speech_final": ended}
    return head | {"is_final": ended or flags.get("final", False), "channel": {"alternatives": [alternative]}}


def started(at: float) -> dict[str, Any]:
    return {"type": "SpeechStarted", "channel": [0], "timestamp": at}


def utterance_end(at: float) -> dict[str, Any]:
    return {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": at}


class Call:
    """A socket that is fed and speaks.  The clock goes with the audio, unless a test says otherwise."""

    def __init__(self, options: ListenOptions = OPTIONS, position_ms: int = 0) -> None:
        self.feed = AudioFeed(600_000)
        self.turns = NovaCore("deepgram/nova-3", options, self.feed, FINAL_MS, GRACE_MS)
        self.at_ms = position_ms
        self.now_ms = 1_000_000

    def audio(self, to_ms: int) -> list[SttEvent | str]:
        """Live audio up to there, 20 ms by 20 ms."""
        heard: list[SttEvent | str] = []
        while self.at_ms < to_ms:
            self.now_ms += 20
            heard += self.put(self.at_ms + 20)
        return heard

    def put(self, to_ms: int) -> list[SttEvent | str]:
        """Audio up to there, at once."""
        audio = b"\xff" * 8 * (to_ms - self.at_ms)
        self.feed.put(self.at_ms, audio)
        heard = [*self.turns.feed(self.at_ms, audio, self.now_ms / 1000)]
        self.at_ms = to_ms
        while self.feed.take(160):
            pass
        return [*heard, *self.turns.wake(self.now_ms / 1000)]

    def hear(self, *messages: dict[str, Any]) -> list[SttEvent | str]:
        return [heard for text in map(json.dumps, messages) for heard in self.turns.receive(text, self.now_ms / 1000)]

    def wait(self, ms: int) -> list[SttEvent | str]:
        """No audio for so long."""
        heard: list[SttEvent | str] = []
        for _ in range(ms // 20):
            self.now_ms += 20
            heard += self.turns.wake(self.now_ms / 1000)
        return heard


HELLO = ("Hello,", 0.5, 0.9)
THERE = ("there.", 1.0, 1.3)
AGAIN = ("Again.", 1.7, 2.1)


# --- a turn ---------------------------------------------------------------------------------------------------------


def test_a_turn_from_its_first_sound_to_its_end() -> None:
    call = Call()
    assert call.audio(660) == []
    assert call.hear(started(0.48)) == [SpeechStart(480)]
    assert call.audio(1_100) + call.hear(results(0, 1.0, HELLO)) == []
    assert call.audio(1_600) == []
    assert call.hear(results(0, 1.5, HELLO, THERE, speech_final=True)) == [
        SpeechEnd(1_300),
        EagerEndOfTurn("Hello, there.", 480, 1_300),
    ]
    assert call.audio(1_780) == []
    assert call.audio(1_900) == [EndOfTurn("Hello, there.", 480, 1_300, decided_ms=1_800)]
    assert call.hear(results(1.5, 2.5), utterance_end(1.3)) == []


def test_positions_are_the_calls_own_also_across_a_gap() -> None:
    call = Call(position_ms=40_000)
    call.audio(40_400)
    call.at_ms = 47_000  # frames are missing
    call.audio(48_200)
    assert call.hear(started(0.5)) == [SpeechStart(47_100)]
    heard = call.hear(results(0, 1.5, HELLO, THERE, speech_final=True))
    assert heard == [SpeechEnd(47_900), EagerEndOfTurn("Hello, there.", 47_100, 47_900)]


def test_finals_are_gathered_until_the_speech_ends() -> None:
    call = Call()
    call.audio(2_600)
    finals = results(0, 1.0, HELLO, final=True), results(1.0, 1.5, THERE, final=True)
    assert call.hear(started(0.5), *finals, results(1.5, 1.9, ("A", 1.7, 1.8))) == [
        SpeechStart(500),
        SpeechEnd(1_300),  # a pause that the results show
        EagerEndOfTurn("Hello, there.", 500, 1_300),
        SpeechStart(1_700),
    ]
    heard = call.hear(results(1.5, 2.3, AGAIN, speech_final=True))
    assert heard[-1] == EndOfTurn("Hello, there. Again.", 500, 2_100, decided_ms=2_600)


def test_a_caller_who_goes_on_withdraws_the_likely_end() -> None:
    call = Call()
    call.audio(1_500)
    heard = call.hear(started(0.5), results(0, 1.5, HELLO, THERE, speech_final=True))
    assert heard == [SpeechStart(500), SpeechEnd(1_300), EagerEndOfTurn("Hello, there.", 500, 1_300)]
    assert call.audio(1_740) == []
    assert call.hear(started(1.66)) == [SpeechStart(1_660)]
    assert call.audio(2_500) == []  # the endpoint is past, but the caller speaks
    heard = call.hear(results(1.5, 2.3, AGAIN, speech_final=True))
    assert heard == [SpeechEnd(2_100), EagerEndOfTurn("Hello, there. Again.", 500, 2_100)]
    assert call.audio(2_600) == [EndOfTurn("Hello, there. Again.", 500, 2_100, decided_ms=2_600)]


@pytest.mark.parametrize("eager_endpointing_ms", [0, 200])
def test_nobody_is_told_of_likely_ends_who_does_not_want_to(eager_endpointing_ms: int) -> None:
    call = Call(ListenOptions(eager_endpointing_ms=eager_endpointing_ms))
    call.audio(1_500)
    heard = call.hear(started(0.5), results(0, 1.5, HELLO, speech_final=True))
    assert any(isinstance(event, EagerEndOfTurn) for event in heard) == bool(eager_endpointing_ms)


# --- which clock ----------------------------------------------------------------------------------------------------


def test_in_the_middle_of_speech_the_clock_of_the_audio_sent_decides_nothing() -> None:
    """A final comes every few seconds of speech; what was sent since may hold the next words."""
    call = Call()
    call.audio(1_400)
    assert call.hear(started(0.5), results(0, 1.32, HELLO, THERE, final=True)) == [SpeechStart(500)]
    assert call.audio(2_300) == []
    assert call.hear(results(1.32, 2.2, AGAIN)) == []


def test_results_without_words_are_silence_even_if_the_detector_never_says_so() -> None:
    call = Call()
    call.audio(2_000)
    call.hear(started(0.5), results(0, 1.32, HELLO, THERE, final=True))
    assert call.hear(results(1.32, 1.9)) == [
        SpeechEnd(1_300),
        EagerEndOfTurn("Hello, there.", 500, 1_300),
        EndOfTurn("Hello, there.", 500, 1_300, decided_ms=1_900),
    ]


def test_a_replay_decides_what_the_live_call_would_have_decided() -> None:
    """All is sent at once, and the vendor works through it: a pause of 400 ms ends no turn of 500 ms."""
    call = Call()
    call.put(10_000)
    heard = call.hear(started(0.5), results(0, 1.5, HELLO, THERE, speech_final=True))
    assert heard == [SpeechStart(500), SpeechEnd(1_300), EagerEndOfTurn("Hello, there.", 500, 1_300)]
    heard = call.hear(started(1.7), results(1.5, 2.3, AGAIN, speech_final=True))
    assert heard == [SpeechStart(1_700), SpeechEnd(2_100), EagerEndOfTurn("Hello, there. Again.", 500, 2_100)]
    assert call.hear(results(2.3, 2.7)) == [EndOfTurn("Hello, there. Again.", 500, 2_100, decided_ms=2_700)]


def test_after_a_replay_the_live_audio_counts_from_where_the_vendor_is() -> None:
    call = Call()
    call.put(1_500 + LIVE_LAG_MS + 500)
    call.hear(started(0.5), results(0, 1.5, HELLO, THERE, speech_final=True))
    assert call.audio(call.at_ms + 280) == []
    assert [type(event) for event in call.audio(call.at_ms + 20)] == [EndOfTurn]


# --- noise ----------------------------------------------------------------------------------------------------------


def test_a_cough_is_an_onset_and_an_offset_and_no_words() -> None:
    call = Call()
    call.audio(1_700)
    assert call.hear(started(0.5)) == [SpeechStart(500)]
    assert call.hear(results(0, 1.0)) == []
    assert call.hear(results(0, 1.6)) == [SpeechEnd(660)]
    call.audio(3_000)
    assert call.hear(results(1.6, 2.6)) == []


def test_a_detector_that_hears_the_noise_end_says_so_sooner() -> None:
    call = Call()
    call.audio(1_000)
    assert call.hear(started(0.5), results(0, 0.9, speech_final=True)) == [SpeechStart(500), SpeechEnd(660)]


def test_a_cough_after_the_words_delays_the_turn_and_does_not_lose_it() -> None:
    call = Call()
    call.audio(1_500)
    call.hear(started(0.5), results(0, 1.5, HELLO, THERE, speech_final=True))
    call.audio(1_700)
    assert call.hear(started(1.6)) == [SpeechStart(1_600)]
    call.audio(2_700)
    assert call.hear(results(1.5, 2.6)) == [
        SpeechEnd(1_760),
        EagerEndOfTurn("Hello, there.", 500, 1_300),
        EndOfTurn("Hello, there.", 500, 1_300, decided_ms=2_600),
    ]


def test_words_that_the_final_takes_back_are_no_utterance() -> None:
    call = Call()
    call.audio(1_500)
    assert call.hear(results(0, 1.0, ("Huh?", 0.5, 0.7))) == [SpeechStart(500)]
    assert call.hear(results(0, 1.4, speech_final=True)) == [SpeechEnd(660)]
    assert call.audio(4_000) == []


def test_the_vendors_utterance_end_works_where_noise_keeps_its_detector_awake() -> None:
    call = Call()
    call.audio(2_500)
    call.hear(started(0.5), results(0, 1.4, HELLO, THERE, final=True))
    assert call.hear(utterance_end(1.3)) == [
        SpeechEnd(1_300),
        EndOfTurn("Hello, there.", 500, 1_300, decided_ms=1_400),
    ]


def test_an_utterance_end_of_older_words_is_void() -> None:
    call = Call()
    call.audio(2_500)
    call.hear(started(0.5), results(0, 1.4, HELLO, THERE, final=True), results(1.4, 2.2, AGAIN))
    assert call.hear(utterance_end(1.3)) == []


# --- finals that do not come ----------------------------------------------------------------------------------------


def interim_only(call: Call) -> None:
    call.audio(1_500)
    assert call.hear(started(0.5), results(0, 1.4, HELLO, THERE)) == [SpeechStart(500)]


def test_an_overdue_final_is_asked_for_and_then_the_interim_is_taken() -> None:
    call = Call()
    interim_only(call)
    assert call.audio(1_500 + FINAL_MS - 20) == []
    assert call.audio(1_500 + FINAL_MS) == [FINALIZE]
    assert call.audio(call.at_ms + GRACE_MS - 20) == []
    assert call.hear(results(0, 3.0, HELLO, THERE)) == []  # it is alive, and says no final
    heard = call.audio(call.at_ms + 20)
    assert [type(event) for event in heard] == [SpeechEnd, EndOfTurn]
    assert heard[-1].text == "Hello, there."  # type: ignore[union-attr]


def test_the_answer_to_finalize_ends_the_turn_properly() -> None:
    call = Call()
    interim_only(call)
    assert call.audio(1_500 + FINAL_MS) == [FINALIZE]
    heard = call.hear(results(0, 3.0, HELLO, THERE, AGAIN, final=True))
    assert heard[-1] == EndOfTurn("Hello, there. Again.", 500, 2_100, decided_ms=3_000)


def test_a_vendor_that_went_mute_is_not_believed_to_have_said_all() -> None:
    """The ear will find it dead; a fresh one hears the whole utterance again."""
    call = Call()
    interim_only(call)
    assert call.audio(20_000) == [FINALIZE]


def test_without_audio_the_turn_ends_with_what_is_known() -> None:
    call = Call()
    interim_only(call)
    heard = call.wait(DEAD_MS + GRACE_MS + 40)
    assert heard[0] == FINALIZE
    assert [type(event) for event in heard[1:]] == [SpeechEnd, EndOfTurn]


def test_without_audio_final_words_and_onsets_come_to_an_end_too() -> None:
    call = Call()
    call.audio(1_500)
    call.hear(started(0.5), results(0, 1.32, HELLO, THERE, final=True))
    assert [type(event) for event in call.wait(DEAD_MS + 40)] == [SpeechEnd, EagerEndOfTurn, EndOfTurn]
    call.audio(2_500)
    assert call.hear(started(2.4)) == [SpeechStart(2_400)]
    assert call.wait(DEAD_MS + 40) == [SpeechEnd(2_560)]


def test_a_final_that_comes_after_all_says_nothing_twice() -> None:
    call = Call()
    interim_only(call)
    call.wait(DEAD_MS + GRACE_MS + 40)
    call.audio(2_600)
    assert call.hear(results(0, 1.5, HELLO, THERE, speech_final=True)) == []
    assert call.hear(results(0, 2.5, HELLO, THERE, AGAIN)) == [SpeechStart(1_700)]
    heard = call.hear(results(0, 2.5, HELLO, THERE, AGAIN, speech_final=True))
    assert heard[-1] == EndOfTurn("Again.", 1_700, 2_100, decided_ms=2_600)


def test_a_turn_that_is_too_long_is_told_in_pieces() -> None:
    call = Call(ListenOptions(utterance_ms_max=1_000))
    call.audio(1_600)
    heard = call.hear(started(0.2), results(0, 1.4, ("One", 0.2, 0.6), ("two", 0.7, 1.3), final=True))
    assert heard == [
        SpeechStart(200),
        SpeechEnd(1_300),
        EndOfTurn("One two", 200, 1_300, decided_ms=1_400),
        SpeechStart(1_300),
    ]
    call.audio(2_200)
    heard = call.hear(results(1.4, 2.0, ("three.", 1.4, 1.7), speech_final=True))
    assert heard[-1] == EndOfTurn("three.", 1_300, 1_700, decided_ms=2_200)


def test_a_turn_without_finals_is_cut_as_well() -> None:
    call = Call(ListenOptions(utterance_ms_max=1_000))
    call.audio(1_600)
    assert call.hear(started(0.2), results(0, 1.4, ("One", 0.2, 0.6), ("two", 0.7, 1.3))) == [
        SpeechStart(200),
        FINALIZE,
    ]
    call.audio(1_600 + GRACE_MS)
    heard = call.hear(results(0, 2.2, ("One", 0.2, 0.6), ("two", 0.7, 1.3), ("three", 1.5, 2.0)))
    assert [type(event) for event in heard] == [SpeechEnd, EndOfTurn]


# --- what is not understood -----------------------------------------------------------------------------------------


NO_WORDS = {"type": "Results", "start": 0, "duration": 1, "channel": {"alternatives": []}}


@pytest.mark.parametrize(
    "message",
    [[], {}, {"type": "Results"}, {"type": "SpeechStarted", "timestamp": None}]
    + [NO_WORDS | {"start": start} for start in ("0", float("nan"), float("inf"))]
    + [NO_WORDS | {"channel": {"alternatives": [{"transcript": None}]}}],
)
def test_a_malformed_message_is_an_error_of_the_few_kinds_that_the_ear_knows(message: Any) -> None:
    call = Call()
    call.audio(1_000)
    with pytest.raises((LookupError, TypeError, ValueError, ArithmeticError, AttributeError)):
        call.hear(message)


def test_messages_of_other_types_are_skipped_and_an_error_is_down() -> None:
    call = Call()
    assert call.hear({"type": "Metadata"}, {"type": "SomethingNew"}) == []
    with pytest.raises(Down) as caught:
        call.hear({"type": "Error", "description": "words of a caller"})
    assert "words" not in str(caught.value)
