"""A menu of keys is checked when the file is read: each key does one thing, and that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.agents.keypad_check import of_keypad
from common.agents.model import Agent, BadAgents, parse
from common.agents.reading import load_agents

pytestmark = pytest.mark.fast


def agent(**keypad: Any) -> Agent:
    document = {
        "name": "shop",
        "greeting": "Hello.",
        "instructions": "x",
        "tools": {"status": {"http": {"url": "https://shop.example.com/x"}}},
        "transfer": {"office": {"number": "+91 12345 67890"}},
        "keypad": {key.removeprefix("_"): entry for key, entry in keypad.items()},
    }
    found, problems = parse(document)
    assert found is not None, problems
    return found


@pytest.mark.parametrize(
    "entry",
    [{"say": "We open at nine."}, {"ask": "Open?"}, {"tool": "status", "arguments": {"id": "7"}}, {"tool": "end_call"},
     {"transfer": "office"}],
)  # fmt: skip
def test_a_key_that_does_one_thing_is_in_order(entry: dict[str, Any]) -> None:
    assert list(of_keypad(agent(_1=entry))) == []


@pytest.mark.parametrize(
    ("entry", "path", "words"),
    [
        ({}, ("keypad", "1"), "key '1' does nothing; write one of: say, ask, tool, transfer"),
        ({"say": "x", "tool": "status"}, ("keypad", "1"), "key '1' has say and tool; keep one of them"),
        ({"say": "x", "arguments": {"id": "7"}}, ("keypad", "1", "arguments"), "arguments and no tool"),
        ({"tool": "stauts"}, ("keypad", "1", "tool"), "there is no tool 'stauts'; the tools are: status, end_call"),
        ({"transfer": "desk"}, ("keypad", "1", "transfer"), "there is no person 'desk'; the persons are: office"),
    ],
)
def test_a_mistake_is_named_with_its_place(entry: dict[str, Any], path: tuple[str, ...], words: str) -> None:
    (problem,) = of_keypad(agent(_1=entry))
    assert problem.path == path
    assert words in problem.what


def test_a_mistake_in_a_file_is_reported_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text('greeting: Hello.\ninstructions: x\nkeypad:\n  1: {say: Nine.}\n  "2": {transfer: desk}\n', "utf-8")
    with pytest.raises(BadAgents, match=r"shop\.yaml:5: there is no person 'desk'; the persons are: none; write one"):
        load_agents(tmp_path)
