"""Edges that take changed agents over while they run, and the command that goes back to an earlier version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.agents.folder import AgentFolder
from common.agents.model import Agents
from common.store.agent_versions_memory import MemoryAgentVersions
from edge.agents.__main__ import NoSuchVersion, roll_back, show, unpin
from edge.agents.live_agents import LiveAgents
from edge.http.agents_api import agents_json

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def inline(function: Callable[[], bool]) -> bool:
    """The virtual clock waits for no thread."""
    return function()


class Unreachable(MemoryAgentVersions):
    """Redis, which may be away."""

    away = False

    async def pins(self):  # type: ignore[no-untyped-def]
        if self.away:
            raise ConnectionError
        return await super().pins()


class Deployment:
    """A folder of agents, and two edges that share it and Redis."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.versions = folder, Unreachable()
        self.writes("Hello.")
        self.edges = [LiveAgents(AgentFolder(folder), self.versions, inline) for _ in range(2)]
        self.printed: list[str] = []

    def writes(self, greeting: str, name: str = "desk", more: str = "") -> None:
        text = f"greeting: {greeting}\ninstructions: Be kind.\n{more}"
        (made := self.folder / f"{name}.tmp").write_text(text)
        made.replace(self.folder / f"{name}.yaml")

    async def look(self) -> list[str]:
        """What the next caller of each edge hears."""
        for edge in self.edges:
            await edge.look()
            await edge.look()
        return [edge.current.by_name["desk"].greeting for edge in self.edges]


@pytest.fixture
def there(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


async def test_every_edge_takes_a_change_over_and_a_mistake_is_shown(there: Deployment) -> None:
    assert await there.look() == ["Hello.", "Hello."]
    there.writes("Namaste.")
    assert await there.look() == ["Namaste.", "Namaste."]
    there.writes("Namaste.", more="numbers: [soon]\n")
    assert await there.look() == ["Namaste.", "Namaste."]
    (problem,) = agents_json(there.edges[0])["problems"]
    assert "desk.yaml:3: entry 1 of 'numbers': is no phone number" in problem


async def test_a_rollback_counts_at_every_edge_until_the_file_changes(there: Deployment) -> None:
    await there.look()
    there.writes("Namaste.", more="numbers: [+91 12345 67890]\n")
    await there.look()
    await roll_back(there.versions, "desk", "", there.printed.append)
    assert await there.look() == ["Hello.", "Hello."]
    agent = there.edges[0].current.for_number("911234567890")
    assert agent is not None and agent.numbers == ("+91 12345 67890",)  # as the file has them
    there.versions.away = True
    assert await there.look() == ["Hello.", "Hello."]
    there.writes("Vanakkam.")
    assert await there.look() == ["Vanakkam.", "Vanakkam."]  # even without Redis
    there.versions.away = False
    assert await there.look() == ["Vanakkam.", "Vanakkam."]
    there.writes("Namaste.", more="numbers: [+91 12345 67890]\n")
    assert await there.look() == ["Hello.", "Hello."]  # the version that was bad then is bad now
    await unpin(there.versions, "desk", there.printed.append)
    assert await there.look() == ["Namaste.", "Namaste."]


async def test_an_edge_that_starts_later_obeys_too(there: Deployment) -> None:
    await there.look()
    there.writes("Namaste.")
    await there.look()
    await roll_back(there.versions, "desk", "", there.printed.append)
    late = LiveAgents(AgentFolder(there.folder), there.versions, inline)
    await late.look()
    assert late.current.by_name["desk"].greeting == "Hello."


async def test_the_command_lists_versions_and_names_what_it_does(there: Deployment) -> None:
    await there.look()
    first = there.edges[0].current.by_name["desk"].version
    there.writes("Namaste.")
    await there.look()
    second = there.edges[0].current.by_name["desk"].version
    await roll_back(there.versions, "desk", first[:4], there.printed.append)
    assert there.printed.pop().startswith(f"Calls to desk get version {first} until its file changes")
    await show(there.versions, there.printed.append)
    assert there.printed[0] == "desk"
    assert there.printed[1].startswith(f"  {second}  since ") and there.printed[1].endswith("UTC  in the file")
    assert there.printed[2].startswith(f"  {first}  since ") and there.printed[2].endswith("UTC  calls get it")
    for name, version in (("disk", ""), ("desk", "zz"), ("desk", "f" * 12)):
        with pytest.raises(NoSuchVersion):
            await roll_back(there.versions, name, version, there.printed.append)


async def test_a_pinned_agent_has_no_canary_and_the_api_shows_both_variants(there: Deployment) -> None:
    await there.look()
    there.writes("Namaste.", more="numbers: [+91 12345 67890]\n")
    there.writes("Vanakkam.", "desk.canary", "canary: 25\n")
    await there.look()
    shown = agents_json(there.edges[0])
    assert [(one["variant"], one["percent"], one["numbers"]) for one in shown["agents"]] == [
        ("stable", 75, 1),
        ("canary", 25, 1),
    ]
    assert "12345" not in str(shown) and shown["problems"] == [] and all(one["since_ms"] for one in shown["agents"])
    await roll_back(there.versions, "desk", "", there.printed.append)
    await there.look()
    assert there.edges[0].current.canaries == {}


async def test_fixed_agents_are_shown_too() -> None:
    assert agents_json(Agents({})) == {"agents": [], "problems": []}
