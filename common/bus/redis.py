"""The bus over Redis Streams: batched writes, one multi-stream read per lane, and a lane of its own for control.

A *lane* is a writing and a reading connection.  The media lane carries everything but the priority streams; its
writes are gathered for `flush_ms`, its reader pauses `pause_ms` between two reads (so that one read fetches the
frames of all calls).  The priority lane does neither: control never waits behind audio.

Every entry has one field, `d`: an encoded message (common/messages.py).  A lost connection is made again for ever,
with what was not yet acknowledged written again: duplicates are harmless, losses are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

import hiredis

from common import metrics, streams
from common.bus import START, Failed, Receive
from common.bus.wire import Wire, open_wire, pack
from common.messages import BadMessage, Message, UnknownTag, decode, encode

log = logging.getLogger(__name__)

FIELD = b"d"
BLOCK_MS = 2000
"""How long a read may block at the server: below every socket timeout, or a dead peer would go unnoticed."""
READ_COUNT = 256
"""Entries of one stream in one read: bounds what a single reply may hold."""
PENDING_MAX = 100_000
"""Messages kept while the server is away; beyond it the oldest go, audio first counted."""
RETRY_SECONDS = (0.05, 1.0)
"""First and longest pause between two attempts to connect."""


@dataclass(frozen=True, slots=True)
class BusOptions:
    """How a process talks to its Redis."""

    url: str
    name: str
    """The node's id; shows in the server's CLIENT LIST."""
    flush_ms: float = 1.0
    pause_ms: float = 1.0


@dataclass(slots=True)
class _Subscription:
    stream: bytes
    receive: Receive
    failed: Failed
    position: bytes


class _Writer:
    """Appends in batches, and again after a reconnect until the server has said yes."""

    def __init__(self, flush_ms: float) -> None:
        self._flush_s = flush_ms / 1000
        self._pending: deque[bytes] = deque()
        self._sent: deque[bytes] = deque()
        self._flushing = False
        self._wire: Wire | None = None

    def add(self, packed: bytes) -> None:
        self._pending.append(packed)
        if len(self._pending) > PENDING_MAX:
            self._pending.popleft()
            metrics.BUS_DROPPED.labels("server away").inc()
        if not self._flushing:
            self._flushing = True
            loop = asyncio.get_running_loop()
            if self._flush_s:
                loop.call_later(self._flush_s, self.flush)
            else:
                loop.call_soon(self.flush)

    def attach(self, wire: Wire) -> None:
        """Use this connection from now on; what the last one left unanswered goes first."""
        self._wire = wire
        self._pending.extendleft(reversed(self._sent))
        self._sent.clear()
        self.flush()

    def flush(self) -> None:
        self._flushing = False
        if self._wire is None or self._wire.lost.is_set() or not self._pending:
            return
        batch = self._pending
        self._pending = deque()
        self._sent.extend(batch)
        self._wire.send(b"".join(batch), self._on_reply, len(batch))

    def _on_reply(self, reply: Any) -> None:
        self._sent.popleft()
        if isinstance(reply, hiredis.ReplyError):
            metrics.BUS_DROPPED.labels("refused").inc()
            log.error("Redis refused an append: %s", str(reply).split(" ", 1)[0])


class _Reader:
    """One XREAD over all subscribed streams; each message to its own subscriber."""

    def __init__(self, pause_ms: float) -> None:
        self._pause_s = pause_ms / 1000
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._any = asyncio.Event()

    def add(self, subscription: _Subscription) -> None:
        self._subscriptions[subscription.stream] = subscription
        self._any.set()

    def remove(self, stream: bytes) -> None:
        self._subscriptions.pop(stream, None)
        if not self._subscriptions:
            self._any.clear()

    async def run(self, wire: Wire) -> None:
        """Read until the connection is lost (raises ConnectionError or TimeoutError)."""
        await self._rewind(wire)
        while True:
            await self._any.wait()
            live = list(self._subscriptions.values())
            reply = await wire.call(
                *("XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS"),
                *(subscription.stream for subscription in live),
                *(subscription.position for subscription in live),
                seconds=BLOCK_MS / 1000 + 2,
            )
            for stream, entries in reply or ():
                self._deliver(stream, entries)
            if self._pause_s:
                await asyncio.sleep(self._pause_s)

    async def _rewind(self, wire: Wire) -> None:
        """A failover may have lost entries: a position beyond the stream's end would wait for ever in silence."""
        for subscription in list(self._subscriptions.values()):
            newest = await wire.call("XREVRANGE", subscription.stream, "+", "-", "COUNT", 1)
            last = newest[0][0] if newest else b"0-0"
            if _order(last) < _order(subscription.position):
                log.warning("a stream is shorter than what was read of it; reading it again from its start")
                subscription.position = START.encode()

    def _deliver(self, stream: bytes, entries: list[tuple[bytes, list[bytes]]]) -> None:
        for entry_id, pairs in entries:
            subscription = self._subscriptions.get(stream)
            if subscription is None:
                return
            subscription.position = entry_id
            try:
                message = decode(pairs[1])
            except BadMessage as error:
                _count_unreadable(error)
                continue
            try:
                subscription.receive(entry_id.decode(), message)
            except Exception as error:  # noqa: BLE001 - one call's error must never reach the reader that all share
                self.remove(stream)
                subscription.failed(error)


