"""Defines the bus: typed messages in named streams, the only connection between two processes.

`publish` and `receive` are plain callbacks: no task, queue or await per message.  `common.bus.redis` is the Redis
implementation and `common.bus.memory` the one for tests; tests/contract/test_bus.py checks both against this page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from common.protocol.messages import Message

START = "0-0"
"""The position before the first entry of any stream."""

Receive: TypeAlias = Callable[[str, Message], None]
"""Called with (entry id, message) on the event loop.  Must return at once; an exception ends its subscription."""

Failed: TypeAlias = Callable[[Exception], None]
"""Called once with the exception that `receive` raised, after its subscription was ended; no other one is affected."""


class Subscription(Protocol):
    """One subscriber of one stream; only its holder can end it."""

    def close(self) -> None:
        """End the subscription: `receive` is not called again, not even for entries already fetched.  Idempotent.

        Other subscribers of the stream are not affected.
        """


def ignore(*_: object) -> None:
    """Stands for both callbacks of a closed subscription: a subscriber that keeps it is freed without the collector."""


class Bus(Protocol):
    """The operations of a process on the bus: append, follow, read once."""

    def publish(self, stream: str, message: Message) -> None:
        """Append the message.  It is sent with all others of the next one or two milliseconds, in order.

        Never blocks.  While the server is away messages wait, up to a bound for each call (outbox.py); beyond it the
        oldest are dropped and counted.  After a reconnect messages may arrive twice.
        """

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> Subscription:
        """Call `receive` with every entry after the position `after`, in order, until the subscription is closed.

        A stream may have several subscribers, each at its own position: two sessions of one call run in one process
        while the older one, whose lease is gone, still closes its vendor connection.
        """

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        """All entries after a position at this moment.  Raises ConnectionError or TimeoutError."""

    @property
    def connected(self) -> bool:
        """Whether the server is connected now; with several servers, whether any of them is."""

    def away_s(self, call_id: str = "") -> float:
        """For how many seconds the server of this call has been away, 0 while it is there; "" asks about any server.

        A server is also away if it accepts no writes: out of memory, read-only or silent.
        """
