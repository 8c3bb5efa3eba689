"""benchmarks/history.py: the line that a result becomes, and the table of medians per commit."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.history import KEPT, BadResult, add, comparison, figures, main, record, show

pytestmark = pytest.mark.fast

AROUND = {
    "date": "2026-01-02T03:04:05+00:00",
    "command": "python -m benchmarks.edge --calls 50",
    "commit": "abc1234",
    "cpus": 2,
    "python": "3.11.7",
}


def edge_run(path: str = "asgi", cpu_s: float = 1.5, **more: Any) -> dict[str, Any]:
    spread = {"count": 50, "p50_ms": 0.4, "p99_ms": 1.0, "max_ms": 9.0}
    run = {"path": path, "calls": 50, "cpu_s_per_call_minute": cpu_s, "frames_in": 50, "inward": spread, "void": False}
    return {**run, **more}


def line(commit: str, date: str, cpus: int = 2, **found: float) -> dict[str, Any]:
    return {"date": date, "commit": commit, "command": "c", "cpus": cpus, "figures": found}


def test_a_result_becomes_one_line_with_its_surroundings() -> None:
    bench, found = record({"around": AROUND, "runs": [edge_run(), edge_run("shortcut", 0.5)]}, datetime.now(UTC))
    assert bench == "edge"
    assert {key: found[key] for key in ("date", "commit", "command", "cpus")} == {
        key: AROUND[key] for key in ("date", "commit", "command", "cpus")
    }
    assert found["figures"] == {
        "runs.asgi 50.cpu_s_per_call_minute": 1.5,
        "runs.asgi 50.inward.p50_ms": 0.4,
        "runs.asgi 50.inward.p99_ms": 1.0,
        "runs.shortcut 50.cpu_s_per_call_minute": 0.5,
        "runs.shortcut 50.inward.p50_ms": 0.4,
        "runs.shortcut 50.inward.p99_ms": 1.0,
    }


def test_a_result_without_a_date_has_that_of_its_file() -> None:
    around = {key: value for key, value in AROUND.items() if key != "date"}
    _, found = record({"around": around, "runs": [edge_run()]}, datetime(2026, 5, 6, tzinfo=UTC))
    assert found["date"] == "2026-05-06T00:00:00+00:00"


def test_void_runs_and_numbers_that_are_none_are_left_out() -> None:
    runs = [edge_run(void=True), edge_run("shortcut", float("nan"), inward={})]
    assert figures({"runs": runs}, KEPT["edge"]) == {}
    row = {"title": "edge: kill -9", "added_p50_ms": 5.0, "verdict": "VOID"}
    assert figures({"row": row}, KEPT["chaos"]) == {}
    assert figures({"row": {**row, "verdict": "PASS"}}, KEPT["chaos"]) == {"row.edge: kill -9.added_p50_ms": 5.0}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "does not say which command"),
        ({"around": {**AROUND, "command": "python -m benchmarks.tokens"}}, "tokens is none of bus, edge"),
        ({"around": {**AROUND, "command": "make"}}, "make is none of"),
        ({"around": AROUND, "runs": [edge_run(void=True)]}, "no figure that counts"),
    ],
)
def test_what_cannot_be_kept_is_refused(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadResult, match=problem):
        record(document, datetime.now(UTC))


def test_commits_are_compared_by_the_median_of_their_lines() -> None:
    lines = [
        line("new", "2026-02-01", cpu_s=1.0, lag_ms=3.0),
        *(line("old", f"2026-01-0{day}", cpu_s=value) for day, value in enumerate((9.0, 2.0, 2.5), start=1)),
        line("new", "2026-02-02", cpus=8, cpu_s=0.5),
    ]
    assert comparison(lines).splitlines() == [
        "| figure | old, 2 cores (3) | new, 2 cores (1) | new, 8 cores (1) |",
        "| --- | ---: | ---: | ---: |",
        "| cpu_s | 2.5 | 1 | 0.5 |",
        "| lag_ms | - | 3 | - |",
    ]
    assert "old" not in comparison(lines, last=2)


def test_files_are_added_and_shown(tmp_path: Path) -> None:
    result = tmp_path / "edge.json"
    result.write_text(json.dumps({"around": AROUND, "runs": [edge_run()]}))
    assert add(result, tmp_path) == add(result, tmp_path) == tmp_path / "edge.jsonl"
    assert len((tmp_path / "edge.jsonl").read_text().splitlines()) == 2
    assert "abc1234, 2 cores (2)" in show("edge", 6, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_is_no_result_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert main(["add", str(path)]) == 1
    assert str(path) in capsys.readouterr().err
    assert main(["show", "no-such-bench"]) == 1
