"""Defines what edges keep of agents' files: the last versions, and the one that is pinned in place of the file's.

    keep ──▶ a version that an edge has begun to use; the file's current one is noted beside it
    pin  ──▶ `python -m edge.agents rollback`: calls get `version` as long as the file has the version `instead_of`

So a pin ends with the next change of the file, whichever edge sees it first, and no edge has to remove it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

VERSIONS_MAX = 20
"""Most versions of one agent that are kept; the one that was begun the longest ago goes."""
AGENTS_KEPT_MAX = 1_000
"""Most agents of which versions are kept."""
DOCUMENT_BYTES_MAX = 256 * 1024
"""Most bytes of one version, as JSON; twice what a file may have."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """One version of an agent's file."""

    version: str
    since_ms: int
    """When an edge began to use it, Unix time in ms by the server's clock."""
    document: str
    """The agent's whole document as JSON (common/agents/model.py)."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A version that calls get although the agent's file has another one."""

    version: str
    instead_of: str
    """The file's version when it was pinned; with any other the pin has no effect."""


class AgentVersions(Protocol):
    """The versions of a store (`CallStore.agent_versions`).

    Every method raises ConnectionError or TimeoutError while the server is away.
    """

    async def keep(self, agent: str, version: str, document: str) -> None:
        """Note the current version of an agent's file, and keep its document.  Repeating it changes nothing."""

    async def kept(self, agent: str) -> list[KeptVersion]:
        """The kept versions of an agent, the one that was begun last first."""

    async def in_files(self) -> Mapping[str, str]:
        """Agent -> version of its file, as an edge last read it; agents that are gone since are among them."""

    async def pins(self) -> Mapping[str, Pin]:
        """Agent -> its pin, also one that has no effect any more."""

    async def pin(self, agent: str, pin: Pin) -> None:
        """Pin a version of an agent; replaces an earlier pin."""

    async def unpin(self, agent: str) -> None:
        """Remove the pin of an agent, if it has one."""
