"""Holds the agents of a folder as its files are now, for a process that goes on while they are edited.

    look ──▶ nothing has changed since the last look
         ──▶ a file changes just now: wait for the next look, because an editor may have written half of it
         ──▶ all files are in order: `current` is what they say
         ──▶ a mistake in any of them: `current` stays whole as it was; the log says once where and what to write

A ConfigMap of Kubernetes replaces the folder behind a symbolic link, so what counts is where the names lead to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from common.agents.checks import CANARY
from common.agents.model import Agent, Agents, BadAgents
from common.agents.reading import load_agents
from common.process.clock import wall_ms
from common.telemetry import metrics

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".yaml", ".yml", ".py"})
"""Files of other kinds may change as they like."""

FolderStamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, time of change, size and inode of each file."""


class AgentFolder:
    """See `common.agents.model.CurrentAgents`; `look` finds out whether a file has changed."""

    def __init__(self, folder: Path, own_numbers: Iterable[str] = (), now_ms: Callable[[], int] = wall_ms) -> None:
        """Read all files.  Raises BadAgents."""
        self._folder, self._own_numbers, self._now_ms = folder, tuple(own_numbers), now_ms
        self._read = self._seen = stamp_of(folder)
        self.current: Agents = load_agents(folder, self._own_numbers)
        self.problems: tuple[str, ...] = ()
        self.since_ms: Mapping[str, int] = dict.fromkeys(variants_of(self.current), now_ms())

    def look(self, at_once: bool = False) -> bool:
        """Read the files if one has changed and none changes just now; True if other agents are current.

        `at_once`: read them in any case.
        """
        return self.is_due(at_once) and self.read()

    def is_due(self, at_once: bool = False) -> bool:
        """Whether `read` is due.  Takes some microseconds for each file."""
        stamp = stamp_of(self._folder)
        is_settled, self._seen = stamp == self._seen, stamp
        return at_once or (stamp != self._read and is_settled)

    def read(self) -> bool:
        """Read the files; True if other agents are current.  Takes some milliseconds for each file."""
        stamp = stamp_of(self._folder)
        found, problems = self._load()
        if stamp_of(self._folder) != stamp:
            return False  # changed while it was read; the next look reads it again
        self._read = stamp
        metrics.AGENTS_RELOADS.labels("broken" if found is None else "loaded").inc()
        metrics.AGENTS_BROKEN.set(found is None)
        if problems and problems != self.problems:
            log.error("the agents stay as they were, because of mistakes in their files:\n%s", "\n".join(problems))
        if found is not None and self.problems:
            log.info("the agents' files are in order again")
        self.problems = problems
        return found is not None and self._take(found)

    def _load(self) -> tuple[Agents | None, tuple[str, ...]]:
        try:
            return load_agents(self._folder, self._own_numbers), ()
        except BadAgents as error:
            return None, error.problems

    def _take(self, found: Agents) -> bool:
        before, after = variants_of(self.current), variants_of(found)
        changes = [
            f"{name} {before[name].version if name in before else 'new:'} → {agent.version}"
            for name, agent in sorted(after.items())
            if name not in before or before[name].version != agent.version
        ] + [f"{name} is gone" for name in sorted(before.keys() - after.keys())]
        kept = {name: self.since_ms[name] for name in after if name in before and after[name] == before[name]}
        self.since_ms = dict.fromkeys(after, self._now_ms()) | kept
        is_other, self.current = found != self.current, found
        if changes:
            log.info("agents changed: %s", ", ".join(changes))
        elif is_other:
            log.info("agents changed: numbers or the share of a second version")
        return is_other


def variants_of(agents: Agents) -> dict[str, Agent]:
    """Every version that calls may get, by the agent's name, a second one as `<name>.canary`."""
    return {**agents.by_name, **{f"{name}{CANARY}": canary for name, canary in agents.canaries.items()}}


def stamp_of(folder: Path) -> FolderStamp:
    """What shows whether a file of the folder was changed, added, removed or replaced; cheap, and nothing is read."""
    stamp = []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError:
        return ()
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            stamp.append((path.name, 0, 0, 0))
        else:
            stamp.append((path.name, found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamp)
