"""redis-py's pool, which gives back what it does not need: it grows with the busiest moment and would stay so large."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

IDLE_SECONDS = 20.0
"""A connection that no command needed for so long is closed, one at each release of another."""


class IdleClosingPool(ConnectionPool):
    """A pool that is used from its end, so that the connection at its head is the one that was idle for the longest."""

    def __init__(self, now: Callable[[], float] | None = None, **options: Any) -> None:
        """`now` in seconds; the running loop's clock unless a test has its own."""
        super().__init__(**options)
        self._now = now
        self._released_s: dict[AbstractConnection, float] = {}

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back, and close the one that nobody has needed for long, if there is one."""
        await super().release(connection)
        now = self._now() if self._now else asyncio.get_running_loop().time()
        self._released_s[connection] = now
        oldest = self._available_connections[0] if self._available_connections else connection
        if oldest is connection or now - self._released_s.get(oldest, now) < IDLE_SECONDS:
            return
        self._available_connections.remove(oldest)
        self._released_s.pop(oldest, None)
        await oldest.disconnect()
