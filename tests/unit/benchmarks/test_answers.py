"""The benchmark of answers: what it makes of what callers heard, of a profile, and of a figure beyond its bar."""

import math
from array import array

import pytest

from benchmarks.answers.caller import CallerRecord, caller_number, speech_frame
from benchmarks.answers.hearing import Figures, measured
from benchmarks.answers.plan import (
    ANSWER,
    PAUSE,
    SILENCE,
    SPEECH,
    Pace,
    cycle_frames,
    ideal,
    tokens_to_first_clause,
)
from benchmarks.answers.profiles import folded
from benchmarks.answers.results import BARS, missed, numbers
from benchmarks.answers.run import RunPlan, RunResult, Use

pytestmark = pytest.mark.fast

MS = 1_000_000
WHOLE_RUN = (0, 10**18)


def heard(
    bursts: list[tuple[int, int]], frames: list[tuple[int, int]], clears: tuple[int, ...] = (), quiet: int = 0
) -> CallerRecord:
    """All in ms: speeches (first, last frame), frames (arrival, duration); the first `quiet` frames are silence."""
    return CallerRecord(
        [(first * MS, last * MS) for first, last in bursts],
        array("q", [at * MS for at, _ in frames]),
        array("l", [8 * duration for _, duration in frames]),
        array("b", [number >= quiet for number in range(len(frames))]),
        array("q", [at * MS for at in clears]),
    )


def figures(one: CallerRecord, *onsets_ms: int, window: tuple[int, int] = WHOLE_RUN) -> Figures:
    return measured({7: one}, {7: [at * MS for at in onsets_ms]}, window)


def test_an_answers_wait_is_counted_from_the_last_word_to_the_first_audible_frame():
    found = figures(heard([(1000, 2000)], [(2500, 20), (2730, 20), (2740, 20)], quiet=1))
    assert found.waits == [730 * MS]
    assert found.unanswered == 0


def test_a_speech_without_an_answer_is_counted():
    assert figures(heard([(1000, 2000)], [])).unanswered == 1
    assert figures(heard([(1000, 2000), (4000, 5000)], [(5700, 20)])).unanswered == 1


def test_a_speech_outside_of_the_window_is_not_counted():
    found = figures(heard([(1000, 2000)], [(2700, 20)]), window=(2001 * MS, 9000 * MS))
    assert found == Figures()


def test_a_buffer_that_runs_dry_inside_a_reply_is_silence_and_its_end_is_none():
    found = figures(heard([(1000, 2000)], [(2700, 200), (2850, 200), (3150, 100)]))
    assert found.gaps == [50 * MS]  # played until 3100, the next came at 3150
    assert found.played_ns == 500 * MS
    assert math.isclose(found.silence_share, 50 / 550)


def test_the_pause_between_two_replies_is_no_silence_inside_one():
    found = figures(heard([(1000, 2000), (4000, 5000)], [(2700, 200), (5700, 200)]))
    assert found.gaps == []


def test_a_barge_in_is_counted_from_the_vendors_word_and_its_answer_comes_after_the_clear():
    talking_over = heard([(1000, 2000), (3000, 4000)], [(2700, 1000), (3100, 20), (4700, 200)], clears=(3180,))
    found = figures(talking_over, 1170, 3170)
    assert found.detected_to_clear == [10 * MS]
    assert found.speech_to_clear == [180 * MS]
    assert found.waits == [700 * MS, 700 * MS]
    assert found.uncleared == 0


def test_what_a_clear_throws_away_was_not_played():
    found = figures(heard([(1000, 2000), (3000, 4000)], [(2700, 1000)], clears=(3180,)))
    assert found.played_ns == 300 * MS  # until the caller spoke


def test_a_barge_in_that_clears_nothing_is_counted_and_its_answer_is_not():
    found = figures(heard([(1000, 2000), (3000, 4000)], [(2700, 2000), (4650, 20)]), 3170)
    assert (found.uncleared, found.unanswered, found.waits) == (1, 0, [700 * MS])


