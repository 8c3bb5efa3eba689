"""Music on hold ends where the agent says something, however much of it is waiting."""

from __future__ import annotations

import pytest

from edge.media.playout import Playout
from tests.unit.edge.media.test_playout import T, audio, run, told

pytestmark = pytest.mark.fast


def on_hold() -> Playout:
    """Music of 50 frames, of which 10 have left; its clause is complete here."""
    playout = Playout(lead_ms=200)
    playout.push(1, 0, 0, audio(*range(50)), True, is_sound=True)
    assert told(playout.due(T)) == ["begin 1", *range(10)]
    return playout


def test_a_sound_ends_where_the_reply_goes_on_with_words() -> None:
    playout = on_hold()
    assert playout.push(1, 1, 0, audio(90, 91), True) == 0
    assert run(playout, T + 400) == ["mark 1.0", 90, 91, "mark 1.1"]
    assert playout.held_frames == 0


def test_a_sound_that_was_taken_back_ends_so_too() -> None:
    playout = on_hold()
    playout.cut(T + 50)
    playout.cleared()
    playout.push(1, 1, 0, audio(90), True)
    assert told(playout.due(T + 60)) == ["mark 1.0", 90, "mark 1.1"]


def test_a_sound_behind_a_sound_waits_as_words_behind_words_do() -> None:
    playout = on_hold()
    playout.push(1, 1, 0, audio(90), True, is_sound=True)
    assert run(playout, T + 2_000) == [*range(10, 50), "mark 1.0", 90, "mark 1.1"]
    late = on_hold()
    late.push(1, 1, 0, audio(90), True)
    assert late.push(1, 0, 40, audio(*range(40, 60)), True, is_sound=True) == 20, "of the sound that is over"


def test_a_successor_that_sends_the_sound_from_its_start_repeats_nothing() -> None:
    playout = Playout(lead_ms=200)
    playout.push(1, 0, 0, audio(*range(30)), False, is_sound=True)
    playout.due(T)
    playout.push(1, 0, 0, audio(*range(50)), True, is_sound=True)
    assert run(playout, T + 2_000) == [*range(10, 50), "mark 1.0"]
