"""Makes one bus of several Redis servers: every key of a call is on one of them, so a dead one affects its calls only.

A call's server is `number of its hash tag % number of URLs`; every process must have the same URLs in the same order.
The streams of edges and pools exist on every server and are read on all of them; a message is written to the server of
the call that it is about.  The servers do not know of each other, and no key moves between them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from common.bus import START, Bus, Failed, Receive, Subscription
from common.bus.redis import BusOptions, RedisBus
from common.protocol import redis_keys
from common.protocol.messages import Message
from common.redis.url import parse_redis_url


@contextlib.asynccontextmanager
async def connect_bus(options: BusOptions) -> AsyncIterator[Bus]:
    """The bus of REDIS_URL, with one server or several.  Raises BadRedisUrl."""
    async with contextlib.AsyncExitStack() as stack:
        buses: list[Bus] = [
            await stack.enter_async_context(RedisBus.connect(options, target))
            for target in parse_redis_url(options.url)
        ]
        yield buses[0] if len(buses) == 1 else ShardedBus(buses)


@dataclass(frozen=True, slots=True)
class _Subscriptions:
    """A subscriber of a stream that is on several servers."""

    parts: list[Subscription]

    def close(self) -> None:
        for part in self.parts:
            part.close()


class ShardedBus:
    """See `common.bus.Bus`."""

    def __init__(self, shards: list[Bus]) -> None:
        self._shards = shards

    @property
    def connected(self) -> bool:
        return any(shard.connected for shard in self._shards)

    def away_s(self, call_id: str = "") -> float:
        if call_id:
            return self._of(call_id).away_s()
        return min(shard.away_s() for shard in self._shards)

    def publish(self, stream: str, message: Message) -> None:
        call_id = redis_keys.call_of(stream) or getattr(message, "call_id", "")
        assert call_id, f"{type(message).__name__} is about no call, so it has no server"
        self._of(call_id).publish(stream, message)

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> Subscription:
        """Positions belong to one server, so only a call's stream can be followed from a position."""
        shards = self._having(stream)
        if len(shards) == 1:
            return shards[0].subscribe(stream, receive, failed, after)
        assert after == START, "a stream on several servers has no single position"

        everywhere = _Subscriptions([])

        def failed_on_one(error: Exception) -> None:
            everywhere.close()
            failed(error)

        everywhere.parts.extend(shard.subscribe(stream, receive, failed_on_one, after) for shard in shards)
        return everywhere

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        entries: list[tuple[str, Message]] = []
        for shard in self._having(stream):
            entries += await shard.read(stream, after)
        return entries

    def _of(self, call_id: str) -> Bus:
        return self._shards[redis_keys.shard_index(call_id, len(self._shards))]

    def _having(self, stream: str) -> list[Bus]:
        call_id = redis_keys.call_of(stream)
        return [self._of(call_id)] if call_id else self._shards
