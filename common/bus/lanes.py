"""Keeps one lane of the bus: a connection for writes and one for reads, both reconnected for ever.

Each connect looks for the primary anew (primary.py).  A lane drops its connections and reconnects when

  - a connection breaks;
  - the server answers nothing for `SILENT_SECONDS` (it hangs, or the network drops packets);
  - the server answers that it cannot serve now (refusals.py): out of memory, read-only, loading.

Writes without an acknowledgement are sent again, so they may arrive twice.  They are lost only when an outbox
overflows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from common.bus import START, Failed, Receive, ignore
from common.bus.writer import PING, PULSE_SECONDS, SILENT_SECONDS, WRITE, Writer, count_away, monotonic_s
from common.process.backoff import Backoff
from common.process.skipped import skip
from common.protocol.codec import BadMessage, UnknownTag, decode
from common.redis.connection import RedisConnection
from common.redis.primary import open_primary
from common.redis.refusals import away_kind, refused_kind
from common.redis.url import RedisTarget
from common.telemetry import metrics

log = logging.getLogger(__name__)

BLOCK_MS = 2000
"""How long a read may block at the server, in ms; less than every socket timeout, so that a dead peer is noticed."""
READ_COUNT = 256
"""Most entries of one stream in one read; bounds the size of a reply."""
RECONNECT = Backoff(first_s=0.05, longest_s=1.0, jitter=0.5)
"""Pauses before the next attempt to connect."""
ASIDE_SECONDS = 1.0
"""How long the reader leaves out a stream that Redis refuses to read, so that the others are still read."""


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
    """Reads all subscribed streams by one XREAD and delivers each message to the subscribers of its stream.

    A stream with several subscribers is read from the position of the one that is furthest behind.
    """

    def __init__(self, pause_ms: float) -> None:
        self._pause_s = pause_ms / 1000
        self._subscribers: dict[bytes, list[LaneSubscription]] = {}
        self._any = asyncio.Event()
        self._aside: dict[bytes, float] = {}
        """Stream -> until when it is left out, because Redis refused it."""

    def add(self, subscription: LaneSubscription) -> None:
        """Read this subscription's stream as well."""
        self._subscribers.setdefault(subscription.stream, []).append(subscription)
        self._any.set()

    def remove(self, subscription: LaneSubscription) -> None:
        """Stop delivering to this subscription; others of its stream continue."""
        left = [one for one in self._subscribers.pop(subscription.stream, ()) if one is not subscription]
        if left:
            self._subscribers[subscription.stream] = left
        if not self._subscribers:
            self._any.clear()

    async def run(self, connection: RedisConnection) -> None:
        """Read until the connection is lost.  Raises ConnectionError, TimeoutError or hiredis.ReplyError."""
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
                subscribers = asked[stream]  # a subscriber added meanwhile has its own position and is read next
                for subscription in subscribers:
                    self._deliver(subscription, entries, alone=len(subscribers) == 1)
            if self._pause_s:
                await asyncio.sleep(self._pause_s)

    async def _rewind(self, connection: RedisConnection) -> None:
        """Check that the entry read last is still there; if the server has lost entries, read from the start.

        Otherwise a position beyond the stream's end would wait in silence, and entries written after the loss with
        smaller ids would never be read.  A stream that begins after the position was only trimmed.
        """
        everybody = [one for subscribers in self._subscribers.values() for one in subscribers]
        read = [one for one in everybody if one.position != START.encode()]
        newest = await asyncio.gather(
            *(_answer(connection.call("XREVRANGE", one.stream, one.position, "-", "COUNT", 1)) for one in read)
        )
        rewound = 0
        for subscription, found in zip(read, newest, strict=True):
            if found is REFUSED:
                continue  # it is left out when it is read
            if not found or found[0][0] != subscription.position:
                rewound += bool(found)
                subscription.position = START.encode()
        if rewound:
            log.warning("Redis has lost entries; %s streams are read again from their start", rewound)

    def _readable(self) -> dict[bytes, tuple[LaneSubscription, ...]]:
        """The streams to read: all but those left out, whose time is not over."""
        now = monotonic_s()
        self._aside = {stream: until for stream, until in self._aside.items() if until > now}
        return {stream: tuple(some) for stream, some in self._subscribers.items() if stream not in self._aside}

    async def _set_aside(self, connection: RedisConnection, positions: Mapping[bytes, bytes]) -> bool:
        """Find the streams for which Redis refuses an XREAD of them all, and leave them out.  False: there is none."""
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


