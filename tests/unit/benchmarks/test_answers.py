"""The benchmark of answers: what it makes of what callers heard, of a profile, and of a figure beyond its bar."""

import math
from array import array
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.answers.bars import BARS, CAPACITY, bars_page, floor, judged
from benchmarks.answers.caller import CallerRecord, caller_number, speech_frame
from benchmarks.answers.figures import numbers, with_ratios
from benchmarks.answers.hearing import Figures, measured
from benchmarks.answers.plan import (
    ANSWER,
    FRAME_MS,
    PAUSE,
    SILENCE,
    SPEECH,
    Pace,
    call_frames,
    cycle_frames,
    ideal,
    tokens_to_first_clause,
)
from benchmarks.answers.profiles import folded
from benchmarks.answers.results import page
from benchmarks.answers.run import RunPlan, RunResult, Use
from benchmarks.answers.scrapes import Scrape, sums
from simulators.providers.openai_chat import tokens

pytestmark = pytest.mark.fast

DEFAULTS = {"AGENTS_DIR": "benchmarks/answers/agents-defaults"}
MS = 1_000_000
WHOLE_RUN = (0, 10**18)


def heard(
    bursts: list[tuple[int, int]], frames: list[tuple[int, int]], clears: tuple[int, ...] = (), quiet: int = 0
) -> CallerRecord:
    """All in ms: speeches (first, last frame), frames (arrival, duration); the first `quiet` frames are silence."""
    return CallerRecord(
        7,
        [(first * MS, last * MS) for first, last in bursts],
        array("q", [at * MS for at, _ in frames]),
        array("l", [8 * duration for _, duration in frames]),
        array("b", [number >= quiet for number in range(len(frames))]),
        array("q", [at * MS for at in clears]),
    )


def figures(one: CallerRecord, *onsets_ms: int, window: tuple[int, int] = WHOLE_RUN) -> Figures:
    return measured([one], {7: [at * MS for at in onsets_ms]}, window)


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


def test_a_speech_that_the_end_of_the_run_cuts_off_clears_the_answer_before_it_and_is_not_counted():
    cut_off = heard([(1000, 2000)], [(2700, 4000)], clears=(6300,))
    cut_off.speaking_ns = 6200 * MS
    found = figures(cut_off)
    assert (found.waits, found.unanswered, found.uncleared) == ([700 * MS], 0, 0)


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


def a_run(
    late_ms: float = 0.1, wait_ms: float = 700.0, strangers_s: float = 1.0, plan: RunPlan | None = None
) -> RunResult:
    seen = Figures(waits=[round(wait_ms * MS)] * 9, detected_to_clear=[5 * MS], speech_to_clear=[9 * MS], played_ns=MS)
    late = array("q", [round(late_ms * MS)] * 100)
    used = {"edge": Use(10.0, 50 << 20, 75 << 20)}
    plan = plan or RunPlan("stack", 50, 60.0)
    return RunResult(plan, seen, used, strangers_s, late, late, 1.0, 1.0, {}, tokens=1000)


def test_the_figures_of_a_run():
    found = numbers(a_run(wait_ms=ideal(Pace()).ms + 10))
    assert math.isclose(found["beyond_p50_ms"], 10, abs_tol=0.001)
    assert found["cpu_s_per_call_minute"] == 0.2
    assert found["memory_mb_per_call"] == 0.5
    assert found["late_percent"] == 0
    assert numbers(a_run(wait_ms=ideal(Pace()).ms + 51))["late_percent"] == 100
    assert not found["void"]


def test_tokens_that_nobody_heard_are_counted():
    answer = len(tokens(ANSWER))
    run = a_run()
    assert numbers(replace(run, tokens=9 * answer))["tokens_unused_percent"] == 0
    assert math.isclose(numbers(replace(run, tokens=12 * answer))["tokens_unused_percent"], 25)


def test_a_run_without_calls_has_the_share_of_the_core_and_nothing_by_call():
    found = numbers(replace(a_run(plan=RunPlan("stack", 0, 20.0)), figures=Figures()))
    assert found["core_share"] == 0.5
    assert math.isnan(found["cpu_s_per_call_minute"])
    assert "idle" in page([found], [], "")


