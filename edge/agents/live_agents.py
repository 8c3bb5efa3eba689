"""Decides which version of each agent new calls get: what its file says now, or the version that is pinned in Redis.

    every 2 s ──▶ has a file changed? (common/agents/folder.py)
              ──▶ keep the files' versions in Redis, for `python -m edge.agents list` and `rollback`
              ──▶ is a version pinned?  It counts until the file changes, at every edge

Without Redis the pins stay as they were last known.  A call that has begun keeps its agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from common.agents.folder import AgentFolder
from common.agents.model import Agent, Agents, BadAgents, from_document, whole_document
from common.process.skipped import skip
from common.store.agent_versions import AgentVersions, Pin

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Pause between two looks; a change counts after two of them, a pin after one."""
STORE_SECONDS = 2.0
"""How long a look waits for Redis."""


InThread: TypeAlias = Callable[[Callable[[], bool]], Awaitable[bool]]


class LiveAgents:
    """See `common.agents.model.CurrentAgents`."""

    def __init__(self, folder: AgentFolder, versions: AgentVersions, in_thread: InThread = asyncio.to_thread) -> None:
        """`in_thread` runs what reads files, for which the calls of this process do not wait."""
        self._in_thread = in_thread
        self._folder, self._versions = folder, versions
        self._kept: dict[str, str] = {}
        """Agent -> the version that Redis has as the file's."""
        self._pins: Mapping[str, Pin] = {}
        self._pinned: dict[str, Agent] = {}
        """Agent -> its pinned version, as it was read from Redis."""
        self.current: Agents = folder.current

    @property
    def problems(self) -> Sequence[str]:
        """Why the files are not used as they are now; empty if they are."""
        return self._folder.problems

    @property
    def since_ms(self) -> Mapping[str, int]:
        """See `CurrentAgents`; of a pinned agent it is the time of its file."""
        return self._folder.since_ms

    async def run(self, reload: asyncio.Event) -> None:
        """Look every `LOOK_SECONDS`, and at once when `reload` is set, until cancelled."""
        while True:
            try:
                await self.look(at_once=reload.is_set())
            except Exception as error:  # noqa: BLE001 - the agents stay as they are
                skip("agents", error)
            reload.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await reload.wait()

    async def look(self, at_once: bool = False) -> None:
        """Take over what has changed in the files and in Redis.  `at_once`: read the files in any case."""
        if self._folder.is_due(at_once):
            await self._in_thread(self._folder.read)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(STORE_SECONDS):
                await self._keep()
                self._pins = await self._versions.pins()
                await self._fetch()
        self.current = self._with_pins(self._folder.current)

    async def _keep(self) -> None:
        for name, agent in self._folder.current.by_name.items():
            if self._kept.get(name) != agent.version:
                await self._versions.keep(name, agent.version, json.dumps(whole_document(agent)))
                self._kept[name] = agent.version

    async def _fetch(self) -> None:
        """Read the pinned versions that count and are not known yet."""
        for name, agent in self._folder.current.by_name.items():
            pin = self._pins.get(name)
            if pin is None or pin.instead_of != agent.version:
                if self._pinned.pop(name, None) is not None:
                    log.info("agent %s: no version is pinned any more; calls get the file's, %s", name, agent.version)
            elif name not in self._pinned or self._pinned[name].version != pin.version:
                kept = {one.version: one.document for one in await self._versions.kept(name)}
                pinned = _read(kept.get(pin.version, ""))
                if pinned is not None:
                    self._pinned[name] = pinned
                    log.info("agent %s: calls get the pinned version %s", name, pin.version)

    def _with_pins(self, files: Agents) -> Agents:
        """The agents of the files, with pinned ones in their places.  A pinned agent answers its file's numbers."""
        pinned = {
            name: replace(one, numbers=files.by_name[name].numbers)
            for name, one in self._pinned.items()
            if name in files.by_name and self._counts(name, files.by_name[name])
        }
        if not pinned:
            return files
        canaries = {name: canary for name, canary in files.canaries.items() if name not in pinned}
        return Agents({**files.by_name, **pinned}, canaries)

    def _counts(self, name: str, of_file: Agent) -> bool:
        pin = self._pins.get(name)
        return pin is not None and pin.instead_of == of_file.version and pin.version == self._pinned[name].version


def _read(document: str) -> Agent | None:
    try:
        return from_document(json.loads(document))
    except (BadAgents, ValueError, TypeError):
        return None
