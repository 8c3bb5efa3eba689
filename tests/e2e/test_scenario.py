"""`make demo SCENARIO=...` as a stranger has it: the call on the screen with its tool; what is missing is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def demo(folder: Path, scenario: str) -> tuple[int, list[str]]:
    """(exit status, lines of the screen), with fake vendors."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PROVIDERS": "fake", "SCENARIO": scenario}
    command = [sys.executable, "-m", "tools.demo"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout.splitlines()


def test_a_tool_call_is_seen_with_arguments_result_and_time(tmp_path: Path) -> None:
    status, lines = demo(tmp_path, "examples/order-status")
    assert status == 0, lines
    assert any("THE LANGUAGE MODEL IS A SCRIPT" in line for line in lines)
    assert "service     asked for /orders/4711: on its way" in lines
    called = lines.index('tool        order_status {"order": "4711"}')
    result = lines[called + 1]
    assert result.startswith("tool        order_status 0.") and '"status": "on its way"' in result
    assert lines[called - 1].startswith("caller      "), "after the words to which it is the answer"
    assert "the call went as scripted" in lines


def test_keys_a_hand_off_and_digits_are_seen(tmp_path: Path) -> None:
    status, lines = demo(tmp_path, "examples/keypad-menu")
    assert status == 0, lines
    acts = [line for line in lines if line.startswith(("keys", "hand-off"))]
    assert acts == ["keys        1", "keys        2", "hand-off    to billing", "keys        4711"]


def test_a_folder_that_is_no_scenario_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    status, lines = demo(tmp_path, "examples/receptionist")
    assert status == 1
    assert "has no model.json; there are examples/clinic, examples/keypad-menu, examples/order-status" in lines[-1]
