"""Gathers the tools of one agent, from its file, its Python file and its MCP servers, and what is offered of them.

An HTTP tool is declared in the agent's document, so the LLM worker knows it; the others are offered in the event log by
the worker that has them (`ToolsOffered`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.agents.files import python_file
from common.agents.model import Agent
from common.agents.tools import McpServer, Tool
from common.call.acts import BUILT_IN_TOOLS, ToolOutcome
from common.protocol.acts import ToolsOffered
from workers.tools.engines.http import HttpTools
from workers.tools.engines.mcp import AWAY, ListedTool, McpConnection
from workers.tools.engines.python import PythonSource, PythonTools, child_environment_of, read_source
from workers.tools.engines.python_pipe import BROKEN, BrokenFile
from workers.tools.interfaces import CallableTool, ToolError, ToolRequest
from workers.tools.options import merged, spoken_options
from workers.tools.outcomes import no_such_tool
from workers.tools.shared import Shared

log = logging.getLogger(__name__)

SOURCES_S = 8.0
"""How long a call of a tool waits for a source that is not ready yet."""
OFFER_CHARS_MAX = 60_000
"""Most characters of one offer; a message holds 100,000.  Tools beyond it are left out."""
DESCRIPTION_CHARS_MAX = 1_000
SCHEMA_CHARS_MAX = 8_000
PYTHON = "python"
"""The source of a Python file's tools."""


class ToolEngines:
    """What runs tools in this process, shared by all calls.  `folder` has the agents' Python files."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.http = HttpTools(environment)
        self._environment = environment
        self._folder = folder
        self._python: Shared[PythonTools] = Shared()
        self._mcp: Shared[McpConnection] = Shared()

    def open_python(self, agent: Agent) -> tuple[str, PythonTools] | None:
        """The tools of the agent's Python file and the key to close them by, or None if it has no file."""
        try:
            source = read_source(python_file(self._folder, agent.name))
        except BrokenFile as error:
            log.error("the tools of agent %s cannot be used: %s", agent.name, error)
            return None
        if source is None:
            return None
        names = tuple(sorted(agent.tool_environment))
        key = f"{source.path}:{source.version}:{','.join(names)}"
        return key, self._python.open(key, lambda: self._python_tools(source, names))

    def close_python(self, key: str) -> None:
        """The counterpart of `open_python`."""
        self._python.close(key)

    def open_mcp(self, name: str, server: McpServer) -> tuple[str, McpConnection]:
        """The connection to an MCP server and the key to close it by."""
        key = f"{name}:{server!r}"
        connection = self._mcp.open(key, lambda: McpConnection(name, server, self._environment))
        connection.start()
        return key, connection

    def close_mcp(self, key: str) -> None:
        """The counterpart of `open_mcp`."""
        self._mcp.close(key)

    async def aclose(self) -> None:
        """End all children and connections."""
        await self._python.aclose()
        await self._mcp.aclose()
        await self.http.aclose()

    def _python_tools(self, source: PythonSource, names: Sequence[str]) -> PythonTools:
        return PythonTools(source, child_environment_of(names, self._environment))


