"""A folder of agent files that is edited while a process reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from common.agents.folder import AgentFolder
from common.agents.model import Agent, Agents
from common.telemetry import metrics

pytestmark = pytest.mark.fast

DESK = "greeting: {}\ninstructions: Be kind.\n"


def write(path: Path, text: str) -> None:
    """As an editor does: the file is new, so its time of change and its inode are."""
    (made := path.with_name(f"{path.name}.tmp")).write_text(text, "utf-8")
    made.replace(path)


class Edited:
    """A folder with one agent, and the process that looks at it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.now_ms = folder, 1_000
        write(folder / "desk.yaml", DESK.format("Hello."))
        self.folder = AgentFolder(folder, ("+91 12345 67899",), lambda: self.now_ms)

    def looks_twice(self) -> bool:
        """As it does within 4 s of a change."""
        self.now_ms += 1_000
        return [self.folder.look(), self.folder.look()][1]

    @property
    def greetings(self) -> dict[str, str]:
        return {name: agent.greeting for name, agent in self.folder.current.by_name.items()}


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    return Edited(tmp_path)


def count(outcome: str) -> float:
    return float(metrics.AGENTS_RELOADS.labels(outcome)._value.get())


def test_a_changed_a_new_and_a_removed_file_count_after_two_looks(
    edited: Edited, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, loaded = edited.folder.current.by_name["desk"].version, count("loaded")
    assert not edited.looks_twice() and edited.folder.since_ms == {"desk": 1_000}
    write(edited.path / "desk.yaml", DESK.format("Namaste."))
    write(edited.path / "billing.yaml", DESK.format("Billing."))
    assert not edited.folder.look() and edited.greetings == {"desk": "Hello."}  # it may be half written
    assert edited.folder.look() and edited.greetings == {"desk": "Namaste.", "billing": "Billing."}
    (line,) = (record.getMessage() for record in caplog.records)
    versions = {name: agent.version for name, agent in edited.folder.current.by_name.items()}
    assert line == f"agents changed: billing new: → {versions['billing']}, desk {first} → {versions['desk']}"
    (edited.path / "desk.yaml").unlink()
    assert edited.looks_twice() and edited.greetings == {"billing": "Billing."}
    assert edited.folder.since_ms == {"billing": 2_000} and count("loaded") == loaded + 2


def test_a_mistake_in_any_file_keeps_all_agents_and_is_said_once(
    edited: Edited, caplog: pytest.LogCaptureFixture
) -> None:
    before, broken = edited.folder.current, count("broken")
    write(edited.path / "desk.yaml", DESK.format("Namaste.").replace("greeting", "greting"))
    write(edited.path / "billing.yaml", DESK.format("Billing."))
    for _ in range(3):
        assert not edited.looks_twice()
    assert edited.folder.current is before and count("broken") == broken + 1
    assert metrics.AGENTS_BROKEN._value.get() == 1
    (line,) = (record.getMessage() for record in caplog.records)
    assert "desk.yaml:1: unknown key 'greting'; did you mean 'greeting'?" in line
    assert edited.folder.problems and "desk.yaml:1" in edited.folder.problems[0]
    write(edited.path / "desk.yaml", DESK.format("Namaste."))
    assert edited.looks_twice() and edited.greetings == {"desk": "Namaste.", "billing": "Billing."}
    assert edited.folder.problems == () and metrics.AGENTS_BROKEN._value.get() == 0


@pytest.mark.parametrize("broken", ["no folder", "no files", "own number"])
def test_a_folder_that_cannot_be_used_keeps_all_agents(broken: str, edited: Edited) -> None:
    if broken == "own number":
        write(edited.path / "desk.yaml", DESK.format("Hi.") + "fallback_number: +91 12345 67899\n")
    else:
        (edited.path / "desk.yaml").unlink()
    if broken == "no folder":
        edited.path.rmdir()
    assert not edited.looks_twice() and edited.greetings == {"desk": "Hello."}
    assert edited.folder.problems and "67899" not in "".join(edited.folder.problems)


def test_a_number_may_move_from_one_file_to_another(edited: Edited) -> None:
    number = "numbers: [+91 12345 67890]\n"
    write(edited.path / "desk.yaml", DESK.format("Hello.") + number)
    write(edited.path / "billing.yaml", DESK.format("Billing."))
    assert edited.looks_twice()
    write(edited.path / "billing.yaml", DESK.format("Billing.") + number)
    assert not edited.looks_twice() and "claimed" in edited.folder.problems[0]  # in between both have it
    write(edited.path / "desk.yaml", DESK.format("Hello."))
    assert edited.looks_twice()
    agent = edited.folder.current.for_number("01234567890")
    assert agent is not None and agent.name == "billing"


def test_a_signal_reads_at_once(edited: Edited) -> None:
    write(edited.path / "desk.yaml", DESK.format("Namaste."))
    assert edited.folder.look(at_once=True) and edited.greetings == {"desk": "Namaste."}


def test_a_python_file_is_part_of_its_agent(edited: Edited) -> None:
    first = edited.folder.current.by_name["desk"].version
    write(edited.path / "desk.py", "a = 1\n")
    assert edited.looks_twice() and edited.folder.current.by_name["desk"].version != first


def test_a_config_map_replaces_the_folder_behind_a_link(tmp_path: Path) -> None:
    """As the kubelet does: files are links into `..data`, which is a link that is replaced."""
    for number, greeting in enumerate(("Hello.", "Namaste.")):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "desk.yaml").write_text(DESK.format(greeting))
        os.utime(tmp_path / f"..{number}" / "desk.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "desk.yaml").symlink_to("..data/desk.yaml")
    folder = AgentFolder(tmp_path)
    (tmp_path / "..data_tmp").symlink_to("..1")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert [folder.look(), folder.look()] == [False, True]
    assert folder.current.by_name["desk"].greeting == "Namaste."


def test_the_same_callers_get_the_second_version_and_about_as_many_as_it_says() -> None:
    stable, canary = Agent("desk", "Hello.", "x"), Agent("desk", "Namaste.", "x", canary=10)
    agents = Agents({"desk": stable}, {"desk": canary})
    callers = [f"+9112345{number:05}" for number in range(2_000)]
    chosen = {caller for caller in callers if agents.variant_for(stable, caller) is canary}
    assert 150 < len(chosen) < 250
    assert chosen == {
        caller for caller in callers if agents.variant_for(stable, caller[1:]) is canary
    }  # in any spelling
    assert Agents({"desk": stable}).variant_for(stable, callers[0]) is stable
    everyone = Agents({"desk": stable}, {"desk": Agent("desk", "Namaste.", "x", canary=100)})
    assert all(everyone.variant_for(stable, caller) is not stable for caller in callers[:100])