class _Lane:
    """A writing and a reading connection, kept alive."""

    def __init__(self, options: BusOptions, name: str, flush_ms: float, pause_ms: float) -> None:
        self._url = options.url
        self._name = f"{options.name}:{name}"
        self._writing: Wire | None = None
        self._reading: Wire | None = None
        self.writer = _Writer(flush_ms)
        self.reader = _Reader(pause_ms)

    @property
    def connected(self) -> bool:
        return self._writing is not None and not self._writing.lost.is_set()

    def wake(self) -> None:
        """End the read that blocks now: the set of streams has changed."""
        if self._reading is not None and not self._reading.lost.is_set():
            self.writer.add(pack("CLIENT", "UNBLOCK", self._reading.client_id))

    async def write_forever(self) -> None:
        async with contextlib.aclosing(_connections(self._url, self._name)) as wires:
            async for wire in wires:
                self._writing = wire
                self.writer.attach(wire)
                await wire.lost.wait()

    async def read_forever(self) -> None:
        async with contextlib.aclosing(_connections(self._url, self._name)) as wires:
            async for wire in wires:
                self._reading = wire
                with contextlib.suppress(OSError, TimeoutError, hiredis.ReplyError):
                    await self.reader.run(wire)
                wire.close()


class RedisBus:
    """See `common.bus.Bus`.  Use as `async with RedisBus.connect(options) as bus`."""

    def __init__(self, options: BusOptions) -> None:
        self._url = options.url
        self._name = options.name
        self._replay: Wire | None = None
        self._replaying = asyncio.Lock()
        self._media = _Lane(options, "media", options.flush_ms, options.pause_ms)
        self._priority = _Lane(options, "priority", 0, 0)

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, options: BusOptions) -> AsyncIterator[RedisBus]:
        """Keep the connections while the block runs; what is still unsent at its end is flushed if it can be."""
        bus = cls(options)
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
        return self._media.connected and self._priority.connected

    def publish(self, stream: str, message: Message) -> None:
        bound = streams.maxlen(stream)
        trim: tuple[str | int, ...] = ("MAXLEN", "~", bound) if bound else ()
        self._lane(stream).writer.add(pack("XADD", stream, *trim, "*", FIELD, encode(message)))

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> None:
        lane = self._lane(stream)
        lane.reader.add(_Subscription(stream.encode(), receive, failed, after.encode()))
        lane.wake()

    def unsubscribe(self, stream: str) -> None:
        self._lane(stream).reader.remove(stream.encode())

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        entries: list[tuple[str, Message]] = []
        async with self._replaying:
            if self._replay is None or self._replay.lost.is_set():
                self._replay = await open_wire(self._url, f"{self._name}:replay")
            while True:
                page = await self._replay.call("XRANGE", stream, f"({after}", "+", "COUNT", READ_COUNT)
                for entry_id, pairs in page:
                    after = entry_id.decode()
                    try:
                        entries.append((after, decode(pairs[1])))
                    except BadMessage as error:
                        _count_unreadable(error)
                if len(page) < READ_COUNT:
                    return entries

    def _lane(self, stream: str) -> _Lane:
        return self._priority if streams.is_priority(stream) else self._media


async def _connections(url: str, name: str) -> AsyncGenerator[Wire, None]:
    """Connected wires, one after another: the next is made when the consumer comes back for it."""
    first, longest = RETRY_SECONDS
    pause = first
    made = 0
    while True:
        try:
            wire = await open_wire(url, name)
        except (OSError, TimeoutError, hiredis.ReplyError) as error:
            if pause == first:
                log.warning("cannot reach Redis (%s); trying again", type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            continue
        pause = first
        if made:
            metrics.BUS_RECONNECTS.inc()
        made += 1
        try:
            yield wire
        finally:
            wire.close()


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence or 0)


def _count_unreadable(error: BadMessage) -> None:
    if isinstance(error, UnknownTag):
        metrics.UNKNOWN_TAGS.inc()
    else:
        metrics.BAD_INPUT.labels("bus").inc()
