"""Checks a configuration before any process starts or any model loads; takes well under a second."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.agents.model import BadAgents
from common.agents.reading import read_agents
from common.process.env_file import EnvFile, compose_variables
from common.settings import BadSettings, Settings
from workers.llm.engines.catalog import CATALOG as LANGUAGE_MODELS
from workers.runtime.agent_check import AgentFile, Findings, braces, check_pool
from workers.stt.engines.catalog import CATALOG as SPEECH_TO_TEXT
from workers.tts.engines.catalog import CATALOG as TEXT_TO_SPEECH
from workers.tts.sounds import Sounds

CATALOGS = {"stt": SPEECH_TO_TEXT, "llm": LANGUAGE_MODELS, "tts": TEXT_TO_SPEECH}
AGENTS_DIR = "AGENTS_DIR"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The result of a check; `settings` is None if the settings cannot be used."""

    settings: Settings | None
    agents: list[AgentFile] = field(default_factory=list)
    mistakes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check(file: EnvFile, environ: Mapping[str, str]) -> Configuration:
    """Read and check the `.env` file, the settings, all agents and all providers.

    If `mistakes` is not empty, nothing can be started.
    """
    merged = file.merged(environ)
    warnings = file.unknown(Settings.variables() | compose_variables())
    mistakes: list[str] = []
    settings: Settings | None = None
    try:
        settings = Settings.from_env(merged)
        folder = settings.agents_folder
    except BadSettings as error:
        mistakes += [file.located(problem, environ) for problem in error.problems]
        folder = Settings(agents_dir=merged.get(AGENTS_DIR) or Settings().agents_dir).agents_folder
    agents: list[AgentFile] = []
    try:
        agents = read_agents(folder)
    except BadAgents as error:
        mistakes += error.problems
    if settings is not None:
        found = check_providers(settings, agents)
        mistakes += [file.located(mistake, environ) for mistake in found.mistakes]
        warnings += found.warnings
    return Configuration(settings, agents, tuple(map(_short, mistakes)), tuple(map(_short, warnings)))


def check_providers(settings: Settings, agents: list[AgentFile]) -> Findings:
    """Check the providers of all three pools; each worker repeats the check of its own pool when it starts."""
    sounds = Sounds(settings.agents_folder).check(agent for _, agent in agents)
    found = Findings(warnings=[*braces(agents), *sounds])
    for pool, catalog in CATALOGS.items():
        one = check_pool(pool, catalog, agents, settings)
        found.mistakes += one.mistakes
        found.warnings += one.warnings
    vendors = {vendor for catalog in CATALOGS.values() for vendor in catalog.vendors}
    for vendor in settings.concurrency_max.keys() - vendors:
        near = difflib.get_close_matches(vendor, vendors, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(vendors))}"
        found.mistakes.append(f"PROVIDER_CONCURRENCY: unknown vendor {vendor!r}; {advice}")
    return found


def _short(line: str) -> str:
    """Return the line with paths relative to the working directory, as the user would type them."""
    return line.replace(f"{Path.cwd()}/", "")