def test_a_run_whose_callers_were_late_is_void():
    assert numbers(a_run(late_ms=5.1))["void"]


def test_a_run_that_shared_its_core_is_void():
    assert numbers(a_run(strangers_s=6.1))["void"]


def test_the_stack_is_compared_with_the_forwarder_that_had_the_same_calls():
    stack = numbers(a_run(plan=RunPlan("stack", 50, 28.0, call_s=28.0)))
    plain = numbers(a_run(wait_ms=350, plan=RunPlan("forwarder", 50, 28.0, call_s=28.0)))
    other = numbers(a_run(plan=RunPlan("forwarder", 50, 28.0)))
    compared = with_ratios([stack, other, plain])
    assert compared[0]["ratios"]["wait_p50"] == 2
    assert compared[0]["ratios"]["cpu"] == 1
    assert "ratios" not in compared[2]
    assert "ratios" not in with_ratios([stack, other])[0]
    assert "ratios" not in with_ratios([stack, plain | {"void": True}])[0]
    assert "times the forwarder's" in page(compared, [], "")


def test_each_bar_is_judged_by_the_run_it_is_about_and_by_no_void_one():
    assert all(math.isnan(measured) for _, measured in judged([]))
    short = numbers(a_run(wait_ms=ideal(floor()).ms + 29, plan=RunPlan("stack", 50, 28.0, DEFAULTS, case="short")))
    verdicts = {bar.what: bar.holds(measured) for bar, measured in judged([short]) if bar.case == "short"}
    assert list(verdicts.values()) == [False, False, True]  # no forwarder; 29 ms at p50; 29 ms at p95
    assert "| **FAIL** |" in bars_page([short])
    assert all(math.isnan(measured) for _, measured in judged([short | {"void": True}]))


def test_the_capacity_is_the_largest_number_of_calls_whose_answers_came_in_time():
    capacity = next(bar for bar in BARS if bar.case == CAPACITY)

    def found(calls: int, beyond_ms: float) -> dict[str, Any]:
        plan = RunPlan("stack", calls, 28.0, DEFAULTS, case=CAPACITY)
        return numbers(a_run(wait_ms=ideal(floor()).ms + beyond_ms, plan=plan))

    assert dict(judged([found(80, 20), found(100, 40), found(120, 60)]))[capacity] == 100
    assert dict(judged([found(80, 51)]))[capacity] == 0


def test_a_call_of_fixed_length_begins_with_the_greeting_and_ends_when_all_is_answered():
    for call_s in (28, 120):
        frames = call_frames(call_s)
        assert len(frames) * FRAME_MS == call_s * 1000
        assert set(frames[: 4000 // FRAME_MS]) == set(frames[-3000 // FRAME_MS :]) == {SILENCE}
        assert sum(now == SPEECH != before for before, now in pairwise(frames)) >= 4
    assert call_frames(28, 160).count(PAUSE) == 4 * 160 // FRAME_MS


def test_the_ideal_of_an_agent_waits_for_the_end_of_the_turn():
    assert math.isclose(ideal(Pace(200)).ms, ideal(Pace()).ms - 100)
    assert ideal(Pace(200, turn_end_ms=900)).ms == 900
    assert floor() == Pace(200, 500)


def test_stages_are_the_means_between_two_scrapes():
    before = sums(
        'voice_stage_seconds_sum{stage="first_token"} 1.0\nvoice_stage_seconds_count{stage="first_token"} 10\n'
    )
    after = sums(
        'voice_stage_seconds_sum{stage="first_token"} 1.6\nvoice_stage_seconds_count{stage="first_token"} 14\n'
        'voice_stage_seconds_bucket{stage="first_token",le="0.1"} 3\nvoice_answer_seconds_sum 2\n'
        "voice_answer_seconds_count 4\nvoice_calls_active 7\n"
    )
    means = Scrape(after).means_ms(Scrape(before))
    assert means == pytest.approx({"first_token": 150, "voice_answer_seconds": 500})
