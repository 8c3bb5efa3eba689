"""Connections without a request under way: how long each may take to ask, and how many of them there may be.

uvicorn waits for a request for ever, so a stranger could hold every file descriptor of an edge with silence, or a byte
now and then.  Here each request has `REQUEST_SECONDS` to arrive, and of the connections that are still at it the
oldest goes when there are more than `HALF_OPEN_MAX`: an honest client has sent its request long before.
An upgrade to a WebSocket is still at it until 101 was written; media sockets are no matter of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from common.telemetry import metrics

REQUEST_SECONDS = 10.0
"""For a whole request, body included, from the connection or from its first byte."""
HALF_OPEN_MAX = 256
IDLE_MAX = 1024
"""Kept-alive connections without a request."""


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

    def __contains__(self, connection: object) -> bool:
        return connection in self._waiting

    def enter(self, connection: object, close: Callable[[], None], seconds: float = REQUEST_SECONDS) -> None:
        """A request is expected, or has begun; or it was refused, and the peer may read the answer."""
        self.leave(connection)
        self._waiting[connection] = (self._call_later(seconds, self._close, connection, "late"), close)
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


class Idle:
    """Connections that have been answered and may ask again, the longest idle first; no more than `most`.

    A proxy keeps a few for a minute and more; a stranger would keep as many as there are file descriptors.
    """

    def __init__(self, most: int = IDLE_MAX, reason: str = "idle") -> None:
        """`reason` is the metric's label for those that go."""
        self._most, self._reason = most, reason
        self._closes: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._closes)

    def enter(self, connection: object, close: Callable[[], None]) -> None:
        """It was answered."""
        self.leave(connection)
        self._closes[connection] = close
        if len(self._closes) > self._most:
            metrics.HALF_OPEN_CLOSED.labels(self._reason).inc()
            self._closes.pop(next(iter(self._closes)))()

    def leave(self, connection: object) -> None:
        """It asks again, or is gone."""
        self._closes.pop(connection, None)
