"""Simulates outages of a vendor: periodically its open connections break, and new ones have faults for a while.

An ASGI application around the stand-ins; it recognises the vendor of a connection by the route.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.routing import BaseRoute, Match

from simulators.providers.faults import Fault, Faults, Kind

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
INTERNAL_ERROR = 1011


@dataclass(frozen=True, slots=True)
class Plan:
    """An outage of `for_s` seconds every `every_s` seconds, the first after `every_s`."""

    every_s: float
    for_s: float
    kind: Kind = "broken"


class BadMinutes:
    """The application; `run` must run beside the server."""

    def __init__(self, app: App, routes: Sequence[BaseRoute], faults: Faults, plan: Plan) -> None:
        self._app = app
        self._routes = routes
        self._faults = faults
        self._plan = plan
        self._broken = asyncio.Event()
        self.bad = False
        self.broke = 0
        """Number of open connections that were broken so far."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _routed(self._routes, scope):
            await self._app(scope, receive, send)
            return
        serving = asyncio.ensure_future(self._app(scope, receive, send))
        breaking = asyncio.create_task(self._broken.wait(), name="until the next bad minute")
        try:
            await asyncio.wait({serving, breaking}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                return
            self.broke += 1
        finally:
            for task in (serving, breaking):
                task.cancel()
            await asyncio.wait({serving, breaking})
        if scope["type"] == "websocket":
            with suppress(RuntimeError, OSError):  # the client closed first
                await send({"type": "websocket.close", "code": INTERNAL_ERROR})
            return
        raise ConnectionResetError("a scripted bad minute")  # the server closes the connection in the middle

    async def run(self) -> None:
        """Repeat the outages until cancelled."""
        while True:
            await asyncio.sleep(self._plan.every_s - self._plan.for_s)
            self._begin()
            await asyncio.sleep(self._plan.for_s)
            self._end()

    def _begin(self) -> None:
        self.bad, self._faults.always = True, Fault(self._plan.kind)
        self._broken.set()
        self._broken = asyncio.Event()

    def _end(self) -> None:
        self.bad, self._faults.always = False, None


def _routed(routes: Iterable[BaseRoute], scope: Scope) -> bool:
    return scope["type"] in ("http", "websocket") and any(route.matches(scope)[0] is Match.FULL for route in routes)