def test_speech_after_the_reply_was_played_out_is_no_barge_in():
    found = figures(heard([(1000, 2000), (3000, 4000)], [(2700, 300), (4700, 20)], clears=(3010,)), 3001)
    assert found.detected_to_clear == []
    assert found.uncleared == 0


def test_a_caller_is_known_by_the_audio_wherever_its_frames_are_cut():
    stream = b"\xff" * 100 + speech_frame(199) + speech_frame(199)
    assert caller_number(stream) == 199
    assert caller_number(stream[103:]) == 199
    assert caller_number(b"\xff" * 160) == caller_number(stream[:107]) == -1


def test_the_ideal_is_the_sum_of_the_vendors_latencies():
    pace = Pace()
    waited_ms = 1000 * (tokens_to_first_clause(ANSWER) - 1) / pace.tokens_per_s
    assert math.isclose(ideal(pace).ms, 300 + 50 + 150 + waited_ms + 100)
    assert 0 < waited_ms < 200
    assert str(ideal(pace)).endswith(f"= {ideal(pace).ms:.0f} ms")


@pytest.mark.parametrize("pause_ms", [0, 160])
def test_a_cycle_has_three_speeches_and_a_pause_is_a_part_of_its_speech(pause_ms: int):
    frames = cycle_frames(pause_ms)
    ends = [now for now, then in zip(frames, (*frames[1:], frames[0]), strict=True) if then == SILENCE != now]
    assert ends == [SPEECH] * 3
    assert frames.count(PAUSE) == 3 * pause_ms // 20
    assert len(frames) == len(cycle_frames())


def test_a_profile_counts_a_recursive_function_once_per_sample():
    profile = folded(
        [
            "run (runners.py:118);flush (a/b/common/bus/redis.py:90) 6",
            "run (runners.py:118);walk (x.py:1);walk (x.py:2) 3",
            "idle 5",
            "not a stack",
        ]
    )
    assert profile.samples == 9
    assert dict(profile.own) == {"flush (common/bus/redis.py)": 6 / 9, "walk (x.py)": 3 / 9}
    assert dict(profile.whole)["walk (x.py)"] == 3 / 9
    assert dict(profile.whole)["flush (common/bus/redis.py)"] == 6 / 9
    assert "run (runners.py)" not in dict(profile.whole)  # below every stack


def a_run(late_ms: float = 0.1, wait_ms: float = 700.0, strangers_s: float = 1.0) -> RunResult:
    seen = Figures(waits=[round(wait_ms * MS)] * 9, detected_to_clear=[5 * MS], speech_to_clear=[9 * MS], played_ns=MS)
    late = array("q", [round(late_ms * MS)] * 100)
    used = {"edge": Use(10.0, 50 << 20, 75 << 20)}
    return RunResult(RunPlan("stack", 50, 60.0), seen, used, strangers_s, late, late, 1.0, 1.0, {})


def test_a_run_within_the_bars_misses_none():
    wait_ms = ideal(Pace()).ms + 10
    found = numbers(a_run(wait_ms=wait_ms))
    assert math.isclose(found["beyond_p50_ms"], 10, abs_tol=0.001)
    assert found["cpu_s_per_call_minute"] == 0.2
    assert found["memory_mb_per_call"] == 0.5
    assert missed(found) == []
    assert not found["void"]


def test_a_figure_beyond_its_bar_or_missing_is_named():
    late = numbers(a_run(wait_ms=ideal(Pace()).ms + 61))
    assert [text.partition(":")[0] for text in missed(late)] == [BARS[0].what, BARS[1].what]
    assert missed(late | {"clear_p95_ms": math.nan})[-1].startswith(BARS[4].what)
    assert "went unanswered" in missed(late | {"unanswered": 2})[-1]


def test_a_run_whose_callers_were_late_is_void():
    assert numbers(a_run(late_ms=5.1))["void"]


def test_a_run_that_shared_its_core_is_void():
    assert numbers(a_run(strangers_s=6.1))["void"]
