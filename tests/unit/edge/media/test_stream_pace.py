"""A stream is paced like a line: whatever is sent, and however it is timed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.media.stream_pace import (
    AHEAD_MS_MAX,
    BEHIND_MS_MAX,
    EVENTS_AT_ONCE,
    EVENTS_PER_SECOND,
    FRAME_MS_MIN,
    KEYS_AT_ONCE,
    EventRate,
    FramePace,
    LineClock,
    StreamPace,
    TooFast,
)

pytestmark = pytest.mark.fast

PAUSES = st.one_of(st.just(0.0), st.floats(0, 40), st.floats(0, 40_000))  # most of them shorter than the audio
PAUSES_AND_AUDIO = st.lists(st.tuples(PAUSES, st.integers(0, 2000)), max_size=200)


@given(PAUSES_AND_AUDIO)
def test_never_more_than_five_seconds_are_taken_ahead_of_the_line(sent: list[tuple[float, int]]) -> None:
    clock, now, taken = LineClock(0.0), 0.0, 0.0
    for pause_ms, ms in sent:
        now += pause_ms
        taken += ms if clock.take(ms, now) else 0
        assert taken <= now + AHEAD_MS_MAX + 1e-6


@given(st.lists(st.tuples(st.floats(0, 3000), st.integers(1, 40)), max_size=200))
def test_never_more_events_are_taken_than_their_rate(sent: list[tuple[float, int]]) -> None:
    rate, now, taken = EventRate(0.0), 0.0, 0
    for pause_ms, count in sent:
        now += pause_ms
        taken += count if rate.take(count, now) else 0
        assert taken <= EVENTS_AT_ONCE + now * EVENTS_PER_SECOND / 1000 + 1e-6


@given(st.floats(0, BEHIND_MS_MAX), st.integers(0, 600))
def test_a_pause_and_its_burst_fit(pause_ms: float, seconds_before: int) -> None:
    clock, now = LineClock(0.0), 0.0
    for _ in range(seconds_before):
        now += 1000
        assert clock.take(1000, now)
    now += pause_ms
    for _ in range(int((pause_ms + AHEAD_MS_MAX) / 20) - 1):
        assert clock.take(20, now)


def test_a_line_whose_clock_is_a_little_fast_is_served_for_an_hour() -> None:
    clock, now = LineClock(0.0), 0.0
    for _ in range(3600 * 50):
        now += 20 * (1 - 0.001)  # ten times what a telephone's clock may be off
        assert clock.take(20, now)


def test_a_pause_of_an_hour_is_no_credit_for_an_hour() -> None:
    clock = LineClock(0.0)
    taken = sum(clock.take(20, 3_600_000.0) for _ in range(100_000))
    assert taken * 20 == BEHIND_MS_MAX + AHEAD_MS_MAX


def test_audio_of_both_sides_is_counted_apart() -> None:
    pace = StreamPace(0.0)
    for frame in range(1, 3000):
        pace.audio(20, frame * 20.0)
        pace.other_track(20, frame * 20.0)
    with pytest.raises(TooFast, match="audio"):
        pace.other_track(AHEAD_MS_MAX + 1, 2999 * 20.0)


def test_twenty_events_a_second_are_served_for_ever() -> None:
    pace = StreamPace(0.0)
    for event in range(2000):
        pace.events(1, event * 50.0)
    with pytest.raises(TooFast, match="events"):
        for _ in range(EVENTS_AT_ONCE + 1):
            pace.events(1, 100_000.0)


def test_keys_are_taken_as_fast_as_a_finger_presses_and_cost_no_events() -> None:
    pace = StreamPace(0.0)
    assert sum(pace.key(0.0) for _ in range(1000)) == KEYS_AT_ONCE
    assert all(pace.key(1000.0 + 100 * key) for key in range(1000))
    pace.events(EVENTS_AT_ONCE, 0.0)


def test_the_emptiest_frame_takes_its_time_and_so_does_a_ping() -> None:
    pace = FramePace(0.0)
    frames = next(count for count in range(10**6) if pace.frame(0.0))
    assert frames == AHEAD_MS_MAX / FRAME_MS_MIN
    assert pace.frame(0.0) == "frames"
    pings = next(count for count in range(10**6) if pace.ping(0.0))
    assert (pings, pace.ping(0.0)) == (EVENTS_AT_ONCE, "pings")
