"""Decides which streams need a new EXPIRE.  No I/O; the clock is passed in.

An append creates a stream that is missing, and without an expiry such a stream would stay for ever: a frozen edge may
write to a call that has expired, or a worker to an edge that has died.  So a writer sends EXPIRE with the first message
and again every `EXPIRE_AGAIN_SECONDS`, which is far less than the life of a stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from common.protocol.redis_keys import EXPIRE_AGAIN_SECONDS


class Expiries:
    """The expiries that one process sets on one server.  `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._again: dict[str, float] = {}  # stream -> when its expiry is set again
        self._sweep = 0.0

    def due(self, stream: str) -> bool:
        """Whether the stream needs an EXPIRE together with the append that is made now."""
        now = self._clock()
        if self._again.get(stream, 0.0) > now:
            return False
        if now >= self._sweep:  # drop streams that are no longer written to
            self._again = {name: again for name, again in self._again.items() if again > now}
            self._sweep = now + EXPIRE_AGAIN_SECONDS
        self._again[stream] = now + EXPIRE_AGAIN_SECONDS
        return True

    def forget(self) -> None:
        """Set every expiry again, as after the server was replaced."""
        self._again.clear()
