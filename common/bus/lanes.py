"""A lane of the bus: a connection that writes and one that reads, kept for ever.

Both find the primary anew at every connect (primary.py).  A lane is given up, and made again, when

  - the connection breaks;
  - the server answers nothing for `SILENT_SECONDS` (it hangs, or the network swallows what we send);
  - the server answers that it cannot serve us now (refusals.py): out of memory, read-only, loading.

What was written and not acknowledged is written again, so it may arrive twice.  It is lost only when more waits than
an outbox holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from common.bus import START, Failed, Receive
from common.bus.writer import PING, PULSE_SECONDS, SILENT_SECONDS, WRITE, Writer, count_away, monotonic_s
from common.process.skipped import skip
from common.protocol.codec import BadMessage, UnknownTag, decode
from common.redis.connection import RedisConnection
from common.redis.primary import open_primary
from common.redis.refusals import away_kind, refused_kind
from common.redis.url import RedisTarget
from common.telemetry import metrics

log = logging.getLogger(__name__)

BLOCK_MS = 2000
"""How long a read may block at the server: below every socket timeout, or a dead peer would go unnoticed."""
READ_COUNT = 256
"""Entries of one stream in one read: bounds what a single reply may hold."""
RETRY_SECONDS = (0.05, 1.0)
"""First and longest pause before the next attempt to connect."""
ASIDE_SECONDS = 1.0
"""A stream that Redis refuses to read is set aside for so long: the others are read without it."""


@dataclass(slots=True, eq=False)
class LaneSubscription:
    """Who reads a stream, and the last entry that they have (see `common.bus.Subscription`)."""

    reader: Reader
    stream: bytes
    receive: Receive
    failed: Failed
    position: bytes
    closed: bool = False

    def close(self) -> None:
        """See `common.bus.Subscription`."""
        self.closed = True
        self.reader.remove(self)


class Reader:
    """One XREAD over all subscribed streams; each message to its own subscribers.

    A stream with several subscribers is read from the position of the one that is furthest behind.
    """

    def __init__(self, pause_ms: float) -> None:
        self._pause_s = pause_ms / 1000
        self._subscribers: dict[bytes, list[LaneSubscription]] = {}
        self._any = asyncio.Event()
        self._aside: dict[bytes, float] = {}
        """Stream -> until when it is not asked for, because Redis refused it."""

    def add(self, subscription: LaneSubscription) -> None:
        """Read this stream, too."""
        self._subscribers.setdefault(subscription.stream, []).append(subscription)
        self._any.set()

    def remove(self, subscription: LaneSubscription) -> None:
        """This one reads no more; others of its stream do."""
        left = [one for one in self._subscribers.pop(subscription.stream, ()) if one is not subscription]
        if left:
            self._subscribers[subscription.stream] = left
        if not self._subscribers:
            self._any.clear()

    async def run(self, connection: RedisConnection) -> None:
        """Read until the connection is lost (raises ConnectionError, TimeoutError or hiredis.ReplyError)."""
        await self._rewind(connection)
        while True:
            await self._any.wait()
            asked = self._readable()
            if not asked:
                await asyncio.sleep(ASIDE_SECONDS / 2)
                continue
            positions = {stream: _furthest_behind(subscribers) for stream, subscribers in asked.items()}
            try:
                reply = await _xread(connection, positions, "COUNT", READ_COUNT, "BLOCK", BLOCK_MS)
            except hiredis.ReplyError as error:
                if away_kind(str(error)) or not await self._set_aside(connection, positions):
                    raise
                continue
            for stream, entries in reply or ():
                subscribers = asked[stream]  # who came since has a position of their own, and is served next
                for subscription in subscribers:
                    self._deliver(subscription, entries, alone=len(subscribers) == 1)
            if self._pause_s:
                await asyncio.sleep(self._pause_s)

    async def _rewind(self, connection: RedisConnection) -> None:
        """Is the entry that was read last still there?  If not, the server has lost entries: read from the start.

        Without this a position beyond the stream's end would wait in silence, and entries that were written after
        the loss with smaller ids would never be read.  A stream that begins behind the position was only trimmed.
        """
        everybody = [one for subscribers in self._subscribers.values() for one in subscribers]
        read = [one for one in everybody if one.position != START.encode()]
        newest = await asyncio.gather(
            *(_answer(connection.call("XREVRANGE", one.stream, one.position, "-", "COUNT", 1)) for one in read)
        )
        rewound = 0
        for subscription, found in zip(read, newest, strict=True):
            if found is REFUSED:
                continue  # refused: it is set aside when it is read
            if not found or found[0][0] != subscription.position:
                rewound += bool(found)
                subscription.position = START.encode()
        if rewound:
            log.warning("Redis has lost entries; %s streams are read again from their start", rewound)

    def _readable(self) -> dict[bytes, tuple[LaneSubscription, ...]]:
        """All that are not set aside, those whose time is over included."""
        now = monotonic_s()
        self._aside = {stream: until for stream, until in self._aside.items() if until > now}
        return {stream: tuple(some) for stream, some in self._subscribers.items() if stream not in self._aside}

    async def _set_aside(self, connection: RedisConnection, positions: Mapping[bytes, bytes]) -> bool:
        """One XREAD reads them all and is refused if one of them is: find out which.  False if it is none."""
        each = [_answer(_xread(connection, {stream: after}, "COUNT", 1)) for stream, after in positions.items()]
        answers = await asyncio.gather(*each)
        refused = [stream for stream, answer in zip(positions, answers, strict=True) if answer is REFUSED]
        for stream in refused:
            self._aside[stream] = monotonic_s() + ASIDE_SECONDS
        return bool(refused)

    def _deliver(
        self, subscription: LaneSubscription, entries: list[tuple[bytes, list[bytes]]], *, alone: bool
    ) -> None:
        for entry_id, pairs in entries:
            if subscription.closed:
                return
            if not alone and order(entry_id) <= order(subscription.position):
                continue  # another subscriber is further behind
            subscription.position = entry_id
            try:
                message = decode(field_d(pairs))
            except BadMessage as error:
                count_unreadable(error)
                continue
            try:
                subscription.receive(entry_id.decode(), message)
            except Exception as error:  # noqa: BLE001 - one call's error must never reach the reader that all share
                subscription.close()
                try:
                    subscription.failed(error)
                except Exception as worse:  # noqa: BLE001 - nor may what it does about that
                    skip("bus", worse)


def _furthest_behind(subscribers: tuple[LaneSubscription, ...]) -> bytes:
    if len(subscribers) == 1:
        return subscribers[0].position
    return min((one.position for one in subscribers), key=order)


def order(entry_id: bytes) -> tuple[int, int]:
    """By which entries of a stream follow each other."""
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number or 0)


class Lane:
    """See the module."""

    def __init__(
        self,
        target: RedisTarget,
        name: str,
        pace_ms: tuple[float, float],
        suspect: Callable[[], None],
        connected: Callable[[RedisConnection], None],
    ) -> None:
        """`pace_ms`: how long appends are gathered, and the pause between two reads.

        `connected(wire)`: a new connection was made.
        """
        self._connected = connected
        self._target = target
        self._name = name
        self._writing: RedisConnection | None = None
        self._reading: RedisConnection | None = None
        self.writer = Writer(pace_ms[0], suspect, WRITE if target.set else PING)
        self.reader = Reader(pace_ms[1])

    def wake(self) -> None:
        """End the read that blocks now: the set of streams has changed."""
        if self._reading is not None and not self._reading.lost.is_set():
            self.writer.tell("CLIENT", "UNBLOCK", self._reading.client_id)

    def give_up(self) -> None:
        """Both connections are made again."""
        for connection in (self._writing, self._reading):
            if connection is not None:
                connection.abort()

    def leave_all_but(self, peer: tuple[str, int] | str) -> None:
        """Connections that lead to another server are made again."""
        for connection in (self._writing, self._reading):
            if connection is not None and not connection.lost.is_set() and connection.peer != peer:
                connection.abort()

    async def write_forever(self) -> None:
        """Keep the writing connection."""
        async with contextlib.aclosing(_connections(self._target, self._name)) as connections:
            async for connection in connections:
                self._writing = connection
                self._connected(connection)
                self.writer.attach(connection)
                while not connection.lost.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PULSE_SECONDS):
                            await connection.lost.wait()
                    self.writer.pulse()

    async def read_forever(self) -> None:
        """Keep the reading connection."""
        async with contextlib.aclosing(_connections(self._target, self._name)) as connections:
            async for connection in connections:
                self._reading = connection
                self._connected(connection)
                try:
                    await self.reader.run(connection)
                except hiredis.ReplyError as error:
                    kind = away_kind(str(error))
                    if not kind:
                        log.error("Redis refused a read: %s", refused_kind(str(error)))
                    count_away(kind or "unreachable")
                except TimeoutError:
                    count_away("silent")
                except OSError:
                    continue  # the connection broke; what follows is counted where it is made again


REFUSED = object()
"""In place of an answer: Redis refuses the command, now and later."""


async def _answer(command: Coroutine[Any, Any, Any]) -> Any:
    """The command's reply, or `REFUSED`.  Raises what says "not now"."""
    try:
        return await command
    except hiredis.ReplyError as error:
        if away_kind(str(error)):
            raise
        metrics.REDIS_REFUSED.labels(refused_kind(str(error))).inc()
        return REFUSED


