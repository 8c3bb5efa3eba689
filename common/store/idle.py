"""Extends redis-py's connection pool to close idle connections; it would stay as large as at the busiest moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

IDLE_SECONDS = 20.0
"""A connection that was idle for so long is closed, one whenever another is released."""


class IdleClosingPool(ConnectionPool):
    """A pool that uses the connection released last, so the one at its head was idle for the longest time."""

    def __init__(self, now: Callable[[], float] | None = None, **options: Any) -> None:
        """`now` returns seconds; it is the running loop's clock unless a test passes its own."""
        super().__init__(**options)
        self._now = now
        self._released_s: dict[AbstractConnection, float] = {}

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back, and close the one that was idle for longest, if that was long enough."""
        await super().release(connection)
        now = self._now() if self._now else asyncio.get_running_loop().time()
        self._released_s[connection] = now
        oldest = self._available_connections[0] if self._available_connections else connection
        if oldest is connection or now - self._released_s.get(oldest, now) < IDLE_SECONDS:
            return
        self._available_connections.remove(oldest)
        self._released_s.pop(oldest, None)
        await oldest.disconnect()
