"""Implements the bus on Redis Streams: batched writes, one XREAD over many streams, a separate lane for control.

The media lane (lanes.py) carries everything but the priority streams.  Its audio is gathered for `flush_ms`, and its
reader pauses `pause_ms` between two reads, so that one read fetches the frames of all calls; both are longer in a busy
process (pace.py).  What is no audio, and the first audio of a reply, is written at once.  The priority lane neither
gathers nor pauses: a control message never waits behind audio.

Every entry has one field, `d`, with an encoded message (common/protocol/messages.py).  A lost connection is made again
for ever, and what was not acknowledged is written again: messages tolerate duplicates, but not losses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache

import hiredis

from common.bus import START, Failed, Receive
from common.bus.expiries import Expiries
from common.bus.lanes import Lane
from common.bus.outbox import OutboxEntry
from common.bus.reader import READ_COUNT, LaneSubscription, count_unreadable, field_d
from common.bus.writer import Gathering
from common.protocol import redis_keys
from common.protocol.codec import BadMessage, decode, encode
from common.protocol.messages import AudioIn, AudioOut, Message
from common.redis.connection import RedisConnection, pack
from common.redis.primary import open_primary
from common.redis.refusals import KeyRefused, away_kind, refused_kind
from common.redis.url import RedisTarget, parse_redis_url
from common.telemetry import metrics

FIELD = b"d"
_NO_VALUE = b"$0\r\n\r\n"
HEADS_KEPT = 4096
"""Streams whose append command is kept, but for the message: twice those of 1,000 calls."""


@dataclass(frozen=True, slots=True)
class BusOptions:
    """How a process connects to Redis: `flush_ms` gathers writes, `pause_ms` separates two reads."""

    url: str
    name: str
    """The node's id, which appears in the server's CLIENT LIST."""
    flush_ms: float = 1.0
    pause_ms: float = 1.0


class RedisBus:
    """See `common.bus.Bus`.  Use as `async with RedisBus.connect(options) as bus`."""

    def __init__(self, options: BusOptions, target: RedisTarget) -> None:
        self._target = target
        self._name = options.name
        self._replay: RedisConnection | None = None
        self._replaying = asyncio.Lock()
        self._expiries = Expiries()
        pace = (options.flush_ms, options.pause_ms)
        self._media = Lane(target, f"{options.name}:media", pace, self._suspect, self._agree)
        self._priority = Lane(target, f"{options.name}:priority", (0, 0), self._suspect, self._agree)

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, options: BusOptions, target: RedisTarget | None = None) -> AsyncIterator[RedisBus]:
        """Keep the connections while the block runs; at its end unsent entries are flushed if possible.

        `target` is one shard of the URL (shards.py); without it the URL must name one server.  Raises BadRedisUrl.
        """
        if target is None:
            (target,) = parse_redis_url(options.url)
        bus = cls(options, target)
        lanes = (bus._media, bus._priority)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(forever(), name=f"bus {options.name}")
                for lane in lanes
                for forever in (lane.write_forever, lane.read_forever)
            ]
            try:
                yield bus
            finally:
                for lane in lanes:
                    lane.writer.flush()
                for task in running:
                    task.cancel()
                if bus._replay is not None:
                    bus._replay.close()

    @property
    def connected(self) -> bool:
        return not self.away_s()

    def away_s(self, call_id: str = "") -> float:
        return max(self._media.writer.away_s, self._priority.writer.away_s)

    def publish(self, stream: str, message: Message) -> None:
        packed = append_command(stream, encode(message))
        owner = getattr(message, "call_id", "") or stream
        writer = self._lane(stream).writer
        writer.add(OutboxEntry(packed, owner, type(message) is AudioIn), gather_of(message))
        if self._expiries.due(stream) and (arguments := redis_keys.expiry(stream)):
            writer.add(OutboxEntry(pack("EXPIRE", stream, *arguments), owner))

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> LaneSubscription:
        lane = self._lane(stream)
        subscription = LaneSubscription(lane.reader, stream.encode(), receive, failed, after.encode())
        lane.reader.add(subscription)
        lane.wake()
        return subscription

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        async with self._replaying:
            try:
                if self._replay is None or self._replay.lost.is_set():
                    self._replay = await open_primary(self._target, f"{self._name}:replay")
                return await _read_all(self._replay, stream, after)
            except hiredis.ReplyError as error:
                if not away_kind(str(error)):
                    metrics.REDIS_REFUSED.labels(refused_kind(str(error))).inc()
                    raise KeyRefused(refused_kind(str(error))) from error
                if self._replay is not None:
                    self._replay.close()  # the next read looks for the primary again
                raise ConnectionError(str(error).partition(" ")[0]) from error
            except (ConnectionError, TimeoutError):
                raise
            except OSError as error:  # no such host, no such socket
                raise ConnectionError(type(error).__name__) from error

    def _lane(self, stream: str) -> Lane:
        return self._priority if redis_keys.is_priority(stream) else self._media

    def _agree(self, newest: RedisConnection) -> None:
        """Make all connections lead to the server of the newest one; the others look for the primary again.

        A reader at a server that was replaced while frozen would wait there in silence until the server learns of it,
        ten seconds later, because none of its commands is refused.
        """
        self._expiries.forget()  # the new server may not know the expiries
        for lane in (self._media, self._priority):
            lane.leave_all_but(newest.peer)

    def _suspect(self) -> None:
        """Drop every connection: the server is silent on one of them, or is no primary any more."""
        for lane in (self._media, self._priority):
            lane.give_up()
        if self._replay is not None:
            self._replay.abort()


def gather_of(message: Message) -> Gathering:
    """How long the message may wait for others: only audio does, but not the first of a reply."""
    match message:
        case AudioIn():
            return Gathering.BY_LOAD
        case AudioOut(clause=clause, seq=seq) if clause or seq:
            return Gathering.BY_LEAD
    return Gathering.NOT


def append_command(stream: str, encoded: bytes) -> bytes:
    """The command that appends an encoded message to the stream."""
    return b"%b$%d\r\n%b\r\n" % (_append_head(stream), len(encoded), encoded)


@lru_cache(HEADS_KEPT)
def _append_head(stream: str) -> bytes:
    """The command up to the message, which is its last part."""
    bound = redis_keys.maxlen(stream)
    trim: tuple[str | int, ...] = ("MAXLEN", "~", bound) if bound else ()
    return pack("XADD", stream, *trim, "*", FIELD, b"").removesuffix(_NO_VALUE)


async def _read_all(connection: RedisConnection, stream: str, after: str) -> list[tuple[str, Message]]:
    entries: list[tuple[str, Message]] = []
    while True:
        page = await connection.call("XRANGE", stream, f"({after}", "+", "COUNT", READ_COUNT)
        for entry_id, pairs in page:
            after = entry_id.decode()
            try:
                entries.append((after, decode(field_d(pairs))))
            except BadMessage as error:
                count_unreadable(error)
        if len(page) < READ_COUNT:
            return entries
