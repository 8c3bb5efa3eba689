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
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from common import metrics
from common.bus import START, Failed, Receive
from common.bus.primary import open_primary
from common.bus.refusals import away_kind, refused_kind
from common.bus.wire import Wire
from common.bus.writer import PING, PULSE_SECONDS, SILENT_SECONDS, WRITE, Writer, count_away, monotonic_s
from common.packing import BadMessage, UnknownTag, decode
from common.redis_url import Place
from common.skipped import skip

log = logging.getLogger(__name__)

BLOCK_MS = 2000
"""How long a read may block at the server: below every socket timeout, or a dead peer would go unnoticed."""
READ_COUNT = 256
"""Entries of one stream in one read: bounds what a single reply may hold."""
RETRY_SECONDS = (0.05, 1.0)
"""First and longest pause before the next attempt to connect."""
ASIDE_SECONDS = 1.0
"""A stream that Redis refuses to read is set aside for so long: the others are read without it."""


@dataclass(slots=True)
class Subscription:
    """Who reads a stream, and the last entry that they have."""

    stream: bytes
    receive: Receive
    failed: Failed
    position: bytes


class Reader:
    """One XREAD over all subscribed streams; each message to its own subscriber."""

    def __init__(self, pause_ms: float) -> None:
        self._pause_s = pause_ms / 1000
        self._subscriptions: dict[bytes, Subscription] = {}
        self._any = asyncio.Event()
        self._aside: dict[bytes, float] = {}
        """Stream -> until when it is not asked for, because Redis refused it."""

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
            live = self._readable()
            if not live:
                await asyncio.sleep(ASIDE_SECONDS / 2)
                continue
            try:
                reply = await _xread(wire, live, "COUNT", READ_COUNT, "BLOCK", BLOCK_MS)
            except hiredis.ReplyError as error:
                if away_kind(str(error)) or not await self._set_aside(wire, live):
                    raise
                continue
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
            *(_answer(wire.call("XREVRANGE", one.stream, one.position, "-", "COUNT", 1)) for one in read)
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

    def _readable(self) -> list[Subscription]:
        """All that are not set aside, those whose time is over included."""
        now = monotonic_s()
        self._aside = {stream: until for stream, until in self._aside.items() if until > now}
        return [one for one in self._subscriptions.values() if one.stream not in self._aside]

    async def _set_aside(self, wire: Wire, live: list[Subscription]) -> bool:
        """One XREAD reads them all and is refused if one of them is: find out which.  False if it is none."""
        answers = await asyncio.gather(*(_answer(_xread(wire, [one], "COUNT", 1)) for one in live))
        refused = [one.stream for one, answer in zip(live, answers, strict=True) if answer is REFUSED]
        for stream in refused:
            self._aside[stream] = monotonic_s() + ASIDE_SECONDS
        return bool(refused)

    def _deliver(self, stream: bytes, entries: list[tuple[bytes, list[bytes]]]) -> None:
        for entry_id, pairs in entries:
            subscription = self._subscriptions.get(stream)
            if subscription is None:
                return
            subscription.position = entry_id
            try:
                message = decode(field_d(pairs))
            except BadMessage as error:
                count_unreadable(error)
                continue
            try:
                subscription.receive(entry_id.decode(), message)
            except Exception as error:  # noqa: BLE001 - one call's error must never reach the reader that all share
                self.remove(stream)
                try:
                    subscription.failed(error)
                except Exception as worse:  # noqa: BLE001 - nor may what it does about that
                    skip("bus", worse)


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
        self.writer = Writer(pace_ms[0], suspect, WRITE if place.set else PING)
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


def _xread(wire: Wire, live: list[Subscription], *options: str | int) -> Coroutine[Any, Any, Any]:
    return wire.call(
        "XREAD", *options, "STREAMS", *(one.stream for one in live), *(one.position for one in live),
        seconds=BLOCK_MS / 1000 + SILENT_SECONDS,
    )  # fmt: skip


def field_d(pairs: Sequence[bytes]) -> bytes:
    """What stands in the one field that we write; empty, which is no message, if somebody else wrote the entry."""
    return pairs[1] if len(pairs) >= 2 and pairs[0] == b"d" else b""


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
            count_away((away_kind(str(error)) if isinstance(error, hiredis.ReplyError) else "") or "unreachable")
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
