"""Reads all subscribed streams of a lane (lanes.py) by one XREAD, and delivers each message to its subscribers.

    _ask() ──XREAD──▶ Redis ──reply──▶ _take() ──▶ LaneSubscription.receive()
      ▲                                   │
      └────── after the pause ────────────┘

The reply is taken in the connection's callback, and a timer asks again: no task, future or timeout for each read.  The
names of the streams are encoded once for each set of streams, and a position when it changes, because with a hundred
calls the request has two hundred parts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from common.bus import START, Failed, Receive, ignore
from common.bus.pace import LoadPace
from common.bus.writer import SILENT_SECONDS, monotonic_s
from common.process.skipped import skip
from common.protocol.codec import BadMessage, UnknownTag, decode
from common.redis.connection import RedisConnection
from common.redis.refusals import away_kind, refused_kind
from common.telemetry import metrics

log = logging.getLogger(__name__)

BLOCK_MS = 2000
"""How long a read may block at the server, in ms; less than every socket timeout, so that a dead peer is noticed."""
READ_COUNT = 256
"""Most entries of one stream in one read; bounds the size of a reply."""
ASIDE_SECONDS = 1.0
"""How long the reader leaves out a stream that Redis refuses to read, so that the others are still read."""
ANSWER_SECONDS = BLOCK_MS / 1000 + SILENT_SECONDS
"""A read without an answer for this long has a server that is silent."""
BUSY_PAUSE = 6
"""The pause is this many times longer in a process that is busy (pace.py)."""
START_POSITION = START.encode()


@dataclass(slots=True, eq=False)
class LaneSubscription:
    """One subscriber of a stream and the last entry delivered to it (see `common.bus.Subscription`)."""

    reader: Reader
    stream: bytes
    receive: Receive
    failed: Failed
    position: bytes
    closed: bool = False

    def close(self) -> None:
        """See `common.bus.Subscription`.  Drops the callbacks: whoever keeps this object would not be freed by them."""
        self.closed = True
        self.receive = self.failed = ignore
        self.reader.remove(self)


class Reader:
    """The reader of one lane.

    A stream with several subscribers is read from the position of the one that is furthest behind.
    """

    def __init__(self, pause_ms: float) -> None:
        self._pace = LoadPace(pause_ms, BUSY_PAUSE * pause_ms)
        self._subscribers: dict[bytes, list[LaneSubscription]] = {}
        self._aside: dict[bytes, float] = {}
        """Stream -> until when it is left out, because Redis refused it."""
        self._asked: dict[bytes, tuple[LaneSubscription, ...]] = {}
        """The streams of the newest request, and their subscribers then."""
        self._names: bytes | None = None
        """The request up to the positions; None: the set of streams has changed."""
        self._connection: RedisConnection | None = None
        self._over: asyncio.Future[Any] | None = None
        """Raises what ends the reading of `_connection`."""
        self._timer: asyncio.TimerHandle | None = None
        self._asked_at: float | None = None
        """Loop time of the request that is unanswered; None: there is none."""
        self._delivering = False

    def add(self, subscription: LaneSubscription) -> None:
        """Read this subscription's stream as well."""
        self._subscribers.setdefault(subscription.stream, []).append(subscription)
        self._names = None
        if self._asked_at is None and self._timer is None and not self._delivering:
            self._ask()

    def remove(self, subscription: LaneSubscription) -> None:
        """Stop delivering to this subscription; others of its stream continue."""
        left = [one for one in self._subscribers.pop(subscription.stream, ()) if one is not subscription]
        if left:
            self._subscribers[subscription.stream] = left
        self._names = None

    @property
    def blocks(self) -> bool:
        """Whether a request waits at the server, which does not know of streams that were added since."""
        return self._asked_at is not None

    async def run(self, connection: RedisConnection) -> None:
        """Read until the connection is lost.  Raises ConnectionError, TimeoutError or hiredis.ReplyError."""
        await self._rewind(connection)
        while True:
            try:
                await self._read(connection)
            except hiredis.ReplyError as error:
                if away_kind(str(error)) or not await self._set_aside(connection):
                    raise

    async def _read(self, connection: RedisConnection) -> None:
        """Read by callbacks until an error; raises it."""
        self._connection, self._over = connection, connection.promise()
        watch = asyncio.create_task(self._watch(self._over), name="bus reader watch")
        try:
            self._ask()
            await self._over
        finally:
            watch.cancel()
            connection.forget(self._over)
            if self._timer is not None:
                self._timer.cancel()
            self._connection = self._over = self._timer = self._asked_at = None

    async def _watch(self, over: asyncio.Future[Any]) -> None:
        """Raise TimeoutError through `over` once a request is unanswered for too long."""
        now = asyncio.get_running_loop().time
        while True:
            left_s = ANSWER_SECONDS - (now() - self._asked_at if self._asked_at is not None else 0.0)
            if left_s <= 0 and not over.done():
                assert self._connection is not None
                over.set_exception(TimeoutError("Redis does not answer"))
                self._connection.abort()  # a late reply would be taken for that of the next request
                return
            await asyncio.sleep(left_s)

    def _ask(self) -> None:
        """Request the entries after the positions; without a stream, `add` asks later."""
        self._timer = None
        if self._connection is None or not self._subscribers:
            return
        if self._names is None or self._aside:
            self._choose()
        loop = asyncio.get_running_loop()
        if not self._asked:
            self._timer = loop.call_later(ASIDE_SECONDS / 2, self._ask)
            return
        assert self._names is not None
        positions = [_packed(_furthest_behind(subscribers)) for subscribers in self._asked.values()]
        try:
            self._connection.send(b"".join([self._names, *positions]), self._take, 1)
        except ConnectionError:
            return  # `_over` raises it
        self._asked_at = loop.time()

    def _choose(self) -> None:
        """Take the streams to read: all but those left out, whose time is not over."""
        now = monotonic_s()
        self._aside = {stream: until for stream, until in self._aside.items() if until > now}
        self._asked = {stream: tuple(some) for stream, some in self._subscribers.items() if stream not in self._aside}
        options = [b"XREAD", b"COUNT", b"%d" % READ_COUNT, b"BLOCK", b"%d" % BLOCK_MS, b"STREAMS"]
        parts = [*options, *self._asked]
        self._names = b"*%d\r\n" % (len(parts) + len(self._asked)) + b"".join(map(_packed, parts))

    def _take(self, reply: Any) -> None:
        """Deliver the entries of a reply, and ask again after the pause."""
        self._asked_at = None
        if isinstance(reply, hiredis.ReplyError):
            if self._over is not None and not self._over.done():
                self._over.set_exception(reply)
            return
        loop, count = asyncio.get_running_loop(), 0
        self._delivering = True  # a receiver may subscribe to another stream
        for stream, entries in reply or ():
            subscribers = self._asked[stream]  # a subscriber added meanwhile has its own position and is read next
            count += len(entries)
            for subscription in subscribers:
                self._deliver(subscription, entries, alone=len(subscribers) == 1)
        self._delivering = False
        self._pace.passed(count, loop.time())
        if self._pace.delay_s:
            self._timer = loop.call_later(self._pace.delay_s, self._ask)
        else:
            self._ask()

    def _deliver(
        self, subscription: LaneSubscription, entries: list[tuple[bytes, list[bytes]]], *, alone: bool
    ) -> None:
        for entry_id, pairs in entries:
            if subscription.closed:
                return
            if not alone and order(entry_id) <= order(subscription.position):
                continue  # read for another subscriber that is further behind
            subscription.position = entry_id
            try:
                message = decode(field_d(pairs))
            except BadMessage as error:
                count_unreadable(error)
                continue
            try:
                subscription.receive(entry_id.decode(), message)
            except Exception as error:  # noqa: BLE001 - one call's error must never reach the reader that all share
                failed = subscription.failed
                subscription.close()
                try:
                    failed(error)
                except Exception as worse:  # noqa: BLE001 - nor may an error in its error handler
                    skip("bus", worse)

    async def _rewind(self, connection: RedisConnection) -> None:
        """Check that the entry read last is still there; if the server has lost entries, read from the start.

        Otherwise a position beyond the stream's end would wait in silence, and entries written after the loss with
        smaller ids would never be read.  A stream that begins after the position was only trimmed.
        """
        everybody = [one for subscribers in self._subscribers.values() for one in subscribers]
        read = [one for one in everybody if one.position != START_POSITION]
        newest = await asyncio.gather(
            *(_answer(connection.call("XREVRANGE", one.stream, one.position, "-", "COUNT", 1)) for one in read)
        )
        rewound = 0
        for subscription, found in zip(read, newest, strict=True):
            if found is REFUSED:
                continue  # it is left out when it is read
            if not found or found[0][0] != subscription.position:
                rewound += bool(found)
                subscription.position = START_POSITION
        if rewound:
            log.warning("Redis has lost entries; %s streams are read again from their start", rewound)

    async def _set_aside(self, connection: RedisConnection) -> bool:
        """Find the streams for which Redis refuses an XREAD of them all, and leave them out.  False: there is none."""
        positions = {stream: _furthest_behind(subscribers) for stream, subscribers in self._asked.items()}
        each = [_answer(_read_one(connection, stream, after)) for stream, after in positions.items()]
        answers = await asyncio.gather(*each)
        refused = [stream for stream, answer in zip(positions, answers, strict=True) if answer is REFUSED]
        for stream in refused:
            self._aside[stream] = monotonic_s() + ASIDE_SECONDS
        return bool(refused)


