"""Says at the start, and else at an agent's first call, that its voice is none that its providers have."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from common.agents import Agent, BadAgents, load_agents
from common.settings import Settings
from workers.tts.voice_names import is_openai, unused_voice

log = logging.getLogger(__name__)

TOLD_MAX = 1_000
"""So many warnings of one process; what comes after them is not told."""


class VoiceWarnings:
    """Each agent and voice is told of once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def check_files(self, settings: Settings) -> None:
        """Every agent of `AGENTS_DIR`, if this process can see it; what is wrong with the files, the edge tells."""
        try:
            agents = load_agents(Path(settings.agents_dir))
        except BadAgents:
            return
        for agent in agents.by_name.values():
            self.check(agent, settings.providers("tts", agent.providers.tts), settings)

    def check(self, agent: Agent, specs: Sequence[str], settings: Settings) -> None:
        """One agent with its providers."""
        compatible = not is_openai(settings.openai_base_url)
        warning = unused_voice(agent.name, agent.voice, specs, openai_compatible=compatible)
        if warning and warning not in self._told and len(self._told) < TOLD_MAX:
            self._told.add(warning)
            log.warning("%s", warning)
