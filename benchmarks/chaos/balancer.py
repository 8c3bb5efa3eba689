"""Balances TCP connections over the edges: each new one goes to the ready edge with the fewest.

It does not read the data.  An edge that dies resets its connections at once, and so does the balancer; one
that is not ready (or does not answer) gets no new ones and keeps those it has.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import httpx

PROBE_S = 0.2
PROBE_DEADLINE_S = 0.3
CONNECT_S = 1.0


@dataclass(slots=True)
class Backend:
    """One edge."""

    port: int
    ready: bool = False
    open: int = 0


class _End(asyncio.Protocol):
    """One side of a connection; forwards received data to the other side."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.early: list[bytes] = []
        self.backend: Backend | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        other = self.other.transport if self.other is not None else None
        if other is None:
            self.early.append(data)  # at most what arrives within CONNECT_S: a request's head
        elif not other.is_closing():
            other.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.backend is not None:
            self.backend.open -= 1
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.abort() if error is not None else self.other.transport.close()


@dataclass
class Balancer:
    """The balancer, which listens on `port`; an async context manager."""

    port: int
    backends: list[Backend]
    refused: int = 0
    """Number of connections for which no edge was ready."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", self.port)
        self._http = httpx.AsyncClient(timeout=PROBE_DEADLINE_S, trust_env=False)
        await self._look()
        self._keep(asyncio.create_task(self._probe(), name="probe the edges"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept(self) -> asyncio.Protocol:
        client = _End()
        self._keep(asyncio.create_task(self._join(client), name="join"))
        return client

    async def _join(self, client: _End) -> None:
        backend = min((b for b in self.backends if b.ready), key=lambda b: b.open, default=None)
        server = _End()
        try:
            if backend is None:
                raise ConnectionRefusedError("no edge is ready")
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", backend.port)
        except (OSError, TimeoutError):
            self.refused += 1
            if backend is not None:
                backend.ready = False
            if client.transport is not None:
                client.transport.abort()
            return
        if client.transport is None or client.transport.is_closing() or server.transport is None:
            return
        assert backend is not None
        client.other, server.other, server.backend = server, client, backend
        backend.open += 1
        server.transport.writelines(client.early)
        client.early.clear()

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(PROBE_S)
            await self._look()

    async def _look(self) -> None:
        """Ask every edge whether it is ready."""
        for backend in self.backends:
            backend.ready = await _is_ready(self._http, backend.port)


async def _is_ready(http: httpx.AsyncClient, port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
    return False
