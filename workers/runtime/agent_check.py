"""Checks, before a process starts, whether a pool can serve every agent's calls; nothing is loaded or requested.

    mistakes: a process with these would answer calls and drop them at once, so it does not start
    warnings: calls work, but not as the agent's file says

The parent of `make run` checks all three pools; each worker checks its own, if the agents' folder is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from common.agents.files import Document
from common.agents.handoff import reachable
from common.agents.model import Agent
from common.agents.reading import read_agents
from common.agents.variables import missing_variables
from common.settings import Settings
from workers.providers.catalog import Catalog

AgentFile: TypeAlias = tuple[Document, Agent]


@dataclass(slots=True)
class Findings:
    """One line each, with the file and line, or the variable, to change."""

    mistakes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class BadProviders(Exception):
    """A pool cannot serve the deployment or one of its agents.  The text lists every mistake."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        super().__init__("\n".join(mistakes))


def agents_here(settings: Settings) -> list[AgentFile]:
    """The agents of AGENTS_DIR; none without the folder, which in containers only the edge may have.

    Raises BadAgents.
    """
    folder = settings.agents_folder
    return read_agents(folder) if folder.is_dir() else []


def check_pool(pool: str, catalog: Catalog[Any], agents: Sequence[AgentFile], settings: Settings) -> Findings:
    """Mistakes and warnings about the deployment's providers of this pool, and each agent's use of them."""
    environ = settings.as_environment()
    found = Findings()
    for spec in settings.providers(pool):
        if problem := _problem(catalog, spec, environ):
            found.mistakes.append(f"{pool.upper()}_PROVIDER: {problem}")
    for document, agent in agents:
        own = getattr(agent.providers, pool)
        for index, spec in enumerate(own):
            if problem := _problem(catalog, spec, environ):
                found.mistakes.append(f"{document.location(('providers', pool, index))}: {problem}")
        usable = [spec for spec in settings.providers(pool, own) if not _problem(catalog, spec, environ)]
        if usable:
            _language(pool, catalog, usable, (document, agent), found)
            _voice(catalog, usable, (document, agent), environ, found)
    return found


def braces(agents: Sequence[AgentFile]) -> list[str]:
    """A warning for each `{{name}}` that has no value in an inbound call."""
    warnings = []
    hands_to = {agent.name: agent.transfer_to for _, agent in agents}
    called = [agent.name for _, agent in agents if agent.numbers or len(agents) == 1]
    reached = {*called, *(other for name in called for other in reachable(name, hands_to))}
    for document, agent in agents:
        for name in missing_variables(agent, {}) if agent.name in reached else ():
            key = "greeting" if f"{{{{{name}" in agent.greeting.replace("{{ ", "{{") else "instructions"
            warnings.append(
                f"{document.location((key,))}: {{{{{name}}}}} is empty in calls that come in; give it a value under "
                f"`variables: {name}:`"
            )
    return warnings


def _problem(catalog: Catalog[Any], spec: str, environ: dict[str, str]) -> str:
    try:
        catalog.check(spec, environ)
    except ValueError as error:
        return str(error)
    return ""


def _language(pool: str, catalog: Catalog[Any], specs: Sequence[str], file: AgentFile, found: Findings) -> None:
    """Check the language: one provider of the list that serves it is enough, since the others fail over to it."""
    document, agent = file
    unfits = [catalog.unfit(spec, agent.language, agent.voice) for spec in specs]
    reasons = [unfit.reason for unfit in unfits if unfit is not None]
    if len(reasons) < len(specs):
        return
    location = document.location(("language",))
    problem = f"{location}: no {catalog.shape} provider for the language {agent.language!r}: {'; '.join(reasons)}"
    if all(unfit is not None and unfit.certain for unfit in unfits):
        advice = ", ".join(catalog.fitting(agent.language)) or "no provider that is known here"
        found.mistakes.append(
            f"{problem}. Write one of these under `providers: {pool}:` or in {_variable(pool)}: {advice}"
        )
    else:
        found.warnings.append(f"{problem}. Try a call before you rely on it")


def _voice(
    catalog: Catalog[Any], specs: Sequence[str], file: AgentFile, environ: dict[str, str], found: Findings
) -> None:
    document, agent = file
    if not agent.voice or any(catalog.takes_voice(spec, agent.voice, environ) for spec in specs):
        return
    found.warnings.append(
        f"{document.location(('voice',))}: no voice of {', '.join(specs)} is named {agent.voice!r}: its default "
        "speaks; write a name or id as the vendor writes it (docs/agents.md), or leave it empty"
    )


def _variable(pool: str) -> str:
    return f"{pool.upper()}_PROVIDER"
