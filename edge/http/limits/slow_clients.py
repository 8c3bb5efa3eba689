"""Bounds connections whose request is pending, and idle ones, in number and in time.

uvicorn waits for a request forever, so a stranger could hold every file descriptor of an edge with silence, or with a
byte now and then.  Here each request has `REQUEST_SECONDS` to arrive, and of more than `HALF_OPEN_MAX` connections with
a pending request the oldest is closed: an honest client has sent its request long before.  An upgrade to a WebSocket is
pending until 101 was written; media streams are not counted here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from common.telemetry import metrics

REQUEST_SECONDS = 10.0
"""Time for a whole request, body included, from the connection or from its first byte."""
HALF_OPEN_MAX = 256
"""Connections with a pending request."""
IDLE_MAX = 1024
"""Idle connections that are kept alive."""


class Timer(Protocol):
    """A timer, as `call_later` returns it."""

    def cancel(self) -> None:
        """Cancel the timer."""


class HalfOpen:
    """Connections with a pending request: `enter` one with the function that closes it, `leave` when its request is
    here.
    """

    def __init__(self, call_later: Callable[..., Timer], most: int = HALF_OPEN_MAX) -> None:
        self._call_later = call_later
        self._most = most
        self._waiting: dict[object, tuple[Timer, Callable[[], None]]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, connection: object) -> bool:
        return connection in self._waiting

    def enter(self, connection: object, close: Callable[[], None], seconds: float = REQUEST_SECONDS) -> None:
        """Add a connection: a request is expected or has begun, or the peer may still read a refusal for `seconds`."""
        self.leave(connection)
        self._waiting[connection] = (self._call_later(seconds, self._close, connection, "late"), close)
        if len(self._waiting) > self._most:
            self._close(next(iter(self._waiting)), "crowded out")

    def leave(self, connection: object) -> None:
        """Remove a connection: its request is complete, or it was closed."""
        timer, _ = self._waiting.pop(connection, (None, None))
        if timer is not None:
            timer.cancel()

    def _close(self, connection: object, why: str) -> None:
        timer, close = self._waiting.pop(connection)
        timer.cancel()
        metrics.HALF_OPEN_CLOSED.labels(why).inc()
        close()


class Idle:
    """Connections that were answered and may send another request; over `most` the longest idle one is closed.

    A proxy keeps a few for a minute and more; a stranger would keep as many as there are file descriptors.
    """

    def __init__(self, most: int = IDLE_MAX, reason: str = "idle") -> None:
        """`reason` is the metric's label for connections that are closed."""
        self._most, self._reason = most, reason
        self._closes: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._closes)

    def enter(self, connection: object, close: Callable[[], None]) -> None:
        """Add a connection that was answered."""
        self.leave(connection)
        self._closes[connection] = close
        if len(self._closes) > self._most:
            metrics.HALF_OPEN_CLOSED.labels(self._reason).inc()
            self._closes.pop(next(iter(self._closes)))()

    def leave(self, connection: object) -> None:
        """Remove a connection: it sends a request, or was closed."""
        self._closes.pop(connection, None)
