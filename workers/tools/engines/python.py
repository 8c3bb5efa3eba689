"""Runs tools that are Python functions: one child process for each version of an agent's file, started before its first
call, and started again, after growing pauses, when it has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import ValidationError, convert

from common.agents.tools import Tool
from common.call.acts import ToolOutcome
from common.process.backoff import Backoff
from workers.tools.engines.python_pipe import BROKEN, BrokenFile, PythonChild
from workers.tools.interfaces import CallableTool, ToolError, ToolRequest
from workers.tools.options import merged
from workers.tools.outcomes import without

log = logging.getLogger(__name__)

FILE_BYTES_MAX = 256 * 1024
RESTARTS = Backoff(first_s=0.2, longest_s=30.0, jitter=0.2)
"""Pauses before a child is started again; after the first end in a row there is none."""
PAUSE_S = 2.0
"""The longest of these pauses that a call waits for; in a longer one it fails at once."""
LIVED_S = 60.0
"""A child that lived for so long did not end in a row with the one before."""
NEEDED = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE")
"""Variables that every child gets."""
WORN_MAX = 3
"""Most worn children of one file that may finish their calls; beyond it the oldest is killed with what it runs."""


@dataclass(frozen=True, slots=True)
class PythonSource:
    """An agent's Python file as it was read: a call keeps what it began with."""

    path: Path
    text: str

    @property
    def version(self) -> str:
        """A digest of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]


def read_source(path: Path) -> PythonSource | None:
    """The file, or None if there is none.  Raises BrokenFile."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise BrokenFile(f"{path.name} is larger than {FILE_BYTES_MAX // 1024} KiB")
        return PythonSource(path, raw.decode())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenFile(f"{path.name} cannot be read ({type(error).__name__})") from None


class PythonTools:
    """The tools of one version of one agent's file.  `environment`: all variables that its child gets."""

    def __init__(self, source: PythonSource, environment: Mapping[str, str]) -> None:
        self.source = source
        self._environment = environment
        self._secrets = tuple(value for name, value in environment.items() if name not in NEEDED)
        self._child: PythonChild | None = None
        self._worn: list[PythonChild] = []
        self._starting = asyncio.Lock()
        self._ends = 0  # in a row
        self._started_s = 0.0
        self._not_before_s = 0.0
        self._closed = False

    async def declared(self, options: Mapping[str, Tool]) -> list[CallableTool]:
        """The tools of the file; `options` are those of the agent file, which win.  Raises ToolError."""
        child = await self._ready()
        return [self._tool(one, options) for one in child.declared]

    async def aclose(self) -> None:
        """Kill the children."""
        self._closed = True
        for child in [*self._worn, *([self._child] if self._child else [])]:
            await child.aclose()
        self._worn, self._child = [], None

    def _tool(self, declared: Mapping[str, Any], options: Mapping[str, Tool]) -> CallableTool:
        name = str(declared["name"])
        mine = _options(name, declared.get("options", {}))
        tool = merged(replace(mine, description=str(declared["description"])), options.get(name))

        async def run(request: ToolRequest) -> str:
            child = await self._ready()
            context = {
                name: getattr(request.context, name) for name in ("call_id", "caller", "called", "direction", "agent")
            }
            context |= {"variables": dict(request.context.variables), "key": request.key}
            try:
                return without(await child.call(name, request.arguments, context, request.say), self._secrets)
            except ToolError as error:
                raise ToolError(error.outcome, without(error.text, self._secrets)) from None
            finally:
                await self._tidy()

        return CallableTool(name, "python", tool, tool.description, declared["parameters"], run)

    async def _ready(self) -> PythonChild:
        """The running child, started first if need be.  Raises ToolError."""
        async with self._starting:
            if self._closed:
                raise ToolError(ToolOutcome.FAILED, BROKEN)
            if self._child is not None and not self._child.worn:
                return self._child
            loop = asyncio.get_running_loop()
            if self._child is not None:
                self._retire(self._child, loop.time())
            if (pause_s := self._not_before_s - loop.time()) > PAUSE_S:
                raise ToolError(ToolOutcome.FAILED, BROKEN)
            await asyncio.sleep(max(pause_s, 0.0))
            try:
                self._child = await PythonChild.start(self.source.path, self.source.text, self._environment)
            except (BrokenFile, OSError, TimeoutError) as error:
                self._count_end(loop.time())
                log.error("the tools of %s cannot be loaded: %s", self.source.path.name, _why(error))
                raise ToolError(ToolOutcome.FAILED, BROKEN) from None
            self._started_s = loop.time()
            return self._child

    def _retire(self, child: PythonChild, now_s: float) -> None:
        self._child = None
        self._worn.append(child)
        self._count_end(now_s)

    def _count_end(self, now_s: float) -> None:
        if self._started_s and now_s - self._started_s >= LIVED_S:
            self._ends = 0
        self._not_before_s = now_s + (RESTARTS.pause_s(self._ends - 1) if self._ends else 0.0)
        self._ends += 1

    async def _tidy(self) -> None:
        """Kill worn children whose calls have ended, and those of which there are too many."""
        if (child := self._child) is not None and child.worn:
            self._retire(child, asyncio.get_running_loop().time())
        over = len(self._worn) - WORN_MAX
        done = [child for index, child in enumerate(self._worn) if child.idle or child.gone or index < over]
        self._worn = [child for child in self._worn if child not in done]
        for child in done:
            await child.aclose()


def _options(name: str, given: Mapping[str, Any]) -> Tool:
    """The options of the decorator; those that no agent file could have are left out, with a warning."""
    try:
        return convert(dict(given), Tool)
    except ValidationError:
        log.warning("tool %s: its options in @tool(...) are not possible, and are ignored", name)
        return Tool()


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, BrokenFile) else type(error).__name__


def child_environment_of(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a child: what a program needs to run, and those that the agent file names."""
    wanted = {*NEEDED, *names}
    return {name: value for name, value in environment.items() if name in wanted}