REFUSED = object()
"""Stands for the answer to a command that Redis refuses now and later."""


async def _answer(command: Coroutine[Any, Any, Any]) -> Any:
    """The command's reply, or `REFUSED`.  Raises an error that means "not now"."""
    try:
        return await command
    except hiredis.ReplyError as error:
        if away_kind(str(error)):
            raise
        metrics.REDIS_REFUSED.labels(refused_kind(str(error))).inc()
        return REFUSED


def _read_one(connection: RedisConnection, stream: bytes, after: bytes) -> Coroutine[Any, Any, Any]:
    return connection.call("XREAD", "COUNT", 1, "STREAMS", stream, after)


def _packed(part: bytes) -> bytes:
    """One part of a command, in the Redis protocol."""
    return b"$%d\r\n%b\r\n" % (len(part), part)


def _furthest_behind(subscribers: tuple[LaneSubscription, ...]) -> bytes:
    if len(subscribers) == 1:
        return subscribers[0].position
    return min((one.position for one in subscribers), key=order)


def order(entry_id: bytes) -> tuple[int, int]:
    """The sort key of an entry id."""
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number or 0)


def field_d(pairs: Sequence[bytes]) -> bytes:
    """The value of the one field that the bus writes; empty, which decodes to BadMessage, for an entry of others."""
    return pairs[1] if len(pairs) >= 2 and pairs[0] == b"d" else b""


def count_unreadable(error: BadMessage) -> None:
    """Count an entry that was skipped because it cannot be decoded."""
    if isinstance(error, UnknownTag):
        metrics.UNKNOWN_TAGS.inc()
    else:
        metrics.BAD_INPUT.labels("bus").inc()
