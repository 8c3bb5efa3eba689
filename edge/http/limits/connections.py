"""Bounds the number and lifetime of all connections of a server that are not media streams.

    made ──▶ request pending (HalfOpen: 10 s) ──▶ being answered ──▶ idle (Idle) ──▶ request pending …
                  │ an upgrade                      └─ does not read ─▶ aborted (slow_readers)
                  └──▶ handshake (HalfOpen, until 101 is written) ──▶ a media stream, which is not counted here

All together take at most half of the process's file descriptors; the other half is for streams, Redis and files.
uvicorn creates the protocols; `of` finds the object that all connections of one server share.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

from uvicorn.server import ServerState

from common.telemetry import metrics
from edge.http.limits.rare_log import RareLog
from edge.http.limits.slow_clients import HALF_OPEN_MAX, IDLE_MAX, HalfOpen, Idle
from edge.http.limits.slow_readers import SlowReaders

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 2048
"""Connections that are not streams, if there are enough descriptors."""
LOOK_SECONDS = 1.0
LINGER_SECONDS = 2.0
"""How long data of a refused peer is read and dropped: closing at once could destroy the answer in transit."""


def strangers_max(descriptors: int) -> int:
    """The limit of connections that are not streams, for a process with so many file descriptors (-1: unlimited)."""
    return CONNECTIONS_MAX if descriptors < 0 else min(CONNECTIONS_MAX, max(8, descriptors // 2))


class ConnectionLimits:
    """The tables of one server.  Connections are identified by their transport."""

    def __init__(self, loop: asyncio.AbstractEventLoop, state: ServerState, descriptors: int) -> None:
        most = strangers_max(descriptors)
        self.half_open = HalfOpen(loop.call_later, min(HALF_OPEN_MAX, most // 2))
        self.idle = Idle(min(IDLE_MAX, most // 4))
        self.all = Idle(most, "too many")
        """Every connection that is not a stream; over the limit the oldest is closed."""
        self._loop = loop
        self._state = state
        self._slow = SlowReaders()
        self._log = RareLog()
        self._looking: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, state: ServerState, loop: asyncio.AbstractEventLoop) -> ConnectionLimits:
        """The object of this server; made at the first call."""
        found: ConnectionLimits | None = getattr(state, "connection_limits", None)
        if found is None:
            found = cls(loop, state, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            state.connection_limits = found  # type: ignore[attr-defined]
        return found

    def made(self, transport: asyncio.Transport) -> None:
        """A connection was made: a request is expected."""
        self.all.enter(transport, transport.abort)
        self.half_open.enter(transport, transport.abort)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    def lost(self, transport: asyncio.Transport) -> None:
        """The connection was closed."""
        for table in (self.all, self.half_open, self.idle):
            table.leave(transport)

    def upgraded(self, transport: asyncio.Transport) -> None:
        """101 was written: the connection is a stream."""
        self.lost(transport)

    def refused(self, reason: str) -> None:
        """A request or handshake was refused before the application saw it: count it, and log it at intervals."""
        metrics.BAD_INPUT.labels("request").inc()
        metrics.REQUESTS_REFUSED.labels(reason).inc()
        if count := self._log.note(reason, self._loop.time()):
            log.warning("requests were refused", extra={"reason": reason, "count": count})

    def too_fast(self, reason: str) -> None:
        """A stream was closed because its peer sent more than a telephone can: count it, and log it at intervals."""
        metrics.STREAMS_TOO_FAST.labels(reason).inc()
        if count := self._log.note(f"stream {reason}", self._loop.time()):
            log.warning("streams were closed: their peer sent too much", extra={"reason": reason, "count": count})

    def _look(self) -> None:
        connections: list[Any] = list(self._state.connections)
        waits = [(one.transport, one.transport.is_closing() or one.waits_for_peer) for one in connections]
        for transport in self._slow.look(waits, self._loop.time()):
            metrics.HALF_OPEN_CLOSED.labels("unread").inc()
            transport.abort()
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look) if connections else None
