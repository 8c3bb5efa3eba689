"""Reads all agents of a folder and reports every mistake in every file at once, each with its line.

    <name>.yaml          an agent
    <name>.canary.yaml   a second version of it, for the percentage of callers under `canary`
    <name>.py            Python functions that are its tools

files.py reads one file, fields.py checks its values, checks.py what they say together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.agents.checks import CANARY, AgentAndFile, of_file, of_folder
from common.agents.fields import Path as FieldPath
from common.agents.fields import Problem
from common.agents.files import Document, python_file, python_version, read_document
from common.agents.handoff import wrong_handoffs
from common.agents.model import Agent, Agents, BadAgents, parse

SENTENCES = frozenset({"greeting", "farewell", "instructions", "keyterms"})
"""Keys whose values are spoken or recognised: a `#` in them was meant as text, where YAML sees a comment."""
INNER_SENTENCES = frozenset({"description", "announcement", "whisper", "say", "ask", "meanwhile"})
"""Likewise, of tools, transfer targets and keys."""
NAMES = frozenset({"voice", "name"})
"""Keys whose values are names: a comment may follow only after a space behind its `#`."""


@dataclass(slots=True)
class FolderContent:
    """All that was read of a folder."""

    agents: list[AgentAndFile] = field(default_factory=list)
    canaries: list[AgentAndFile] = field(default_factory=list)

    def as_agents(self) -> Agents:
        """The agents without their files.  A canary answers the numbers of its agent."""
        by_name = {agent.name: agent for _, agent in self.agents}
        canaries = {agent.name: replace(agent, numbers=by_name[agent.name].numbers) for _, agent in self.canaries}
        return Agents(by_name, canaries)


def load_agents(folder: Path, own_numbers: Iterable[str] = ()) -> Agents:
    """Read every `*.yaml` of `folder`.  Raises one `BadAgents` that lists the problems of all files, by line.

    `own_numbers` are further numbers of the deployment; no `fallback_number` and no transfer target may be one.
    """
    return read_folder(folder, own_numbers).as_agents()


def read_agents(folder: Path, own_numbers: Iterable[str] = ()) -> list[AgentAndFile]:
    """Every agent of `folder`, and each second version, with its document.  Raises as `load_agents` does."""
    found = read_folder(folder, own_numbers)
    return [*found.agents, *found.canaries]


def read_folder(folder: Path, own_numbers: Iterable[str] = ()) -> FolderContent:
    """All files of `folder`.  Raises as `load_agents` does."""
    if not folder.is_dir():
        raise BadAgents([f"{folder}: no such folder; set AGENTS_DIR to the folder of your agent files"])
    problems = [f"{path}:1: would be ignored; rename it to {path.stem}.yaml" for path in sorted(folder.glob("*.yml"))]
    paths = sorted(folder.glob("*.yaml"))
    if not paths and not problems:
        raise BadAgents([f"{folder}: holds no agent; write one, e.g. {folder / 'receptionist.yaml'}"])
    found = FolderContent()
    for path in paths:
        document = read_document(path)
        agent, wrong = _read_agent(document)
        by_line = sorted((document.line(problem.path), problem.what) for problem in wrong)
        problems += [f"{path}:{line}: {what}" for line, what in by_line]
        if agent is not None:
            (found.canaries if path.stem.endswith(CANARY) else found.agents).append((document, agent))
    problems += of_folder(found.agents, found.canaries, own_numbers)
    unread = {path.stem for path in paths} - {document.path.stem for document, _ in found.agents}
    problems += wrong_handoffs(found.agents, found.canaries, unread)
    if problems:
        raise BadAgents(problems)
    return found


def _read_agent(document: Document) -> tuple[Agent | None, list[Problem]]:
    """(the agent, its mistakes); None if single values are wrong already."""
    if document.data is None:
        return None, document.problems
    name = document.path.stem.removesuffix(CANARY)
    agent, wrong = parse(document.data, default_name=name)
    problems = [*document.problems, *wrong, *_cut_texts(document)]
    if agent is not None:
        agent, wrong = with_python(agent, document.path.parent, name)
        problems += wrong
        problems += of_file(agent)
    return agent, problems


def with_python(agent: Agent, folder: Path, stem: str) -> tuple[Agent, list[Problem]]:
    """The agent with the version of its Python file, if it has one; `stem` is the name of the agent's own file."""
    found, problem = python_version(folder, agent.name)
    if not problem and not found and agent.name != stem and python_file(folder, stem).is_file():
        problem = f"the file {stem}.py would be ignored, since the agent's name is {agent.name!r}; rename it"
    return replace(agent, python=found, version="") if found else agent, [Problem((), problem)] if problem else []


def _cut_texts(document: Document) -> list[Problem]:
    """A problem for each text that YAML cut.  A comment after a value that is no sentence is a comment."""
    problems = []
    for cut in document.cuts:
        if not _is_sentence(cut.path) and not (_first(cut.path) in NAMES and cut.is_likely_text):
            continue
        if cut.at == "#" and cut.is_empty and not cut.is_likely_text:
            continue  # `greeting:  # none`
        key = ".".join(step for step in cut.path if isinstance(step, str))
        what = "` #` begins a comment" if cut.at == "#" else f"`{cut.at}` at the beginning is not part of the text"
        here = (*cut.path, cut.at)
        document.lines[here] = cut.line
        problems.append(
            Problem(here, f"{key!r} is cut off, since {what}; put the text in quotes, or the comment on its own line")
        )
    return problems


def _is_sentence(path: FieldPath) -> bool:
    if _first(path) == "variables":
        return False
    last = next((step for step in reversed(path) if isinstance(step, str)), "")
    return _first(path) in SENTENCES or (len(path) > 1 and last in INNER_SENTENCES)


def _first(path: FieldPath) -> str | int:
    return path[0] if path else ""
