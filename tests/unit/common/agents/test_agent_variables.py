"""`{{name}}` in an agent's texts: filled in by the call, else by the agent's file; braces are never spoken."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.agents.model import Agents, BadAgents, from_document, to_document
from common.agents.reading import load_agents
from common.agents.variables import for_inbound, missing_variables, with_variables
from common.process.env_file import EnvFile
from tools.check import check

pytestmark = pytest.mark.fast

FILE = """greeting: Hello {{ name }}, this is {{clinic}}.
instructions: |
  The caller is {{name}}. Today is {{day}}.
variables:
  name: dear caller
  clinic: Sunrise
"""


def loaded(folder: Path, text: str = FILE, more: str = "") -> Agents:
    (folder / "desk.yaml").write_text(text + more)
    return load_agents(folder)


def test_an_inbound_call_gets_the_files_own_values_and_no_braces(tmp_path: Path) -> None:
    agent = for_inbound(loaded(tmp_path).by_name["desk"])
    assert agent is not None
    assert agent.greeting == "Hello dear caller, this is Sunrise."
    assert agent.instructions == "The caller is dear caller. Today is ."
    assert for_inbound(None) is None


def test_an_outbound_call_brings_its_own(tmp_path: Path) -> None:
    agent = with_variables(loaded(tmp_path).by_name["desk"], {"name": "Asha", "day": "Monday"})
    assert agent.greeting == "Hello Asha, this is Sunrise." and agent.instructions.endswith("Today is Monday.")


def test_what_nobody_has_a_value_for_is_known_by_name(tmp_path: Path) -> None:
    agent = loaded(tmp_path).by_name["desk"]
    assert missing_variables(agent, {}) == ["day"] and missing_variables(agent, {"day": "Monday"}) == []


def test_it_is_a_warning_at_the_start_for_an_agent_that_is_called(tmp_path: Path) -> None:
    loaded(tmp_path)
    (warning,) = check(EnvFile(tmp_path / ".env"), {"AGENTS_DIR": str(tmp_path)}).warnings
    assert "desk.yaml:2: {{day}} is empty in calls that come in" in warning
    loaded(tmp_path, FILE, "  day: today\n")
    assert check(EnvFile(tmp_path / ".env"), {"AGENTS_DIR": str(tmp_path)}).warnings == ()
    (tmp_path / "called.yaml").write_text('greeting: Hi.\ninstructions: x\nnumbers: ["*"]\n')
    loaded(tmp_path)  # which now only calls out
    assert check(EnvFile(tmp_path / ".env"), {"AGENTS_DIR": str(tmp_path)}).warnings == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("variables: name\n", "desk.yaml:3: 'variables' must be at most 50 lines of `name: text`"),
        ("variables:\n  my name: x\n", "desk.yaml:4: 'my name' is no name"),
        ("variables:\n  name: [x]\n", "desk.yaml:4: 'variables.name' must be text"),
    ],
)
def test_mistakes_are_told_by_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadAgents, match=r"desk\.yaml") as caught:
        loaded(tmp_path, "greeting: Hi.\ninstructions: x\n", text)
    assert told in str(caught.value)


def test_they_travel_with_the_agent(tmp_path: Path) -> None:
    agent = loaded(tmp_path).by_name["desk"]
    assert from_document(to_document(agent)) == agent
