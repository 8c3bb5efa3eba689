"""The pauses between attempts: where they begin, how they grow, where they end, and how far they are spread."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.process.backoff import Backoff

pytestmark = pytest.mark.fast

LAST_RANDOM = math.nextafter(1.0, 0.0)
"""The largest number of `random.random`."""


def test_it_begins_at_the_first_pause_doubles_and_stops_at_the_longest() -> None:
    backoff = Backoff(first_s=0.2, longest_s=5.0)
    assert [backoff.pause_s(repetition) for repetition in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_another_factor_grows_otherwise_and_1_does_not_grow() -> None:
    assert [Backoff(1.0, 100.0, factor=3.0).pause_s(repetition) for repetition in range(5)] == [1, 3, 9, 27, 81]
    assert [Backoff(1.0, 100.0, factor=1.0).pause_s(repetition) for repetition in (0, 1, 5000)] == [1, 1, 1]


def test_a_count_that_is_set_to_0_begins_anew_and_pauses_leave_no_trace() -> None:
    backoff = Backoff(first_s=0.5, longest_s=30.0)
    assert [backoff.pause_s(repetition) for repetition in (0, 1, 2, 9, 0, 1)] == [0.5, 1.0, 2.0, 30.0, 0.5, 1.0]


@pytest.mark.parametrize("factor", [2, 2.0, 1.5])
def test_the_longest_pause_stays_after_more_repetitions_than_a_float_can_double(factor: float) -> None:
    backoff = Backoff(first_s=0.5, longest_s=30.0, factor=factor)
    assert [backoff.pause_s(repetition) for repetition in (1_023, 1_024, 1_025, 10**6)] == [30.0] * 4


@pytest.mark.parametrize(
    ("jitter", "drawn", "share"),
    [(0.5, 0.0, 1.0), (0.5, 0.5, 0.75), (0.5, LAST_RANDOM, 0.5), (1.0, LAST_RANDOM, 0.0), (0.0, LAST_RANDOM, 1.0)],
)
def test_jitter_shortens_every_pause_by_up_to_its_share(jitter: float, drawn: float, share: float) -> None:
    backoff = Backoff(first_s=1.0, longest_s=4.0, jitter=jitter, random=lambda: drawn)
    pauses = [backoff.pause_s(repetition) for repetition in (0, 1, 2, 3)]
    assert pauses == pytest.approx([1 * share, 2 * share, 4 * share, 4 * share])


def test_each_pause_draws_anew() -> None:
    drawn = iter([0.0, 0.25, 0.5])
    backoff = Backoff(first_s=1.0, longest_s=1.0, jitter=1.0, random=lambda: next(drawn))
    assert [backoff.pause_s(0) for _ in range(3)] == [1.0, 0.75, 0.5]


def test_without_a_source_the_pauses_of_many_processes_differ() -> None:
    backoff = Backoff(first_s=1.0, longest_s=1.0, jitter=0.5)
    pauses = [backoff.pause_s(0) for _ in range(200)]
    assert 0.5 < min(pauses) < 0.6 < 0.9 < max(pauses) <= 1.0


@given(
    st.floats(0.001, 100.0),
    st.floats(1.0, 1000.0),
    st.floats(1.0, 10.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, LAST_RANDOM),
    st.integers(0, 10_000),
)
def test_the_bounds_hold_always(
    first_s: float, times: float, factor: float, jitter: float, drawn: float, repetition: int
) -> None:
    backoff = Backoff(first_s, first_s * times, factor, jitter, lambda: drawn)
    pause_s = backoff.pause_s(repetition)
    assert first_s * (1 - jitter) * (1 - 1e-9) <= pause_s <= first_s * times
    assert pause_s <= backoff.pause_s(repetition + 1)


@pytest.mark.parametrize(
    ("first_s", "longest_s", "factor", "jitter"),
    [
        (0.0, 1.0, 2.0, 0.0),
        (-1.0, 1.0, 2.0, 0.0),
        (2.0, 1.0, 2.0, 0.0),
        (1.0, 2.0, 0.9, 0.0),
        (1.0, 2.0, 2.0, -0.1),
        (1.0, 2.0, 2.0, 1.1),
        (math.nan, 1.0, 2.0, 0.0),
    ],
)
def test_what_would_not_grow_or_has_no_bound_is_refused(
    first_s: float, longest_s: float, factor: float, jitter: float
) -> None:
    with pytest.raises(ValueError, match="longest_s"):
        Backoff(first_s, longest_s, factor, jitter)
