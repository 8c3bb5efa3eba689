"""benchmarks/plots.py: a plot for each figure, from the JSON of a run."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.plots import COLOURS, FIGURES, GROUND, bars, main

pytestmark = pytest.mark.fast

FIGURE = {figure.name: figure for figure in FIGURES}


def run(**changed: Any) -> dict[str, Any]:
    by_process = {"edge": 0.2, "stt": 0.1}
    return {
        "server": "stack", "calls": 50, "call_s": 28.0, "ramp_s": 5.0, "tls": False, "aof": False, "void": False,
        "cpu_by_process": by_process, "memory_by_process": by_process, "core_share_by_process": by_process,
        "beyond_p50_ms": 10.0, "beyond_p95_ms": 20.0, "clear_p95_ms": 3.0, "set_up": {"p50_ms": 9.0},
        "stages_ms": {"endpoint": 500.0, "voice_answer_seconds": 600.0}, **changed,
    }  # fmt: skip


def test_a_bar_has_the_parts_of_its_figure_and_void_runs_have_none() -> None:
    assert bars(FIGURE["cpu"], [run(), run(void=True)]) == [
        ("stack, 50 calls of 28 s, ramp 5 s", {"edge": 0.2, "stt": 0.1})
    ]
    assert bars(FIGURE["stages"], [run()])[0][1] == {"endpoint": 500.0}
    assert bars(FIGURE["cpu-ratio"], [run(), run(ratios={"cpu": 3.0})])[0][1] == {"": 3.0}
    assert bars(FIGURE["clear"], [run(clear_p95_ms=math.nan)]) == []


def test_the_plots_are_written_on_a_white_ground(tmp_path: Path) -> None:
    result = tmp_path / "answers.json"
    around = {"commit": "abc", "date": "2026-01-02", "cpus": 2, "command": "c"}
    result.write_text(json.dumps({"around": around, "runs": [run(), run(server="forwarder", stages_ms={})]}))
    assert main([str(result), "--to", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("bench-*.png"))) == len(FIGURES) - 1  # no ratio
    with Image.open(tmp_path / "bench-cpu.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(100_000) or []}
    assert {GROUND, COLOURS[0], COLOURS[1]} <= colours


def test_nothing_but_void_runs_is_nothing_to_plot(tmp_path: Path) -> None:
    result = tmp_path / "answers.json"
    result.write_text(
        json.dumps({"around": {"commit": "", "date": "", "cpus": 2, "command": ""}, "runs": [run(void=True)]})
    )
    assert main([str(result), "--to", str(tmp_path)]) == 1
