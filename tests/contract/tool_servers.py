"""What tools talk to in tests: an HTTP service with every fault, an MCP server by both transports, a Python file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from workers.tools.interfaces import CallContext, ToolRequest

PATIENT_S = 30.0


def request(arguments: dict[str, Any], heard: list[str] | None = None, key: str = "call-1:2:0") -> ToolRequest:
    """One call of a tool, as a session makes it."""
    context = CallContext("call-1", "clinic", "911234567890", "911234567891", "inbound", {"name": "Asha"})
    return ToolRequest(key, arguments, context, (heard if heard is not None else []).append)


class ShopService:
    """An HTTP service on loopback; `url` ends without a slash, `seen` has every request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[web.Request] = []
        self.bodies: list[Any] = []
        self.elsewhere = ""
        """Where `/moved` leads."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.bodies.append(await request.json() if request.can_read_body else None)
        match request.path.split("/")[1]:
            case "orders":
                return web.json_response({"order": {"status": "on its way", "id": request.path.split("/")[2]}})
            case "hangs":
                await asyncio.sleep(PATIENT_S)
            case "large":
                return web.Response(body=b'"' + b"x" * (10 << 20) + b'"', content_type="application/json")
            case "html":
                return web.Response(text="<html>please log in</html>", content_type="text/html")
            case "nonsense":
                return web.Response(text='{"order": ', content_type="application/json")
            case "empty":
                return web.Response(status=204)
            case "echo":
                return web.json_response(dict(request.headers))
            case "missing":
                return web.json_response({"error": "no such order"}, status=404)
            case "moved":
                return web.Response(status=int(request.path.split("/")[2]), headers={"Location": self.elsewhere})
            case "circle":
                return web.Response(status=302, headers={"Location": "/circle/again"})
            case "breaks":
                assert request.transport is not None
                request.transport.abort()
        return web.Response(text="?")


@contextlib.asynccontextmanager
async def shop_service() -> AsyncIterator[ShopService]:
    shop = ShopService("")
    runner = web.AppRunner(_app(shop), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    shop.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield shop
    finally:
        await runner.cleanup()


def _app(shop: ShopService) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", shop.answer)
    return app
