"""A real MCP server of the `mcp` package, for tests: `python -m tests.contract.mcp_server` is its stdio transport."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from tools.ports import free_port


def make_server() -> MCPServer:
    server = MCPServer("clinic")

    @server.tool()
    async def slots(day: str, ctx: Context) -> str:
        """List free slots."""
        meta = ctx.request_context.meta or {}
        return f"{day}: nine, ten; key {dict(meta).get('idempotencyKey')}"

    @server.tool()
    def environment() -> str:
        return ",".join(sorted(name for name, value in os.environ.items() if value))

    @server.tool()
    def password() -> str:
        return os.environ.get("CLINIC_PASSWORD", "none")

    @server.tool()
    def fails() -> str:
        raise ToolError("no such patient")

    @server.tool()
    async def waits() -> str:
        await asyncio.sleep(600)
        return ""

    @server.tool()
    def exits() -> str:
        os._exit(3)

    @server.tool()
    async def learns(ctx: Context) -> str:
        """Offers another tool from now on."""

        def learned() -> str:
            return "learned"

        server.add_tool(learned, name="learned")
        await ctx.notify_tools_changed()
        return "ok"

    return server


@contextlib.asynccontextmanager
async def mcp_over_http() -> AsyncIterator[str]:
    """The server by streamable HTTP on loopback; yields its URL."""
    port = free_port()
    app = make_server().streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="on"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        await asyncio.wait([serving], timeout=5)


if __name__ == "__main__":
    make_server().run("stdio")
