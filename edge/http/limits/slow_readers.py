"""Finds connections whose peer does not read what was written.  Pure.

A transport that is closed waits until its last byte is taken, which may be never; the answer stays in memory meanwhile.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

UNREAD_SECONDS = 10.0
"""Maximum wait of an answer, or of a closing connection, for its peer."""

Connection = TypeVar("Connection", bound=Hashable)


class SlowReaders:
    """Tracks waiting connections; call `look` about once a second."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def look(self, connections: Iterable[tuple[Connection, bool]], now_s: float) -> list[Connection]:
        """Take (connection, whether it waits for its peer) pairs; returns the connections that have waited too long."""
        waiting = [connection for connection, waits in connections if waits]
        self._since = {connection: self._since.get(connection, now_s) for connection in waiting}
        return [connection for connection in waiting if now_s - self._since[connection] >= UNREAD_SECONDS]
