"""Runs tools of MCP servers: one connection for each server and process, shared by all calls, and made again when it
has broken.

    connecting ──tools listed──▶ connected ──a call or a check fails──▶ connecting, after growing pauses
                                     └──every CHECK_S, and when the server says so──▶ tools listed again

A server's list of tools is kept while it is away, so that a name means the same tool during a call.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from common.agents.tools import McpServer
from common.call.acts import ToolOutcome
from common.process.backoff import Backoff
from common.process.tasks import cancel
from workers.providers.child_environment import shut_own_environment
from workers.providers.tls import tls
from workers.tools.engines.guarded_transport import GuardedTransport
from workers.tools.interfaces import ToolError, ToolRequest
from workers.tools.outcomes import EMPTY, without
from workers.tools.templates import MissingVariable, as_text, filled, variables_in

log = logging.getLogger(__name__)

CONNECT_S = 10.0
"""Deadline of a connection, its negotiation and its list of tools."""
CHECK_S = 30.0
"""How often the tools are listed again, which also shows whether the server is there."""
LIST_S = 10.0
TOOLS_MAX = 50
"""Most tools of one server."""
PAGES_MAX = 20
ERROR_CHARS_MAX = 1_000
REQUEST_S = 90.0
"""Deadline of one HTTP request, above the longest timeout of a tool."""
RECONNECT = Backoff(first_s=0.5, longest_s=30.0, jitter=0.2)
KEY_META = "idempotencyKey"
"""The key in a request's `_meta` that carries the idempotency key."""
_BLANKED = ("LOGNAME", "SHELL", "TERM", "USER")
"""Variables that the MCP package would pass to a command."""
_PASSED = ("PATH", "HOME", "LANG")

