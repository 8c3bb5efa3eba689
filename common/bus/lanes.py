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
from collections.abc import AsyncGenerator, Callable

import hiredis

from common.bus.reader import Reader
from common.bus.writer import PING, PULSE_SECONDS, WRITE, Writer, count_away
from common.process.backoff import Backoff
from common.redis.connection import RedisConnection
from common.redis.primary import open_primary
from common.redis.refusals import away_kind, refused_kind
from common.redis.url import RedisTarget
from common.telemetry import metrics

log = logging.getLogger(__name__)

RECONNECT = Backoff(first_s=0.05, longest_s=1.0, jitter=0.5)
"""Pauses before the next attempt to connect."""


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
        if self.reader.blocks and self._reading is not None and not self._reading.lost.is_set():
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
