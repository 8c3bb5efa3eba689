"""When a turn is released: `endpointing_ms` after the last sound, however wrong the vendor's word times are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.providers.deepgram_speech import Pace
from tests.hypothesis_profile import examples
from tests.unit.workers.stt.engines.standin_line import START_MS, played
from workers.providers.interfaces import EndOfTurn, ListenOptions
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