def _furthest_behind(subscribers: tuple[LaneSubscription, ...]) -> bytes:
    if len(subscribers) == 1:
        return subscribers[0].position
    return min((one.position for one in subscribers), key=order)


def order(entry_id: bytes) -> tuple[int, int]:
    """The sort key of an entry id."""
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number or 0)


class Lane:
    """One writing and one reading connection to a server (see the module docstring)."""

    def __init__(
        self,
        target: RedisTarget,
        name: str,
        pace_ms: tuple[float, float],
        suspect: Callable[[], None],
        connected: Callable[[RedisConnection], None],
    ) -> None:
        """`pace_ms`: (how long appends are gathered, pause between two reads).

        `suspect()` is called when the server seems to be gone, `connected(connection)` after each new connection.
        """
        self._connected = connected
        self._target = target
        self._name = name
        self._writing: RedisConnection | None = None
        self._reading: RedisConnection | None = None
        self.writer = Writer(pace_ms[0], suspect, WRITE if target.set else PING)
        self.reader = Reader(pace_ms[1])

    def wake(self) -> None:
        """End the read that blocks now, because the set of streams has changed."""
        if self._reading is not None and not self._reading.lost.is_set():
            self.writer.send_command("CLIENT", "UNBLOCK", self._reading.client_id)

    def give_up(self) -> None:
        """Drop both connections; they are made again."""
        for connection in (self._writing, self._reading):
            if connection is not None:
                connection.abort()

    def leave_all_but(self, peer: tuple[str, int] | str) -> None:
        """Drop the connections to any server but `peer`; they are made again."""
        for connection in (self._writing, self._reading):
            if connection is not None and not connection.lost.is_set() and connection.peer != peer:
                connection.abort()

    async def write_forever(self) -> None:
        """Keep a connection for writes, for ever."""
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
        """Keep a connection for reads, for ever."""
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
                    continue  # the connection broke; the reconnect counts what follows


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


def _xread(
    connection: RedisConnection, positions: Mapping[bytes, bytes], *options: str | int
) -> Coroutine[Any, Any, Any]:
    seconds = BLOCK_MS / 1000 + SILENT_SECONDS
    return connection.call("XREAD", *options, "STREAMS", *positions, *positions.values(), seconds=seconds)


def field_d(pairs: Sequence[bytes]) -> bytes:
    """The value of the one field that the bus writes; empty, which decodes to BadMessage, for an entry of others."""
    return pairs[1] if len(pairs) >= 2 and pairs[0] == b"d" else b""


async def _connections(target: RedisTarget, name: str) -> AsyncGenerator[RedisConnection, None]:
    """Connections, one after another; the next one is made when the consumer asks for it."""
    loop = asyncio.get_running_loop()
    made = failures = 0
    while True:
        try:
            connection = await open_primary(target, name)
        except (OSError, TimeoutError, hiredis.ReplyError) as error:
            if not failures:
                reason = str(error).partition(".")[0][:80] if isinstance(error, hiredis.ReplyError) else ""
                log.warning("cannot reach Redis (%s); trying again", reason or type(error).__name__)
            count_away((away_kind(str(error)) if isinstance(error, hiredis.ReplyError) else "") or "unreachable")
        else:
            metrics.BUS_RECONNECTS.inc(1 if made else 0)
            made += 1
            began = loop.time()
            try:
                yield connection
            finally:
                connection.close()
            if loop.time() - began > RECONNECT.longest_s:  # usable; one that refuses at once is tried more slowly
                failures = 0
        await asyncio.sleep(RECONNECT.pause_s(failures))
        failures += 1


def count_unreadable(error: BadMessage) -> None:
    """Count an entry that was skipped because it cannot be decoded."""
    if isinstance(error, UnknownTag):
        metrics.UNKNOWN_TAGS.inc()
    else:
        metrics.BAD_INPUT.labels("bus").inc()