class AgentTools:
    """The tools of one agent in one call.  `changed` is called when there are others than before."""

    def __init__(self, agent: Agent, engines: ToolEngines, changed: Callable[[], None]) -> None:
        self._agent = agent
        self._engines = engines
        self._changed = changed
        self._http = {name: engines.http.tool(name, tool) for name, tool in agent.tools.items() if tool.http}
        self._python = engines.open_python(agent)
        self._servers = {name: engines.open_mcp(name, server) for name, server in agent.mcp.items()}
        for _, connection in self._servers.values():
            connection.watchers.add(changed)
        self._functions: dict[str, CallableTool] | None = {} if self._python is None else None
        self._loading: asyncio.Task[None] | None = None
        if self._python is not None:
            self._loading = asyncio.create_task(self._load(self._python[1]), name="load python tools")

    async def find(self, name: str) -> CallableTool:
        """The tool of this name.  Waits for sources that are not ready.  Raises ToolError if there is none."""
        if name in self._http:
            return self._http[name]
        with suppress(TimeoutError):
            async with asyncio.timeout(SOURCES_S):
                await self._ready(name)
        found = (self._functions or {}).get(name) or self._mcp_tools().get(name)
        if found is not None:
            return found
        if self._functions is None and name in self._agent.tools:
            raise ToolError(ToolOutcome.FAILED, BROKEN)
        if any(not connection.tools for _, connection in self._servers.values()):
            raise ToolError(ToolOutcome.FAILED, AWAY)
        raise ToolError(ToolOutcome.REFUSED, no_such_tool(name))

    def offers(self) -> dict[str, ToolsOffered]:
        """Source -> its offer, of the sources that are ready."""
        found = {}
        if self._functions is not None:
            found[PYTHON] = _offer(PYTHON, self._functions.values())
        by_server: dict[str, list[CallableTool]] = {name: [] for name, (_, one) in self._servers.items() if one.tools}
        for (server, _), tool in self._mcp_named().items():
            by_server[server].append(tool)
        return found | {server: _offer(server, tools) for server, tools in by_server.items()}

    async def aclose(self) -> None:
        """Give back what is shared with other calls."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        if self._python is not None:
            self._engines.close_python(self._python[0])
        for key, connection in self._servers.values():
            connection.watchers.discard(self._changed)
            self._engines.close_mcp(key)

    async def _load(self, python: PythonTools) -> None:
        try:
            tools = await python.declared(self._agent.tools)
        except ToolError:
            return  # it was logged, and a call of such a tool is answered with it
        self._functions = {tool.name: tool for tool in tools if tool.name not in self._http}
        self._changed()

    async def _ready(self, name: str) -> None:
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if name not in (self._functions or {}):
            await asyncio.gather(*(connection.listed() for _, connection in self._servers.values()))

    def _mcp_tools(self) -> dict[str, CallableTool]:
        return {tool.name: tool for tool in self._mcp_named().values()}

    def _mcp_named(self) -> dict[tuple[str, str], CallableTool]:
        """(server, its name of the tool) -> the tool under the name that the model uses."""
        taken = {*BUILT_IN_TOOLS, *self._http, *(self._functions or {})}
        found: dict[tuple[str, str], CallableTool] = {}
        for server, (_, connection) in self._servers.items():
            for listed in connection.tools:
                name = _plain(listed.name)
                if name in taken:
                    name = _plain(f"{server}_{listed.name}")
                if name not in taken:
                    taken.add(name)
                    found[server, listed.name] = self._mcp_tool(name, listed, connection)
        return found

    def _mcp_tool(self, name: str, listed: ListedTool, connection: McpConnection) -> CallableTool:
        described = Tool(description=listed.description[:DESCRIPTION_CHARS_MAX])
        options = merged(described, self._agent.tools.get(name))

        async def run(request: ToolRequest) -> str:
            return await connection.run(listed.name, request)

        return CallableTool(name, "mcp", options, options.description, listed.parameters, run, checks_arguments=True)


def _plain(name: str) -> str:
    """A name that every language model's API takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def _offer(source: str, tools: Iterable[CallableTool]) -> ToolsOffered:
    """What the model is told of these tools, as far as it fits."""
    functions: list[dict[str, Any]] = []
    options: dict[str, Any] = {}
    size = 0
    for tool in tools:
        function = {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description[:DESCRIPTION_CHARS_MAX],
                "parameters": tool.parameters,
            },
        }
        length = len(json.dumps(function))
        if length > SCHEMA_CHARS_MAX or size + length > OFFER_CHARS_MAX:
            log.warning("a tool of %s is not offered: its description or arguments are too long", source)
            continue
        size += length
        functions.append(function)
        if spoken := spoken_options(tool.options):
            options[tool.name] = spoken
    return ToolsOffered(source, json.dumps(functions), json.dumps(options) if options else "")
