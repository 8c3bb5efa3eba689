"""How often an ear that fails is opened again: at once if it was well, and never in a rush."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.stt.stream.reopening import OPENINGS_PER_MINUTE, PAUSES, STEADY_S, Reopening

pytestmark = pytest.mark.fast


def openings(lives_s: list[float], heard: bool, until_s: float) -> list[float]:
    """When ears are opened whose lives are these, one after the other, by a session with one provider."""
    reopening, now, opened = Reopening(), 0.0, []
    at_once = True
    for life_s in lives_s:
        if not at_once:
            now += reopening.pause_s()
        now += reopening.limit_s(now)
        if now > until_s:
            break
        opened.append(now)
        reopening.opened(now)
        now += life_s
        at_once = reopening.failed(now, heard)
    return opened


def test_an_ear_that_was_well_is_replaced_at_once() -> None:
    assert openings([STEADY_S, STEADY_S, STEADY_S], True, 100.0) == [0.0, STEADY_S, 2 * STEADY_S]


def test_one_ear_that_broke_off_is_replaced_at_once_and_the_next_after_a_pause() -> None:
    assert openings([1.0, 1.0, 1.0], True, 100.0) == [0.0, 1.0, 2.0 + PAUSES.first_s]


def test_the_pauses_grow() -> None:
    times = openings([0.0] * 8, False, 60.0)
    pauses = [round(later - sooner, 3) for sooner, later in pairwise(times)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, PAUSES.longest_s, PAUSES.longest_s]


def test_after_an_ear_that_was_well_the_pauses_begin_anew() -> None:
    reopening = Reopening()
    reopening.opened(0.0)
    assert [reopening.pause_s() for _ in range(3)] == [0.2, 0.4, 0.8]
    assert reopening.failed(STEADY_S, True)
    assert reopening.pause_s() == PAUSES.first_s


@given(st.lists(st.floats(0.0, 12.0), min_size=1, max_size=200), st.booleans())
def test_never_more_than_so_many_in_a_minute(lives_s: list[float], heard: bool) -> None:
    times = openings(lives_s, heard, 300.0)
    for first in times:
        assert sum(first <= time < first + 59.9 for time in times) <= OPENINGS_PER_MINUTE
