"""Where a clause goes on at the next connection: no sound is lost, and hardly a word is said again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tts.resume_point import ON_ITS_WAY_MS, WORD_MS_MAX, resume_ms

pytestmark = pytest.mark.fast

TEXT = "We are open from Monday to Friday"
MARKS = tuple((at, at * 60) for at in range(len(TEXT)) if at == 0 or TEXT[at - 1] == " ")
LENGTH_MS = len(TEXT) * 60
FRAME_MS = 20


def test_a_clause_of_which_next_to_nothing_was_heard_is_said_from_its_start() -> None:
    assert [resume_ms(TEXT, ms, LENGTH_MS, MARKS) for ms in (0, 20, ON_ITS_WAY_MS)] == [0, 0, 0]


def test_it_goes_on_with_the_word_that_was_being_spoken() -> None:
    at = TEXT.index("Monday")
    assert resume_ms(TEXT, at * 60 + 300, LENGTH_MS, MARKS) == at * 60
    assert resume_ms(TEXT, at * 60 + 300, LENGTH_MS, ()) == at * 60


def test_the_last_moment_does_not_count() -> None:
    at = TEXT.index("Monday")
    assert resume_ms(TEXT, at * 60 + 60, LENGTH_MS, MARKS) == TEXT.index("from") * 60


def test_a_number_read_out_is_not_said_again_from_its_start() -> None:
    assert resume_ms("919876543210", 6_000, 7_000, ((0, 0),)) == 6_000 - ON_ITS_WAY_MS - WORD_MS_MAX


@given(
    text=st.text("abc ,.", max_size=60),
    heard_ms=st.integers(0, 20_000),
    length_ms=st.integers(0, 10_000),
    steps=st.lists(st.integers(0, 900), max_size=12),
)
def test_no_sound_is_lost_and_little_is_repeated(text: str, heard_ms: int, length_ms: int, steps: list[int]) -> None:
    marks = tuple((number, sum(steps[: number + 1])) for number in range(len(steps)))
    begins_ms = resume_ms(text, heard_ms, length_ms, marks)
    assert begins_ms % FRAME_MS == 0 and begins_ms >= 0
    assert begins_ms <= max(0, heard_ms - ON_ITS_WAY_MS), "sound was lost"
    if text:
        assert begins_ms > heard_ms - ON_ITS_WAY_MS - WORD_MS_MAX - FRAME_MS
