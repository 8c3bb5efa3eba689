"""Serves an ASGI application on loopback in the running loop: uvicorn without its signals and its clock."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn

START_S_MAX = 10.0
STOP_S_MAX = 10.0


class LoopbackServer:
    """A server as an async context manager; `url` is set by the constructor."""

    def __init__(
        self, app: Any, host: str = "127.0.0.1", port: int = 0, ws: str = "none", pem: Path | None = None
    ) -> None:
        """`pem`: a certificate and its key, to serve by TLS."""
        self._listener = socket.create_server((host, port))
        self.url = f"http{'s' if pem else ''}://{host}:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_level="error",
            lifespan="off",
            ws=ws,
            date_header=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=pem,
        )
        self._server = _Server(config)

    async def __aenter__(self) -> "LoopbackServer":
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="loopback server")
        async with asyncio.timeout(START_S_MAX):
            await self._server.up.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.force_exit = True
        self._server.down.set()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self._serving
        finally:
            self._serving.cancel()
            self._listener.close()


class _Server(uvicorn.Server):
    """Leaves signals to the process, and waits for the end without uvicorn's check ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up, self.down = asyncio.Event(), asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        self.up.set()
        await self.down.wait()
