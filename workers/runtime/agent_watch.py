"""Checks edited agents for one pool while a worker runs, if their folder is there: as at its start, but it goes on.

The edge says what is wrong with the files themselves; only a pool knows whether its providers can serve an agent.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from common.agents.folder import stamp_of
from common.agents.model import BadAgents
from common.agents.reading import read_agents
from common.process.skipped import skip
from common.settings import Settings
from workers.providers.catalog import Catalog
from workers.runtime.agent_check import check_pool

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Pause between two looks at the folder; a change counts when two of them find it the same."""


class AgentWatch:
    """Logs what a pool finds wrong with agents that were edited, once for each edition."""

    def __init__(self, pool: str, catalog: Catalog[Any], settings: Settings) -> None:
        self._pool, self._catalog, self._settings = pool, catalog, settings
        self._folder: Path = settings.agents_folder
        self._checked = self._seen = stamp_of(self._folder)

    async def run(self) -> None:
        """Look every `LOOK_SECONDS` until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self.is_due():
                    await asyncio.to_thread(self.check)
            except Exception as error:  # noqa: BLE001 - a check never ends a worker
                skip("agents", error)

    def is_due(self) -> bool:
        """Whether a file has changed and none changes just now."""
        stamp = stamp_of(self._folder)
        is_settled, self._seen = stamp == self._seen, stamp
        return stamp != self._checked and is_settled

    def check(self) -> None:
        """Read and check all agents, and log what is found."""
        self._checked = self._seen
        try:
            found = check_pool(self._pool, self._catalog, read_agents(self._folder), self._settings)
        except BadAgents:
            return  # the edge says so, and keeps the agents as they were
        for mistake in found.mistakes:
            log.error("%s: its calls get the providers of the deployment", mistake)
        for warning in found.warnings:
            log.warning("%s", warning)
