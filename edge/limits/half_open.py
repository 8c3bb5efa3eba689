"""Connections that have not asked for anything yet: how long each may take, and how many there may be.

uvicorn waits for a request for ever, so a stranger could hold every file descriptor of an edge with silence, or a byte
now and then.  Here each request has `REQUEST_SECONDS` to arrive, and of the connections that are still at it the
oldest goes when there are more than `HALF_OPEN_MAX`: an honest client has sent its request long before.
Media sockets are no matter of this file: they have made their request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common import metrics

REQUEST_SECONDS = 10.0
"""For a whole request, body included, from the connection or from its first byte."""
HALF_OPEN_MAX = 256


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> None:
        """It will not come."""


class HalfOpen:
    """The table of one listening process.  `enter` a connection with what closes it, `leave` when it has asked."""

    def __init__(self, call_later: Callable[..., Timer], most: int = HALF_OPEN_MAX) -> None:
        self._call_later = call_later
        self._most = most
        self._waiting: dict[object, tuple[Timer, Callable[[], None]]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: object, close: Callable[[], None]) -> None:
        """A request is expected, or has begun."""
        self.leave(connection)
        self._waiting[connection] = (self._call_later(REQUEST_SECONDS, self._close, connection, "late"), close)
        if len(self._waiting) > self._most:
            self._close(next(iter(self._waiting)), "crowded out")

    def leave(self, connection: object) -> None:
        """It has made its request, or is gone."""
        timer, _ = self._waiting.pop(connection, (None, None))
        if timer is not None:
            timer.cancel()

    def _close(self, connection: object, why: str) -> None:
        timer, close = self._waiting.pop(connection)
        timer.cancel()
        metrics.HALF_OPEN_CLOSED.labels(why).inc()
        close()


class RequestProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to its patience.  All connections of a server share a table."""

    @property
    def _half_open(self) -> HalfOpen:
        state = self.server_state  # uvicorn makes the protocols; this is what it gives to all of one server
        table: HalfOpen | None = getattr(state, "half_open", None)
        if table is None:
            table = HalfOpen(self.loop.call_later)
            state.half_open = table  # type: ignore[attr-defined]
        return table

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._half_open.enter(self, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._half_open.leave(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._half_open.enter(self, self.transport.abort)

    def on_message_complete(self) -> None:
        self._half_open.leave(self)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._half_open.leave(self)
        super().handle_websocket_upgrade()
