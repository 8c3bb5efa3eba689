"""Shows the agents that calls get now: `GET /v1/agents`."""

from __future__ import annotations

from typing import Any

from common.agents.folder import variants_of
from common.agents.model import CurrentAgents


def agents_json(agents: CurrentAgents) -> dict[str, Any]:
    """Every version that calls may get, and why the files are not used as they are, if so.  No number is shown."""
    current = agents.current
    return {
        "agents": [
            {
                "name": agent.name,
                "version": agent.version,
                "variant": "stable" if name == agent.name else "canary",
                "percent": agent.canary if name != agent.name else 100 - _canary_percent(agents, agent.name),
                "numbers": len(agent.numbers),
                "since_ms": agents.since_ms.get(name, 0),
            }
            for name, agent in sorted(variants_of(current).items())
        ],
        "problems": list(agents.problems),
    }


def _canary_percent(agents: CurrentAgents, name: str) -> int:
    canary = agents.current.canaries.get(name)
    return canary.canary if canary is not None else 0
