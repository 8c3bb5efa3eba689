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
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import hiredis

from common import metrics
from common.bus import START, Failed, Receive
from common.bus.outbox import Entry, Outbox
from common.bus.primary import open_primary
from common.bus.refusals import away_kind
from common.bus.wire import Wire, pack
from common.packing import BadMessage, UnknownTag, decode
from common.redis_url import Place

log = logging.getLogger(__name__)

BLOCK_MS = 2000
"""How long a read may block at the server: below every socket timeout, or a dead peer would go unnoticed."""
READ_COUNT = 256
"""Entries of one stream in one read: bounds what a single reply may hold."""
RETRY_SECONDS = (0.05, 1.0)
"""First and longest pause before the next attempt to connect."""
PULSE_SECONDS = 0.5
"""How often the writing connection is asked for a sign of life."""
SILENT_SECONDS = 2.0
"""No answer for so long: the connection is given up."""
AWAY_SECONDS = 1.0
"""No answer for so long: the server counts as away."""
LEAST_SECONDS = 0.001
"""So that "away since just now" is not 0: a loop's clock may count milliseconds."""

_PING = pack("PING")
_WRITE = pack("DEL", "pulse")
"""A sign of life that counts as a write: a primary that was replaced while it was frozen answers PING, but refuses this
(`min-replicas-to-write`).  A process that only reads would otherwise wait there until somebody tells the server."""


@dataclass(slots=True)
class Subscription:
    """Who reads a stream, and the last entry that they have."""

    stream: bytes
    receive: Receive
    failed: Failed
    position: bytes


class Writer:
    """Appends in batches, and again after a reconnect until the server has said yes."""

    def __init__(self, flush_ms: float, suspect: Callable[[], None], sign: bytes = _PING) -> None:
        """`suspect()`: every connection to this server is to be given up.  `sign`: what is asked as a sign of life."""
        self._sign = sign
        self._flush_s = flush_ms / 1000
        self._suspect = suspect
        self._fresh: list[Entry] = []  # of this flush, while there is a connection
        self._outbox = Outbox()  # of the time without one
        self._sent: deque[Entry] = deque()
        self._pings = 0
        self._flushing = False
        self._wire: Wire | None = None
        self._refused = False
        self._asked_at = self._answered_at = self._pulsed_at = _now()

    def add(self, entry: Entry) -> None:
        """Write this with everything else of the next `flush_ms`."""
        if self._alive:
            self._fresh.append(entry)
        else:
            for earlier in self._fresh:  # added while there still was a connection
                self._outbox.add(earlier)
            self._fresh.clear()
            self._outbox.add(entry)
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
        self._pings = 0
        self._asked_at = self._pulsed_at = _now()
        if not self._refused:
            self._answered_at = self._asked_at
        self._outbox.put_back(self._sent)
        self._sent.clear()
        self.flush()

    def flush(self) -> None:
        """Write what waits, if there is a connection."""
        self._flushing = False
        entries = self._outbox.take() if self._outbox else []
        entries += self._fresh
        self._fresh.clear()
        if not entries:
            return
        if self._alive:
            with contextlib.suppress(ConnectionError):
                self._send(b"".join([entry.packed for entry in entries]), self._on_reply, len(entries))
                self._sent.extend(entries)
                return
        self._outbox.put_back(entries)

    def pulse(self) -> None:
        """Every `PULSE_SECONDS` while connected: ask for a sign of life, and give up a server that gives none."""
        now = _now()
        if not self._alive:
            return
        late = now - self._pulsed_at > 2 * PULSE_SECONDS
        self._pulsed_at = now
        if late:  # we slept, not the server: what it said meanwhile is still unread
            self._asked_at = now
        elif self._unanswered and now - self._asked_at > SILENT_SECONDS:
            _count_away("silent")
            self._suspect()
            return
        if not self._unanswered:
            with contextlib.suppress(ConnectionError):
                self._send(self._sign, self._on_pong, 1)
                self._pings += 1

    def tell(self, *command: bytes | str | int) -> None:
        """A command of the moment: not kept while the server is away, and nobody minds its reply."""
        if self._alive:
            with contextlib.suppress(ConnectionError):
                self._send(pack(*command), self._on_pong, 1)
                self._pings += 1

    @property
    def away_s(self) -> float:
        """For how long the server has taken nothing from us; 0 while it does."""
        since_answer = max(_now() - self._answered_at, LEAST_SECONDS)
        usable = self._alive and not self._refused and since_answer <= AWAY_SECONDS
        return 0.0 if usable else since_answer

    @property
    def _alive(self) -> bool:
        return self._wire is not None and not self._wire.lost.is_set()

    @property
    def _unanswered(self) -> int:
        return len(self._sent) + self._pings

    def _send(self, packed: bytes, on_reply: Callable[[Any], None], replies: int) -> None:
        assert self._wire is not None
        if not self._unanswered:
            self._asked_at = _now()
        self._wire.send(packed, on_reply, replies)

    def _on_pong(self, reply: Any) -> None:
        self._pings -= 1
        self._asked_at = _now()
        if isinstance(reply, hiredis.ReplyError):
            if kind := away_kind(str(reply)):
                self._refuse(kind)
            return
        if not (self._sent or self._outbox or self._fresh):
            self._refused = False  # it was a ping that was refused: there is no append to try it with
        if not self._refused:
            self._answered_at = self._asked_at

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            if kind := away_kind(str(reply)):
                self._refuse(kind)
                return
            metrics.BUS_DROPPED.labels("refused").inc()
            log.error("Redis refused an append: %s", str(reply).split(" ", 1)[0])
        else:
            self._refused = False
        self._sent.popleft()
        self._asked_at = self._answered_at = _now()

    def _refuse(self, kind: str) -> None:
        """Everything from the refused command on is written again, in order, to whoever is found next."""
        assert self._wire is not None
        if not self._refused:
            log.warning("Redis takes nothing now: %s", kind)
        self._refused = True
        _count_away(kind)
        if kind in ("read-only", "no replicas"):  # it may have been replaced: ask who is the primary now
            self._suspect()
        self._wire.abort()


