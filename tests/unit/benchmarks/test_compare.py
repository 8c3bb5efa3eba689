"""benchmarks/compare.py: two results, or two releases, side by side."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import lines_of, main, side_by_side
from benchmarks.history import BadResult, release

pytestmark = pytest.mark.fast


def result(path: Path, cpu_s: float, cpus: int = 2, **more: Any) -> Path:
    around = {"command": "python -m benchmarks.edge", "commit": path.stem, "cpus": cpus, "date": "2026-01-02"}
    run = {"path": "asgi", "calls": 50, "cpu_s_per_call_minute": cpu_s, "void": False, **more}
    path.write_text(json.dumps({"around": around, "runs": [run]}))
    return path


def test_changes_over_a_tenth_are_marked(tmp_path: Path) -> None:
    old, new = result(tmp_path / "old.json", 1.0, late_in=4), result(tmp_path / "new.json", 1.05, late_in=2)
    assert side_by_side(lines_of(str(old)), lines_of(str(new))).splitlines() == [
        "## edge",
        "",
        "| figure | old, 2 cores | new, 2 cores | change |",
        "| --- | ---: | ---: | ---: |",
        "| runs.asgi 50.cpu_s_per_call_minute | 1 | 1.05 | +5 % |",
        "| runs.asgi 50.late_in | 4 | 2 | **-50 %** |",
    ]


def test_a_release_is_compared_with_a_release_and_with_a_result(tmp_path: Path) -> None:
    old, new = result(tmp_path / "a.json", 1.0), result(tmp_path / "b.json", 0.5)
    release("0.1.0", [old], tmp_path)
    release("0.2.0", [new], tmp_path)
    for name in ("0.2.0", str(new)):
        assert "**-50 %**" in side_by_side(lines_of("0.1.0", tmp_path), lines_of(name, tmp_path))
    with pytest.raises(BadResult, match="already a result of edge"):
        release("0.3.0", [old, new], tmp_path)


def test_what_only_one_has_is_shown_without_a_change(tmp_path: Path) -> None:
    old, new = result(tmp_path / "a.json", 1.0), result(tmp_path / "b.json", 1.0, late_in=3)
    page = side_by_side(lines_of(str(old)), lines_of(str(new)))
    assert "| runs.asgi 50.late_in | - | 3 |  |" in page
    assert "| 1 | 1 | = |" in page


def test_void_runs_have_no_figure_and_two_machines_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    void = result(tmp_path / "void.json", 1.0, void=True)
    assert main([str(void), str(void)]) == 1
    assert "VOID" in capsys.readouterr().err
    assert main([str(result(tmp_path / "a.json", 1.0)), str(result(tmp_path / "b.json", 1.0, cpus=8))]) == 0
    assert "Two machines" in capsys.readouterr().out
    assert main(["0.0.0", "nothing.json"]) == 1


def test_two_benchmarks_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(BadResult, match="nothing to compare"):
        side_by_side({"edge": {}}, {"bus": {}})