AWAY = "The tool's server cannot be reached at the moment; nothing was done."
BROKE_OFF = (
    "The connection to the tool's server broke before it answered. It may or may not have been done: say so, do not"
    " try again."
)


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool as its server describes it."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class McpConnection:
    """The connection to one server.  `environment` fills `${NAME}` in its declaration."""

    def __init__(self, name: str, server: McpServer, environment: Mapping[str, str]) -> None:
        self._name = name
        self._server = server
        self._environment = environment
        self._client: Client | None = None
        self._listed = asyncio.Event()
        self._look = asyncio.Event()
        self._broken = False
        self._task: asyncio.Task[None] | None = None
        self.tools: tuple[ListedTool, ...] = ()
        """The newest list."""
        self.watchers: set[Callable[[], None]] = set()
        """Called when the list has changed."""

    def start(self) -> None:
        """Begin to connect; a second call has no effect."""
        if self._task is None:
            self._task = asyncio.create_task(self._hold(), name="mcp")

    async def listed(self) -> None:
        """Wait until the tools were listed once."""
        await self._listed.wait()

    async def run(self, tool: str, request: ToolRequest) -> str:
        """Call a tool of the server.  Raises ToolError."""
        client = self._client
        if client is None:
            raise ToolError(ToolOutcome.FAILED, AWAY)
        try:
            result = await client.call_tool(tool, dict(request.arguments), meta=_meta(request.key))
        except MCPError as error:
            if error.error.code == types.CONNECTION_CLOSED:
                self._reconnect()
                raise ToolError(ToolOutcome.UNKNOWN, BROKE_OFF) from None
            raise ToolError(ToolOutcome.FAILED, self._failure(error.error.message)) from None
        except (OSError, httpx2.HTTPError, RuntimeError) as error:
            log.info("an MCP server's answer failed: %s", type(error).__name__)
            self._reconnect()
            raise ToolError(ToolOutcome.UNKNOWN, BROKE_OFF) from None
        text = _text(result)
        if result.is_error:
            raise ToolError(ToolOutcome.FAILED, self._failure(text))
        return self._hidden(text) or EMPTY

    async def aclose(self) -> None:
        """Close the connection, and end the command if it is one."""
        if self._task is not None:
            with suppress(Exception):  # what broke while it was closed is of no use to anybody
                await cancel(self._task)
        self._client = None

    def _failure(self, text: str) -> str:
        reason = self._hidden(" ".join(text.split()))[:ERROR_CHARS_MAX]
        return f"The tool failed. It says: {reason}" if reason else "The tool failed."

    def _hidden(self, text: str) -> str:
        server = self._server
        wanted = variables_in(server.url, *server.headers.values(), *server.env.values(), *server.command)
        return without(text, [self._environment[name] for name in wanted if name in self._environment])

    def _reconnect(self) -> None:
        self._broken = True
        self._look.set()

    async def _hold(self) -> None:
        repetition = 0
        while True:
            try:
                async with self._connected() as client:
                    log.info("connected to the MCP server %s", self._name)
                    repetition = 0
                    await self._keep(client)
            except MissingVariable as error:
                log.error(
                    "the MCP server %s needs the variable %s in the environment of the tools workers",
                    self._name, error.name,
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001 - the package raises what its parts raise, in groups
                log.warning("no connection to the MCP server %s (%s)", self._name, _kind(error))
            finally:
                self._client = None
            await asyncio.sleep(RECONNECT.pause_s(repetition))
            repetition += 1

    async def _keep(self, client: Client) -> None:
        """List the tools now and then; returns when a call has failed, and raises if listing fails."""
        listening = asyncio.create_task(self._listen(client), name="mcp list changes")
        try:
            while not self._broken:
                self._look.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await self._look.wait()
                if not self._broken:
                    async with asyncio.timeout(LIST_S):
                        self._note(await _list(client))
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _listen(self, client: Client) -> None:
        """Note when a server of the newest protocol says that its list has changed; older ones send a message."""
        with suppress(Exception):  # of an older protocol, or the stream ended: the list is read again all the same
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._look.set()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        async with AsyncExitStack() as stack:
            self._broken = False
            async with asyncio.timeout(CONNECT_S):
                client = await self._open(stack)
                self._note(await _list(client))
            self._client = client
            self._listed.set()
            yield client

    async def _open(self, stack: AsyncExitStack) -> Client:
        if self._server.url:
            transport = await self._http(stack)
        else:
            transport = self._command(stack)
        return await stack.enter_async_context(Client(transport, message_handler=self._receive))

    async def _http(self, stack: AsyncExitStack) -> Any:
        url = filled(self._server.url, self._environment)
        headers = {name: filled(value, self._environment) for name, value in self._server.headers.items()}
        guarded = GuardedTransport(self._server.private_hosts, tls())
        client = await stack.enter_async_context(
            httpx2.AsyncClient(headers=headers, transport=guarded, trust_env=False, timeout=REQUEST_S)
        )
        return streamable_http_client(url, http_client=client)

    def _command(self, stack: AsyncExitStack) -> Any:
        shut_own_environment()
        passed = {name: self._environment[name] for name in _PASSED if name in self._environment}
        given = {name: filled(value, self._environment) for name, value in self._server.env.items()}
        command, *arguments = (filled(part, self._environment) for part in self._server.command)
        nowhere = os.open(os.devnull, os.O_WRONLY)  # what it prints may be a secret
        printed = stack.enter_context(os.fdopen(nowhere, "w"))
        return stdio_client(
            StdioServerParameters(
                command=command, args=arguments, env={**dict.fromkeys(_BLANKED, ""), **passed, **given}
            ),
            errlog=printed,
        )

    async def _receive(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._look.set()

    def _note(self, tools: tuple[ListedTool, ...]) -> None:
        wanted = self._server.tools
        kept = tuple(tool for tool in tools if not wanted or tool.name in wanted)[:TOOLS_MAX]
        if kept != self.tools:
            self.tools = kept
            for watcher in list(self.watchers):
                watcher()


async def _list(client: Client) -> tuple[ListedTool, ...]:
    found: list[ListedTool] = []
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        page = await client.list_tools(cursor=cursor, cache_mode="refresh")
        found += [ListedTool(tool.name, tool.description or "", tool.input_schema) for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(found)


def _meta(key: str) -> Any:
    return {KEY_META: key}


def _text(result: types.CallToolResult) -> str:
    """The texts of a result; without one, its structured content."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    if not any(text.strip() for text in texts) and result.structured_content is not None:
        return as_text(result.structured_content)
    return "\n".join(texts)


def _kind(error: BaseException) -> str:
    """The kinds of the errors of a group, or of the error; never its text."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(sorted({_kind(one) for one in error.exceptions}))
    return type(error).__name__
