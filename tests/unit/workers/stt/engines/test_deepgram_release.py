"""When a turn is released: `endpointing_ms` after the last sound, however wrong the vendor's word times are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.providers.deepgram_speech import Pace
from tests.hypothesis_profile import examples
from tests.unit.workers.stt.engines.standin_line import START_MS, played
from workers.providers.interfaces import EagerEndOfTurn, EndOfTurn, ListenOptions
from workers.stt.engines.deepgram_nova_core import REVISION_MS

pytestmark = pytest.mark.fast

SPOKEN_MS = 1_200
OPTIONS = ListenOptions(endpointing_ms=300, eager_endpointing_ms=200)


def released_ms(word_end_error_ms: int, options: ListenOptions = OPTIONS) -> int:
    """How long after the caller's last sound the turn was over."""
    heard = played(options, Pace(word_end_error_ms=word_end_error_ms), SPOKEN_MS)
    (ms,) = [one.after_ms for one in heard if isinstance(one.event, EndOfTurn)]
    return ms


@pytest.mark.parametrize("error_ms", [0, 50, 100, 150, -50, -100, -150])
def test_a_turn_is_released_when_the_silence_has_passed_be_the_word_times_exact_late_or_early(error_ms: int) -> None:
    assert released_ms(error_ms) == 300


@pytest.mark.parametrize("error_ms", [0, 100, -100])
def test_a_vendor_that_waits_for_the_whole_silence_ends_the_turn_with_its_final(error_ms: int) -> None:
    assert released_ms(error_ms, ListenOptions(endpointing_ms=300, eager_endpointing_ms=300)) == 350


@settings(max_examples=examples(60), deadline=None)
@given(error_ms=st.integers(-REVISION_MS, REVISION_MS), eager_ms=st.integers(60, 600), spoken=st.integers(10, 100))
def test_never_before_the_silence_has_passed(error_ms: int, eager_ms: int, spoken: int) -> None:
    options = ListenOptions(endpointing_ms=300, eager_endpointing_ms=eager_ms)
    heard = played(options, Pace(word_end_error_ms=error_ms), spoken * 20)
    (end,) = [one for one in heard if isinstance(one.event, EndOfTurn)]
    assert end.after_ms >= 300
    assert end.after_ms <= max(320, eager_ms + 50 + 20), "not long after, either"


def test_noise_after_the_words_does_not_move_their_end() -> None:
    """The detector hears the noise and waits; the words' times differ by more than they can be wrong, and count."""
    heard = played(OPTIONS, Pace(word_end_error_ms=-400, interim_ms=10_000), SPOKEN_MS)
    (end,) = [one.event for one in heard if isinstance(one.event, EndOfTurn)]
    assert end.end_ms == START_MS + SPOKEN_MS - 400


# --- a likely end, from interim words -------------------------------------------------------------------------------

EARLY = ListenOptions(endpointing_ms=500, eager_endpointing_ms=200, interim_endpointing_ms=100)
QUICK = Pace(interim_ms=150, word_ms=130)
"""A recogniser with an interim result for each 150 ms.  Deepgram's pages show one a second."""


def eager(heard: list) -> list[tuple[int, str, bool]]:
    events = [(one.after_ms, one.event) for one in heard if isinstance(one.event, EagerEndOfTurn)]
    return [(ms, event.text, event.unsure) for ms, event in events]


def test_words_that_stood_in_the_silence_are_a_likely_end_before_the_vendor_says_so() -> None:
    heard = played(EARLY, QUICK, SPOKEN_MS)
    (ms, text, unsure), (vendors_ms, same, sure) = eager(heard)
    assert text == same == "I would like to know when you are open."
    assert 100 <= ms <= 220 < vendors_ms, "the vendor's own signal comes after 200 ms, and the network's 50"
    assert unsure
    assert not sure
    assert heard[-1].after_ms == 500, "the end of the turn is where it was"


def test_a_result_a_second_is_too_rare_and_then_the_vendors_signal_counts() -> None:
    ((ms, _, unsure),) = eager(played(EARLY, Pace(interim_ms=1000, word_ms=130), SPOKEN_MS))
    assert (ms, unsure) == (250, False)


def test_without_the_option_interim_words_are_no_likely_end() -> None:
    ((ms, _, unsure),) = eager(played(ListenOptions(endpointing_ms=500), QUICK, SPOKEN_MS))
    assert (ms, unsure) == (250, False)


def test_without_preemptive_replies_there_are_none_on_interim_words_either() -> None:
    options = ListenOptions(endpointing_ms=500, eager_endpointing_ms=0, interim_endpointing_ms=100)
    assert eager(played(options, QUICK, SPOKEN_MS)) == []


def test_a_caller_who_goes_on_is_reported_to_speak_again_and_the_words_are_all_there_at_the_end() -> None:
    heard = played(EARLY, QUICK, 600, 180, 600)
    kinds = [type(one.event).__name__ for one in heard]
    assert kinds == [
        *("SpeechStart", "SpeechEnd", "EagerEndOfTurn"),
        *("SpeechStart", "SpeechEnd", "EagerEndOfTurn", "EagerEndOfTurn", "EndOfTurn"),
    ]
    (first_ms, first, _), (_, second, _), _ = eager(heard)
    assert first_ms < -600, "in the pause"
    assert second.startswith(first)
    assert second != first
    assert heard[-1].event.text == second


def test_noise_in_the_line_is_no_pause() -> None:
    """The floor of the loudness follows a hum within seconds; until then a likely end is the vendor's."""
    hum = bytes((0x50, 0xD0)) * 80
    heard = played(EARLY, QUICK, SPOKEN_MS, 200, 20, noise=hum)
    assert all(ms > 0 for ms, _, _ in eager(heard))
