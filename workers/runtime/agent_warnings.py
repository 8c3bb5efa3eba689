"""Warns of agents with values that none of their providers can use, at the start or at an agent's first call.

A value that only some of them can use is no mistake: after a failover the provider may be another vendor's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from common.agents.model import Agent, BadAgents
from common.agents.reading import load_agents
from common.settings import Settings

log = logging.getLogger(__name__)

WARNINGS_MAX = 1_000
"""Most warnings of one process; later ones are not logged."""

Unused: TypeAlias = Callable[[Agent, Sequence[str], Settings], str]
"""(agent, its providers, settings) -> the warning, or "" if every value is used."""


class AgentWarnings:
    """Logs each warning of one pool once."""

    def __init__(self, pool: str, unused: Unused) -> None:
        self._pool = pool
        self._unused = unused
        self._given: set[str] = set()

    def check_files(self, settings: Settings) -> None:
        """Warn of every agent in `AGENTS_DIR`, if it is here; the edge reports mistakes in the files."""
        try:
            agents = load_agents(Path(settings.agents_dir))
        except BadAgents:
            return
        for agent in agents.by_name.values():
            self.check(agent, settings.providers(self._pool, getattr(agent.providers, self._pool)), settings)

    def check(self, agent: Agent, specs: Sequence[str], settings: Settings) -> None:
        """Warn of one agent with its providers, unless it was done before."""
        warning = self._unused(agent, specs, settings)
        if warning and warning not in self._given and len(self._given) < WARNINGS_MAX:
            self._given.add(warning)
            log.warning("%s", warning)
