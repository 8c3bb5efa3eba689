"""The bus: typed messages in named streams, and nothing else between two processes.

`publish` and `receive` are plain callbacks: no task, queue or await per message.  `common.bus.redis` is the real
one, `common.bus.memory` its twin for tests; tests/contract/test_bus.py holds both to this page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from common.protocol.messages import Message

START = "0-0"
"""The position before the first entry of any stream."""

Receive: TypeAlias = Callable[[str, Message], None]
"""Called with (entry id, message) on the event loop.  Must return at once.  What it raises ends its subscription."""

Failed: TypeAlias = Callable[[Exception], None]
"""Called once with what `receive` raised, after its subscription was ended.  Nobody else's is touched."""


class Subscription(Protocol):
    """One subscriber of one stream: whoever subscribed holds it, and nobody else can end it."""

    def close(self) -> None:
        """No further call of its `receive`, not even for entries already fetched.  Twice is as good as once.

        Other subscribers of the stream, older or newer, are not touched.
        """


class Bus(Protocol):
    """What a process may do with the bus: append, follow, read once."""

    def publish(self, stream: str, message: Message) -> None:
        """Append the message; it leaves with all others of the next millisecond or two, in order.

        Never blocks.  While the server is away messages wait, up to a bound for each call (outbox.py); what is beyond
        it is dropped, the oldest first, and counted.  They may arrive twice.
        """

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> Subscription:
        """Receive every entry after the position `after`, in order, until the subscription is closed.

        A stream may have several subscribers, each at a position of its own: two sessions of one call live in one
        process while the older one, whose lease is gone, still says goodbye to its vendor.
        """

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        """All entries after a position, now (a replay).  Raises ConnectionError or TimeoutError."""

    @property
    def connected(self) -> bool:
        """Is the server (any, if there are several) there right now?"""

    def away_s(self, call_id: str = "") -> float:
        """For how many seconds the server of this call (any server, without one) has been away; 0 while it is there.

        Away is also who is there and takes nothing: out of memory, read-only, or silent.
        """