class Reader:
    """One XREAD over all subscribed streams; each message to its own subscriber."""

    def __init__(self, pause_ms: float) -> None:
        self._pause_s = pause_ms / 1000
        self._subscriptions: dict[bytes, Subscription] = {}
        self._any = asyncio.Event()

    def add(self, subscription: Subscription) -> None:
        """Read this stream, too."""
        self._subscriptions[subscription.stream] = subscription
        self._any.set()

    def remove(self, stream: bytes) -> None:
        """Read it no more."""
        self._subscriptions.pop(stream, None)
        if not self._subscriptions:
            self._any.clear()

    async def run(self, wire: Wire) -> None:
        """Read until the connection is lost (raises ConnectionError, TimeoutError or hiredis.ReplyError)."""
        await self._rewind(wire)
        while True:
            await self._any.wait()
            live = list(self._subscriptions.values())
            reply = await wire.call(
                *("XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS"),
                *(subscription.stream for subscription in live),
                *(subscription.position for subscription in live),
                seconds=BLOCK_MS / 1000 + SILENT_SECONDS,
            )
            for stream, entries in reply or ():
                self._deliver(stream, entries)
            if self._pause_s:
                await asyncio.sleep(self._pause_s)

    async def _rewind(self, wire: Wire) -> None:
        """Is the entry that was read last still there?  If not, the server has lost entries: read from the start.

        Without this a position beyond the stream's end would wait in silence, and entries that were written after
        the loss with smaller ids would never be read.  A stream that begins behind the position was only trimmed.
        """
        read = [one for one in self._subscriptions.values() if one.position != START.encode()]
        newest = await asyncio.gather(
            *(wire.call("XREVRANGE", one.stream, one.position, "-", "COUNT", 1) for one in read)
        )
        rewound = 0
        for subscription, found in zip(read, newest, strict=True):
            if not found or found[0][0] != subscription.position:
                rewound += bool(found)
                subscription.position = START.encode()
        if rewound:
            log.warning("Redis has lost entries; %s streams are read again from their start", rewound)

    def _deliver(self, stream: bytes, entries: list[tuple[bytes, list[bytes]]]) -> None:
        for entry_id, pairs in entries:
            subscription = self._subscriptions.get(stream)
            if subscription is None:
                return
            subscription.position = entry_id
            try:
                message = decode(pairs[1])
            except BadMessage as error:
                count_unreadable(error)
                continue
            try:
                subscription.receive(entry_id.decode(), message)
            except Exception as error:  # noqa: BLE001 - one call's error must never reach the reader that all share
                self.remove(stream)
                subscription.failed(error)