def _xread(
    connection: RedisConnection, positions: Mapping[bytes, bytes], *options: str | int
) -> Coroutine[Any, Any, Any]:
    seconds = BLOCK_MS / 1000 + SILENT_SECONDS
    return connection.call("XREAD", *options, "STREAMS", *positions, *positions.values(), seconds=seconds)


def field_d(pairs: Sequence[bytes]) -> bytes:
    """What stands in the one field that we write; empty, which is no message, if somebody else wrote the entry."""
    return pairs[1] if len(pairs) >= 2 and pairs[0] == b"d" else b""


async def _connections(target: RedisTarget, name: str) -> AsyncGenerator[RedisConnection, None]:
    """Connected wires, one after another: the next is made when the consumer comes back for it."""
    loop = asyncio.get_running_loop()
    first, longest = RETRY_SECONDS
    pause = first
    made = 0
    while True:
        try:
            connection = await open_primary(target, name)
        except (OSError, TimeoutError, hiredis.ReplyError) as error:
            if pause == first:
                said = str(error).partition(".")[0][:80] if isinstance(error, hiredis.ReplyError) else ""
                log.warning("cannot reach Redis (%s); trying again", said or type(error).__name__)
            count_away((away_kind(str(error)) if isinstance(error, hiredis.ReplyError) else "") or "unreachable")
        else:
            metrics.BUS_RECONNECTS.inc(1 if made else 0)
            made += 1
            began = loop.time()
            try:
                yield connection
            finally:
                connection.close()
            if loop.time() - began > longest:  # it was of use: a server that refuses at once is not asked in a rush
                pause = first
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all processes come at once
        pause = min(2 * pause, longest)


def count_unreadable(error: BadMessage) -> None:
    """An entry that cannot be decoded was skipped."""
    if isinstance(error, UnknownTag):
        metrics.UNKNOWN_TAGS.inc()
    else:
        metrics.BAD_INPUT.labels("bus").inc()
