"""A transfer target that cannot be rung is a mistake of the file, told with its line and without the number."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.agents.model import BadAgents
from common.agents.reading import load_agents

pytestmark = pytest.mark.fast

FILE = """greeting: Hello.
instructions: Be brief.
numbers: ["{own}"]
transfer:
  sales:
    description: Sales
    number: "{target}"
"""


def problem(tmp_path: Path, target: str, own: str = "+911234567890", *more: str) -> str:
    """The problem of the file, "" if it has none."""
    target, own = target.replace("_", ""), own.replace("_", "")
    path = tmp_path / "desk.yaml"
    path.write_text(FILE.format(own=own, target=target), "utf-8")
    try:
        load_agents(tmp_path, more)
    except BadAgents as error:
        assert str(error).startswith(f"{path}:7: 'number' ")
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("+911234567892", "+911234567890"),
        ("01234567892", "*"),
        ("+1 21_2 555 0100", "*"),
        ("+44207_1234567", "+44207_1234568"),
    ],
)
def test_a_number_that_may_be_joined_with_ours_is_fine(tmp_path: Path, target: str, own: str) -> None:
    assert problem(tmp_path, target, own) == ""


@pytest.mark.parametrize(
    ("target", "more", "says"),
    [
        ("+911234567890", (), "of your own"),
        ("01234567890", (), "of your own"),
        ("+911234567899", ("+911234567899",), "of your own"),
        ("+121_25550100", (), "not in India"),
        ("0012", (), "no number of any country"),
    ],
)
def test_a_number_that_may_not_is_told(tmp_path: Path, target: str, more: tuple[str, ...], says: str) -> None:
    told = problem(tmp_path, target, "+911234567890", *more)
    assert says in told
    assert "write" in told
    assert target.replace("_", "") not in told
