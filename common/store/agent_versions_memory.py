"""Keeps versions of agents without a server, for tests (agent_versions.py)."""

from __future__ import annotations

from collections.abc import Mapping

from common.process.clock import wall_ms
from common.store.agent_versions import AGENTS_KEPT_MAX, DOCUMENT_BYTES_MAX, VERSIONS_MAX, KeptVersion, Pin


class MemoryAgentVersions:
    """See `common.store.agent_versions.AgentVersions`."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, KeptVersion]] = {}
        """agent -> its versions, the one that was begun last at the end"""
        self._in_files: dict[str, str] = {}
        self._pins: dict[str, Pin] = {}

    async def keep(self, agent: str, version: str, document: str) -> None:
        kept = self._kept.get(agent, {})
        if self._in_files.get(agent) == version and version in kept:
            return
        if len(document.encode()) > DOCUMENT_BYTES_MAX or (
            agent not in self._kept and len(self._kept) >= AGENTS_KEPT_MAX
        ):
            return
        self._in_files[agent] = version
        kept.pop(version, None)
        kept[version] = KeptVersion(version, wall_ms(), document)
        if len(kept) > VERSIONS_MAX:
            del kept[next(iter(kept))]
        self._kept[agent] = kept

    async def kept(self, agent: str) -> list[KeptVersion]:
        return list(reversed(self._kept.get(agent, {}).values()))

    async def in_files(self) -> Mapping[str, str]:
        return dict(self._in_files)

    async def pins(self) -> Mapping[str, Pin]:
        return dict(self._pins)

    async def pin(self, agent: str, pin: Pin) -> None:
        self._pins[agent] = pin

    async def unpin(self, agent: str) -> None:
        self._pins.pop(agent, None)
