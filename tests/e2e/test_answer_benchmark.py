"""The benchmark of answers in its smallest run: real processes, scripted vendors, one caller."""

import json
from pathlib import Path

import pytest

from benchmarks.answers.figures import numbers, with_ratios
from benchmarks.answers.plan import Pace, ideal
from benchmarks.answers.results import page
from benchmarks.answers.run import RunPlan, run
from benchmarks.answers.servers import PLAIN, STACK

pytestmark = [pytest.mark.processes, pytest.mark.slow]

SECONDS, WARM_UP_SECONDS = 2.0, 0.5
"""The one caller's first speech ends 1.2 s after the start."""


def test_one_call_is_answered_by_the_whole_stack(tmp_path: Path):
    found = numbers(run(RunPlan(STACK, 1, SECONDS, warm_up_s=WARM_UP_SECONDS)))
    assert found["answers"] >= 1
    assert found["unanswered"] == found["uncleared"] == 0
    best_ms = ideal(Pace()).ms
    assert best_ms * 0.5 < found["wait"]["p50_ms"] < best_ms + 2000
    assert set(found["cpu_by_process"]) == {"valkey", "edge", "stt", "llm", "tts"}
    assert all(megabytes > 1 for megabytes in found["memory_mb"].values())
    assert found["stages_ms"]["first_token"] > 100
    assert "stack, 1" in page([found], [], "")
    (tmp_path / "run.json").write_text(json.dumps(found))


CALL_SECONDS = 8.5
"""The greeting, one speech, its answer, and what is left for it."""


def test_calls_that_end_and_begin_anew_are_the_same_for_the_stack_and_for_the_forwarder():
    settings = {"AGENTS_DIR": "benchmarks/answers/agents-defaults"}
    plans = [RunPlan(server, 2, CALL_SECONDS, settings, call_s=CALL_SECONDS, ramp_s=1.0) for server in (STACK, PLAIN)]
    stack, plain = with_ratios([numbers(run(plan)) for plan in plans])
    for found in (stack, plain):
        assert found["answers"] >= 2
        assert found["set_up"]["count"] == 4  # each call was followed by another
        assert found["refused"] == found["unanswered"] == 0
        assert found["ideal_ms"] == ideal(Pace(200)).ms
    if not plain["void"] and not stack["void"]:
        assert stack["ratios"]["cpu"] > 1


def test_vendors_by_tls_are_believed_by_the_stack_and_by_the_forwarder():
    for server in (STACK, PLAIN):
        found = numbers(run(RunPlan(server, 1, SECONDS, warm_up_s=WARM_UP_SECONDS, tls=True)))
        assert found["answers"] >= 1


def test_a_stack_without_calls_has_a_share_of_the_core():
    found = numbers(run(RunPlan(STACK, 0, SECONDS, aof=True)))
    assert 0 < found["core_share"] < 1
    assert found["redis_per_call_s"]
