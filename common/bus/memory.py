"""A bus without a server, for tests: it encodes and decodes like the Redis one and delivers in order on the event loop.

`MemoryStreams` takes the part of the server; each simulated process has its own `MemoryBus` on it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.bus import START, Failed, Receive, ignore
from common.protocol import redis_keys
from common.protocol.codec import BadMessage, decode, encode
from common.protocol.messages import Message


class MemoryStreams:
    """All streams of one simulated Redis."""

    def __init__(self) -> None:
        self._entries: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._count = 0
        self.watchers: list[MemoryBus] = []

    def append(self, stream: str, message: Message) -> None:
        """Add an entry; the stream is trimmed to its exact bound, where Redis trims approximately."""
        self.append_raw(stream, encode(message))

    def append_raw(self, stream: str, raw: bytes) -> None:
        """Add an entry of any bytes, as another program might write it."""
        self._count += 1
        entries = self._entries[stream]
        entries.append((self._count, raw))
        bound = redis_keys.maxlen(stream)
        if bound and len(entries) > bound:
            del entries[: len(entries) - bound]
        for bus in self.watchers:
            bus.wake(stream)

    def replace(self, stream: str, kept: Sequence[tuple[str, Message]]) -> None:
        """Replace the stream by these entries, which keep their ids."""
        self._entries[stream] = [(_number(entry_id), encode(message)) for entry_id, message in kept]

    def length(self, stream: str) -> int:
        """The number of entries, unreadable ones included."""
        return len(self._entries[stream])

    def after(self, stream: str, position: int) -> list[tuple[int, Message]]:
        """(entry number, message) of every readable entry after `position`."""
        found = []
        for number, raw in self._entries[stream]:
            if number > position:
                try:
                    found.append((number, decode(raw)))
                except BadMessage:
                    continue
        return found


@dataclass(slots=True, eq=False)
class _Subscription:
    bus: MemoryBus
    stream: str
    receive: Receive
    failed: Failed
    position: int
    woken: bool = field(default=False)
    closed: bool = field(default=False)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.receive = self.failed = ignore
            self.bus.forget(self)


class MemoryBus:
    """See `common.bus.Bus`."""

    def __init__(self, streams_: MemoryStreams) -> None:
        self._streams = streams_
        self._dead = False
        self._subscriptions: dict[str, list[_Subscription]] = defaultdict(list)
        streams_.watchers.append(self)

    @property
    def connected(self) -> bool:
        return True

    def away_s(self, call_id: str = "") -> float:
        return 0.0

    def publish(self, stream: str, message: Message) -> None:
        if not self._dead:
            self._streams.append(stream, message)

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> _Subscription:
        subscription = _Subscription(self, stream, receive, failed, _number(after))
        self._subscriptions[stream].append(subscription)
        self.wake(stream)
        return subscription

    def forget(self, subscription: _Subscription) -> None:
        """Remove a subscription that was closed."""
        subscribers = self._subscriptions[subscription.stream]
        if subscription in subscribers:
            subscribers.remove(subscription)

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        await asyncio.sleep(0)
        return [(f"{number}-0", message) for number, message in self._streams.after(stream, _number(after))]

    def kill(self) -> None:
        """Simulate the death of this bus's process: it sends and receives nothing from now on."""
        self._dead = True
        for subscription in [one for subscribers in self._subscriptions.values() for one in subscribers]:
            subscription.close()
        if self in self._streams.watchers:
            self._streams.watchers.remove(self)

    def wake(self, stream: str) -> None:
        """Deliver new entries of the stream in the next round of the loop."""
        for subscription in self._subscriptions.get(stream, ()):
            if not subscription.woken:
                subscription.woken = True
                asyncio.get_running_loop().call_soon(self._deliver, subscription)

    def _deliver(self, subscription: _Subscription) -> None:
        subscription.woken = False
        for number, message in self._streams.after(subscription.stream, subscription.position):
            if subscription.closed:
                return
            subscription.position = number
            try:
                subscription.receive(f"{number}-0", message)
            except Exception as error:  # noqa: BLE001 - as on the Redis bus, it ends this subscription only
                failed = subscription.failed
                subscription.close()
                failed(error)


def _number(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