class Lane:
    """See the module."""

    def __init__(
        self,
        place: Place,
        name: str,
        pace_ms: tuple[float, float],
        suspect: Callable[[], None],
        connected: Callable[[Wire], None],
    ) -> None:
        """`pace_ms`: how long appends are gathered, and the pause between two reads.

        `connected(wire)`: a new connection was made.
        """
        self._connected = connected
        self._place = place
        self._name = name
        self._writing: Wire | None = None
        self._reading: Wire | None = None
        self.writer = Writer(pace_ms[0], suspect, _WRITE if place.set else _PING)
        self.reader = Reader(pace_ms[1])

    def wake(self) -> None:
        """End the read that blocks now: the set of streams has changed."""
        if self._reading is not None and not self._reading.lost.is_set():
            self.writer.tell("CLIENT", "UNBLOCK", self._reading.client_id)

    def give_up(self) -> None:
        """Both connections are made again."""
        for wire in (self._writing, self._reading):
            if wire is not None:
                wire.abort()

    def leave_all_but(self, peer: tuple[str, int] | str) -> None:
        """Connections that lead to another server are made again."""
        for wire in (self._writing, self._reading):
            if wire is not None and not wire.lost.is_set() and wire.peer != peer:
                wire.abort()

    async def write_forever(self) -> None:
        """Keep the writing connection."""
        async with contextlib.aclosing(_connections(self._place, self._name)) as wires:
            async for wire in wires:
                self._writing = wire
                self._connected(wire)
                self.writer.attach(wire)
                while not wire.lost.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PULSE_SECONDS):
                            await wire.lost.wait()
                    self.writer.pulse()

    async def read_forever(self) -> None:
        """Keep the reading connection."""
        async with contextlib.aclosing(_connections(self._place, self._name)) as wires:
            async for wire in wires:
                self._reading = wire
                self._connected(wire)
                try:
                    await self.reader.run(wire)
                except hiredis.ReplyError as error:
                    kind = away_kind(str(error))
                    if not kind:
                        log.error("Redis refused a read: %s", str(error).split(" ", 1)[0])
                    _count_away(kind or "unreachable")
                except TimeoutError:
                    _count_away("silent")
                except OSError:
                    continue  # the connection broke; what follows is counted where it is made again


async def _connections(place: Place, name: str) -> AsyncGenerator[Wire, None]:
    """Connected wires, one after another: the next is made when the consumer comes back for it."""
    loop = asyncio.get_running_loop()
    first, longest = RETRY_SECONDS
    pause = first
    made = 0
    while True:
        try:
            wire = await open_primary(place, name)
        except (OSError, TimeoutError, hiredis.ReplyError) as error:
            if pause == first:
                said = str(error).partition(".")[0][:80] if isinstance(error, hiredis.ReplyError) else ""
                log.warning("cannot reach Redis (%s); trying again", said or type(error).__name__)
            _count_away((away_kind(str(error)) if isinstance(error, hiredis.ReplyError) else "") or "unreachable")
        else:
            metrics.BUS_RECONNECTS.inc(1 if made else 0)
            made += 1
            began = loop.time()
            try:
                yield wire
            finally:
                wire.close()
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


def _count_away(kind: str) -> None:
    metrics.REDIS_AWAY.labels(kind).inc()


def _now() -> float:
    return time.monotonic()  # not the loop's: probes ask from a thread of their own
