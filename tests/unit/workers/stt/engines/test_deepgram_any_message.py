"""Whatever Deepgram says: the order of the events, and deadlines that decide what a fast poll would decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hypothesis_profile import examples
from tests.unit.workers.stt.engines.test_deepgram_nova_core import OPTIONS, Call, results, started, utterance_end
from workers.providers.interfaces import EagerEndOfTurn, EndOfTurn, ListenOptions, SpeechEnd, SpeechStart, SttEvent

pytestmark = pytest.mark.fast

moments = st.integers(0, 300).map(lambda tenths: tenths / 10)
word_lists = st.lists(st.tuples(st.sampled_from(["yes", "no", "I"]), moments, moments), max_size=3)
messages = st.one_of(
    st.builds(started, moments),
    st.builds(utterance_end, moments),
    st.builds(
        lambda start, length, words, final, ended: results(
            start, start + length, *words, final=final, speech_final=ended
        ),
        *(moments, moments, word_lists, st.booleans(), st.booleans()),
    ),
)
choices = st.sampled_from((OPTIONS, replace(OPTIONS, interim_endpointing_ms=100)))
steps = st.one_of(messages, st.integers(1, 200).map(lambda frames: frames * 20), st.just("wait"))


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(steps, max_size=40), choices)
def test_whatever_the_vendor_says_onsets_and_offsets_alternate_and_no_utterance_is_empty(
    transcript: list[Any], options: ListenOptions
) -> None:
    call = Call(options)
    speaking = False
    told_ms = 0
    for step in transcript:
        match step:
            case int():
                heard = call.audio(call.at_ms + step)
            case "wait":
                heard = call.wait(2_400)
            case _:
                heard = call.hear(step)
        for event in heard:
            match event:
                case SpeechStart():
                    assert not speaking
                    speaking = True
                case SpeechEnd():
                    assert speaking
                    speaking = False
                case EagerEndOfTurn(text, start_ms, end_ms):
                    assert text and not speaking and start_ms <= end_ms
                case EndOfTurn(text, start_ms, end_ms, decided_ms):
                    assert text and not speaking and start_ms <= end_ms <= decided_ms
                    assert told_ms <= end_ms
                    told_ms = end_ms
    call.wait(10_000)
    assert call.turns._turn is None, "a turn hangs"


class TimedCall(Call):
    """Wakes the core only at its deadline, as the socket shell does."""

    def wait(self, ms: int) -> list[SttEvent | str]:
        heard: list[SttEvent | str] = []
        for _ in range(ms // 20):
            self.now_ms += 20
            if self.turns.deadline is not None and self.turns.deadline <= self.now_ms / 1000:
                heard += self.turns.wake(self.now_ms / 1000)
        return heard


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(steps, max_size=40), choices)
def test_the_deadlines_decide_what_a_fast_poll_would_decide(transcript: list[Any], options: ListenOptions) -> None:
    polled, timed = Call(options), TimedCall(options)
    for step in transcript:
        match step:
            case int():
                assert timed.audio(timed.at_ms + step) == polled.audio(polled.at_ms + step)
            case "wait":
                assert timed.wait(2_400) == polled.wait(2_400)
            case _:
                assert timed.hear(step) == polled.hear(step)
