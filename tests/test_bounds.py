"""The table of bounds in docs/reliability.md says what the constants say, in the units that people read."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.process.backoff import Backoff
from common.settings import Settings

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[1]
TABLE = re.compile(r"^\| bound \| value .*\n\| --- .*\n((?:\|.*\n)+)", re.MULTILINE)
MULAW_BYTES_PER_SECOND = 8000
WORDS = {0.1: "a tenth", 2: "two", 3: "three"}


def bounds() -> dict[str, list[str]]:
    """Bound -> the cells beside it."""
    (table,) = TABLE.findall((ROOT / "docs/reliability.md").read_text("utf-8"))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {bound: rest for bound, *rest in cells}


def constants(where: str) -> Iterator[tuple[str, Any]]:
    """Every constant that a cell names: "`file` `NAME` `Class.field`, …"."""
    module = None
    for name in re.findall(r"`([^`]+)`", where):
        if name.endswith(".py"):
            module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
            continue
        assert module is not None, f"{name} stands before a file"
        owner, dot, field = name.partition(".")
        if dot:
            defaults = {item.name: item.default for item in dataclasses.fields(getattr(module, owner))}
            yield field, defaults[field]
        elif isinstance(value := getattr(module, name), Backoff):
            yield from (("first_s", value.first_s), ("longest_s", value.longest_s))
        else:
            yield name, value


def spellings(name: str, value: float) -> set[str]:
    """The ways in which a person may write the value of a constant of this name."""
    found = {f"{value:,g}" if value < 1e6 else f"{value:,}", WORDS.get(value, "")}
    words = name.lower().split("_")
    if "ms" in words:
        found = {f"{value:,g} ms", f"{value / 1000:g} s"}
    elif "seconds" in words or "s" in words:
        found = {f"{value:,g} s", f"{value / 60:g} min"}
    elif "bytes" in words:
        found = {f"{value / 1024:g} KiB", f"{value / 1024**2:g} MiB", f"{value / MULAW_BYTES_PER_SECOND:g} s"}
    elif "share" in words:
        found = {f"{value * 100:g} %"}
    return found - {""}


def says(cell: str, spelling: str) -> bool:
    return re.search(rf"(?<![\w.,]){re.escape(spelling)}(?![\w.]|,\d)", cell) is not None


@pytest.mark.parametrize("bound", bounds())
def test_a_bound_is_what_the_page_says(bound: str) -> None:
    value, where, _ = bounds()[bound]
    named = list(constants(where.replace("settings", "")))
    for name, constant in named:
        assert any(says(value, spelling) for spelling in spellings(name, constant)), f"{name} is {constant}: {value}"
    settings = re.findall(r"`([A-Z_]+)`, ([\d,]+)", value)
    for variable, shown in settings:
        assert getattr(Settings(), variable.lower()) == int(shown.rstrip(",").replace(",", "")), variable
    assert named or settings, "names no constant and no setting"


def test_a_value_that_differs_would_be_seen() -> None:
    assert not any(says("8 s to the first words, 5 s between words", s) for s in spellings("first_token_s", 4.0))
    assert not any(says("60 s; 20,000 characters", s) for s in spellings("REPLY_CHARS_MAX", 2_000))
    assert not any(says("100,000 in all", s) for s in spellings("ENTRIES_MAX", 100))
    assert any(says("200, then two a second", s) for s in spellings("FAILURES_PER_SECOND", 2.0) | {"two"})
