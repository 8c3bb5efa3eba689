"""Which processes a fleet has: those that its agent needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.fleet import AGENT, Fleet, FleetPlan

pytestmark = pytest.mark.fast

TOOLS = "tools: {order: {http: {url: 'https://shop.example.com/orders'}}}\n"


@pytest.mark.parametrize(
    ("agent", "python", "with_tools"), [(AGENT, "", False), (AGENT + TOOLS, "", True), (AGENT, "one = 1\n", True)]
)
def test_a_fleet_runs_tools_if_its_agent_has_some(agent: str, python: str, with_tools: bool, tmp_path: Path) -> None:
    fleet = Fleet(FleetPlan(tmp_path, agent=agent, python=python))
    assert fleet.members("tools") == (["tools-1", "tools-2"] if with_tools else [])
    assert len(fleet.members()) == (10 if with_tools else 8)
    assert fleet.pools[:3] == ("stt", "llm", "tts")
    fleet._folder.cleanup()
