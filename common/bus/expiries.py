"""Which streams are to be told again when they expire.  Pure, but for the clock that it is given.

An append makes a stream that is not there (any more), and such a stream would stay for ever: an edge that was frozen
until its call was forgotten, a message to an edge that has died.  So whoever appends also says EXPIRE, with the first
message and every `EXPIRE_AGAIN_SECONDS`, which is far less often than a stream may take to expire.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from common.protocol.redis_keys import EXPIRE_AGAIN_SECONDS


class Expiries:
    """Of one server.  `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._again: dict[str, float] = {}  # stream -> when it is to be told again
        self._sweep = 0.0

    def due(self, stream: str) -> bool:
        """Is the stream, to which something is appended now, to be told when it expires?"""
        now = self._clock()
        if self._again.get(stream, 0.0) > now:
            return False
        if now >= self._sweep:  # those to which nobody writes any more
            self._again = {name: again for name, again in self._again.items() if again > now}
            self._sweep = now + EXPIRE_AGAIN_SECONDS
        self._again[stream] = now + EXPIRE_AGAIN_SECONDS
        return True

    def forget(self) -> None:
        """All are to be told again."""
        self._again.clear()
