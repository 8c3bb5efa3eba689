"""`{{name}}` in an agent's texts: filled in by the call, else by the agent's file; braces are never spoken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.agents.model import INSTRUCTIONS_CHARS_MAX, Agent, Agents, BadAgents, from_document, to_document
from common.agents.reading import load_agents
from common.agents.variables import CallBeginning, for_inbound, missing_variables, with_variables
from common.process.env_file import EnvFile
from tools.check import check
from workers.tts.normalise import normalised

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


# --- what every call has ------------------------------------------------------------------------------------------

AT_S = datetime(2026, 12, 1, 8, 35, tzinfo=UTC).timestamp()
CALL = CallBeginning("call-1", "911234567891", "911234567890", "inbound", AT_S)


def said(greeting: str, call: CallBeginning = CALL, **more: Any) -> str:
    """The greeting as it is spoken in this call."""
    return with_variables(Agent("desk", greeting, "Be kind.", **more), {}, call).greeting


def test_every_call_has_its_numbers_its_direction_and_its_time_in_the_agents_zone() -> None:
    assert said("{{caller}} {{called}} {{direction}} {{call_id}}") == "+91 12345 67891 +91 12345 67890 inbound call-1"
    assert said("{{now}}") == "Tuesday, 1 December 2026, 14:05"  # in India, as the number called is
    assert said("{{today}} {{time}} {{daypart}}", timezone="America/New_York") == "Tuesday, 1 December 2026 03:35 night"
    assert said("{{time}}", replace(CALL, called="442079460958")) == "08:35"  # UTC
    assert said("{{time}}", replace(CALL, direction="outbound", caller="442079460958")) == "08:35"
    assert said("{{today}}, {{daypart}}", language="hi-IN") == "मंगलवार, 1 दिसंबर 2026, दोपहर"


@pytest.mark.parametrize("number", ["+91 12345 67891", "911234567891", "0123 456 7891", "sip:+911234567891@a.example"])
def test_a_number_is_written_so_that_the_voice_reads_a_number(number: str) -> None:
    text = said("{{caller}}", replace(CALL, caller=number))
    assert text == "+91 12345 67891"
    assert "one two three four five, six seven eight nine one" in normalised(text, "en-IN")


def test_a_withheld_number_and_a_name_without_a_value_are_the_default() -> None:
    assert said("Hello {{caller|dear caller}}.", replace(CALL, caller="anonymous")) == "Hello dear caller."
    assert said("Hello {{ name | dear guest }}, {{x|}}{{y}}.") == "Hello dear guest, ."
    assert said("{{name|guest}}", variables={"name": "Asha"}) == "Asha"
    assert said("At {{time}}.", variables={"time": "ten"}) == "At ten."  # a value of one's own comes first


def test_the_prompts_beginning_is_the_same_in_every_minute() -> None:
    agent = Agent("desk", "Hello.", "It is {{now}}, {{time}}; you know {{name|nobody}}.")
    first, second = (with_variables(agent, {}, replace(CALL, at_s=at)).instructions for at in (AT_S, AT_S + 60))
    assert first.endswith(".\n\nIt is Tuesday, 1 December 2026, 14:05 (Asia/Kolkata).")
    assert second.endswith(" 14:06 (Asia/Kolkata).")
    assert first.rpartition("\n")[0] == second.rpartition("\n")[0]
    assert "It is the date and time at the end of these instructions" in first and "nobody" in first
    plain = Agent("desk", "Hello.", "Be kind.")
    assert with_variables(plain, {}, CALL).instructions == "Be kind."


def test_the_line_with_the_time_stays_within_the_bound_of_instructions() -> None:
    agent = Agent("desk", "Hello.", "{{now}}" + "x" * (INSTRUCTIONS_CHARS_MAX - 7))
    filled = with_variables(agent, {}, CALL)
    assert filled.instructions.endswith("(Asia/Kolkata).")
    assert from_document(to_document(filled)) == filled
