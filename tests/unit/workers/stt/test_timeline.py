"""Stamps of stages: where a word ended in the audio, and when that reached the edge."""

import pytest

from common.bus import START
from workers.stt.timeline import Timeline

pytestmark = pytest.mark.fast

NOW_MS = 1_000_000
FRAME = b"\xff" * 160


def heard(*frames: tuple[int, int]) -> Timeline:
    """A timeline of 20-ms frames: (position, arrival)."""
    timeline = Timeline()
    for number, (position_ms, at_ms) in enumerate(frames):
        timeline.note(f"{number}-0", position_ms, at_ms, FRAME)
    return timeline


def test_the_end_of_a_frame_stands_for_its_arrival():
    timeline = heard((0, 5_020), (20, 5_040), (40, 5_060))
    assert timeline.wall(40, NOW_MS) == 5_040, "the frame from 20 to 40 came at 5,040, when its last sample was spoken"
    assert timeline.wall(60, NOW_MS) == 5_060


def test_a_position_within_a_frame_is_that_much_before_its_arrival():
    timeline = heard((0, 5_020), (20, 5_041), (40, 5_060))
    assert timeline.wall(21, NOW_MS) == 5_022
    assert timeline.wall(33, NOW_MS) == 5_034


def test_a_frame_of_another_length_counts_with_its_own():
    timeline = Timeline()
    timeline.note("0-0", 0, 5_060, FRAME * 3)
    assert timeline.wall(60, NOW_MS) == 5_060
    assert timeline.wall(10, NOW_MS) == 5_010


def test_what_has_not_come_yet_is_never_in_the_future():
    timeline = heard((0, 5_020), (20, 5_040))
    assert timeline.wall(40, NOW_MS) == timeline.wall(500, NOW_MS) == 5_040, "else a stage after it would be negative"


def test_the_stages_of_a_turn_are_never_negative():
    """A vendor may place the end of the words at any position up to the newest frame, and decide there."""
    timeline = heard(*((position_ms, 5_020 + position_ms) for position_ms in range(0, 400, 20)))
    stamps = [timeline.wall(position_ms, 5_400) for position_ms in range(1, 420)]
    assert stamps == sorted(stamps)
    assert stamps[-1] <= 5_400


def test_a_position_in_a_gap_counts_from_the_frame_before_it():
    timeline = heard((0, 5_020), (20, 5_040), (100, 5_120))
    assert timeline.wall(60, NOW_MS) == 5_060


def test_without_a_frame_it_is_now():
    assert Timeline().wall(500, NOW_MS) == NOW_MS
    assert heard((40, 5_060)).wall(40, NOW_MS) == NOW_MS, "the audio before that frame is not known"


def test_the_next_owner_begins_before_the_audio_at_a_position():
    timeline = heard((0, 5_020), (20, 5_040), (40, 5_060))
    assert timeline.entry(0) == START
    assert timeline.entry(20) == "0-0"
    assert timeline.entry(21) == timeline.entry(40) == "1-0"
