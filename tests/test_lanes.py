"""Each test module has one lane, and whoever forgets it is told what to write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lanes import LANES, LONG, WrongLane, lane, left_out

pytestmark = pytest.mark.fast

TESTS = Path(__file__).resolve().parent
MODULES = sorted(TESTS.rglob("test_*.py"))
HEAD = "import pytest\n\npytestmark = "


def mark(*names: str) -> str:
    return ", ".join(f"pytest.mark.{name}" for name in names)


def test_every_module_has_a_lane() -> None:
    assert {lane(path.read_text("utf-8")) for path in MODULES} == set(LANES)


@pytest.mark.parametrize("name", LANES)
def test_a_lane_stands_alone_or_in_a_list(name: str) -> None:
    assert lane(f"{HEAD}{mark(name)}\n") == name
    assert lane(f"{HEAD}[{mark(name, 'anyio')}]\n") == name
    assert lane(f"{HEAD}[\n    {mark(name, 'slow')},\n    pytest.mark.usefixtures('x'),\n]\n") == name


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import pytest\n", "names no lane"),
        (f"{HEAD}{mark('anyio')}\n", "names no lane"),
        (f"{HEAD}[{mark('fast', 'servers')}]\n", r"names 2 lanes \(fast, servers\)"),
    ],
)
def test_another_number_of_lanes_is_told_with_what_to_write(source: str, problem: str) -> None:
    with pytest.raises(WrongLane, match=problem) as refused:
        lane(source)
    assert all(f"pytestmark = pytest.mark.{name}" in str(refused.value) for name in LANES)


def test_a_single_test_has_no_lane_of_its_own() -> None:
    with pytest.raises(WrongLane, match="a module of that lane"):
        lane(f"{HEAD}{mark('fast')}\n\n\n@{mark('servers')}\ndef test_it(): ...\n")


def test_a_run_of_one_lane_imports_no_module_of_another() -> None:
    fast, slow, servers = f"{HEAD}{mark('fast')}\n", f"{HEAD}[{mark('fast', 'slow')}]\n", f"{HEAD}{mark('servers')}\n"
    assert [left_out(source, "fast and not slow") for source in (fast, slow, servers)] == [False, True, True]
    assert [left_out(source, "fast and not exhaustive and not slow") for source in (fast, slow)] == [False, True]
    assert [left_out(source, "fast") for source in (fast, slow, servers)] == [False, False, True]
    for expression in ("", "not slow", "fast or servers"):
        assert not any(left_out(source, expression) for source in (fast, slow, servers))


def test_the_markers_are_documented() -> None:
    table = (TESTS.parent / "docs" / "testing.md").read_text("utf-8")
    for name in (*LANES, *LONG):
        assert re.search(rf"^\| `{name}` \|", table, re.MULTILINE), name


def test_a_unit_test_lies_where_its_module_lies() -> None:
    unit = TESTS / "unit"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    assert len(folders) > 20
    assert [str(folder) for folder in folders if not any((TESTS.parent / folder).glob("*.py"))] == []
