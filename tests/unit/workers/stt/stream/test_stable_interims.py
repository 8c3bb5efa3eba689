"""Words that stood, and a pause: when a reply may be begun before the vendor's signal, and how often in vain."""

import pytest

from workers.stt.stream.stable_interims import MISSES_MAX, PER_TURN_MAX, StableInterims

pytestmark = pytest.mark.fast

WAIT_MS = 120


def due_after(interims: StableInterims, text: str, ms: int = WAIT_MS, quiet_ms: int = WAIT_MS) -> bool:
    """Whether a reply may be begun on words that came so long ago."""
    interims.words(text, 1_000)
    interims.words(text, 1_000 + ms)
    return interims.due(quiet_ms, 1_000 + ms)


def test_both_the_words_and_the_silence_must_stand() -> None:
    assert due_after(StableInterims(WAIT_MS), "hello")
    assert not due_after(StableInterims(WAIT_MS), "hello", ms=WAIT_MS - 1)
    assert not due_after(StableInterims(WAIT_MS), "hello", quiet_ms=WAIT_MS - 1)
    assert not due_after(StableInterims(WAIT_MS), "")


def test_without_the_option_nothing_is_due() -> None:
    assert not due_after(StableInterims(0), "hello", ms=5_000, quiet_ms=5_000)


def test_a_comma_that_comes_and_goes_is_no_change_and_a_word_is() -> None:
    interims = StableInterims(WAIT_MS)
    interims.words("well", 0)
    interims.words("Well,", WAIT_MS - 10)
    assert interims.due(WAIT_MS, WAIT_MS)
    interims.words("Well, no", WAIT_MS)
    assert not interims.due(WAIT_MS, WAIT_MS + 10)


def test_words_are_reported_once() -> None:
    interims = StableInterims(WAIT_MS)
    assert due_after(interims, "hello")
    interims.begin()
    assert interims.begun("Hello.")
    assert not interims.due(WAIT_MS, 2_000)


def test_a_turn_has_a_bounded_number_of_them() -> None:
    interims = StableInterims(WAIT_MS)
    for number in range(PER_TURN_MAX):
        assert due_after(interims, f"word {number}")
        interims.begin()
    assert not due_after(interims, "another")
    interims.end_turn("another")
    assert due_after(interims, "another")


def lose(interims: StableInterims) -> None:
    assert due_after(interims, "one")
    interims.begin()
    interims.end_turn("one two")


def test_after_so_many_in_vain_a_turn_is_left_to_the_vendor_and_then_one_is_tried_again() -> None:
    interims = StableInterims(WAIT_MS)
    for _ in range(MISSES_MAX):
        lose(interims)
    assert not due_after(interims, "one")
    interims.end_turn("one")
    lose(interims)
    assert not due_after(interims, "one")


def test_one_that_was_right_forgives_the_others() -> None:
    interims = StableInterims(WAIT_MS)
    for _ in range(MISSES_MAX - 1):
        lose(interims)
    assert due_after(interims, "one")
    interims.begin()
    interims.end_turn("One.")
    for _ in range(MISSES_MAX - 1):
        lose(interims)
    assert due_after(interims, "one")
