"""The benchmark of answers in its smallest run: real processes, scripted vendors, one caller."""

import json
from pathlib import Path

import pytest

from benchmarks.answers.plan import Pace, ideal
from benchmarks.answers.results import numbers, page
from benchmarks.answers.run import RunPlan, run
from benchmarks.answers.servers import STACK

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
    assert "No verdict" in page(Pace(), [found], [], "")
    (tmp_path / "run.json").write_text(json.dumps(found))
