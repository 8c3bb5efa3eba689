"""Connections whose peer does not take what we have written.  Pure.

A transport that is closed waits until its last byte is taken, which may be never; so do an answer and its memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

UNREAD_SECONDS = 10.0
"""So long may an answer, or the end of a connection, wait for its peer."""

Connection = TypeVar("Connection", bound=Hashable)


class SlowReaders:
    """`look` about once a second at all connections."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def look(self, connections: Iterable[tuple[Connection, bool]], now_s: float) -> list[Connection]:
        """Takes (connection, whether it waits for its peer); returns those that have waited for too long."""
        waiting = [connection for connection, waits in connections if waits]
        self._since = {connection: self._since.get(connection, now_s) for connection in waiting}
        return [connection for connection in waiting if now_s - self._since[connection] >= UNREAD_SECONDS]
