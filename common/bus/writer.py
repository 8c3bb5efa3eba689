"""Writes for a lane (lanes.py): appends in batches, and sends them again after a reconnect until they are answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

import hiredis

from common.bus.outbox import Outbox, OutboxEntry
from common.bus.pace import LoadPace
from common.redis.connection import RedisConnection, pack
from common.redis.refusals import away_kind, refused_kind
from common.telemetry import metrics

log = logging.getLogger(__name__)

PULSE_SECONDS = 0.5
"""How often the writing connection asks for a sign of life."""
SILENT_SECONDS = 2.0
"""After this time without an answer the connection is dropped."""
AWAY_SECONDS = 1.0
"""After this time without an answer the server counts as away."""
LEAST_SECONDS = 0.001
"""Smallest time away, so that "away since just now" is not 0 if a clock counts milliseconds."""

REFUSED_LINE_SECONDS = 10.0
"""Least time between two log lines about refused appends."""

BUSY_FLUSH = 3
"""Appends are gathered this many times longer in a process that is busy."""
LEAD_FLUSH = 3
"""The agent's audio behind the first of a reply is gathered this many times longer: the edge has some in advance."""

PING = pack("PING")
WRITE = pack("DEL", "pulse")
"""A sign of life that counts as a write: a primary that was replaced while frozen answers PING but refuses this
(`min-replicas-to-write`).  A process that only reads would otherwise stay there until the server learns of it."""


class Gathering(Enum):
    """How long an append may wait for others."""

    NOT = "somebody waits for it: it leaves in this turn of the event loop"
    BY_LOAD = "the more there are, the longer (pace.py)"
    BY_LEAD = "`LEAD_FLUSH` times as long as with few calls"


class Writer:
    """Appends in batches, and again after a reconnect until the server has acknowledged them."""

    def __init__(self, flush_ms: float, suspect: Callable[[], None], sign: bytes = PING) -> None:
        """`suspect()` is asked to drop every connection to this server; `sign` is the command that asks for a sign."""
        self._sign = sign
        self._pace = LoadPace(flush_ms, BUSY_FLUSH * flush_ms)
        self._lead_s = LEAD_FLUSH * flush_ms / 1000
        self._suspect = suspect
        self._fresh: list[OutboxEntry] = []  # gathered for the next flush, while connected
        self._outbox = Outbox()  # gathered while not connected
        self._sent: deque[OutboxEntry] = deque()
        self._pings = 0
        self._flushing: asyncio.Handle | None = None
        self._flush_at = 0.0  # loop time of that; 0: in this turn of the loop
        self._connection: RedisConnection | None = None
        self._refused = False
        self._asked_at = self._answered_at = self._pulsed_at = self._next_line_at = monotonic_s()

    def add(self, entry: OutboxEntry, gathering: Gathering = Gathering.BY_LOAD) -> None:
        """Write the entry, and all before it, when the time to gather is over."""
        if self._alive:
            self._fresh.append(entry)
        else:
            for earlier in self._fresh:  # added while there was a connection
                self._outbox.add(earlier)
            self._fresh.clear()
            self._outbox.add(entry)
        delay_s = 0.0
        if gathering is not Gathering.NOT:
            delay_s = self._pace.delay_s if gathering is Gathering.BY_LOAD else self._lead_s
        loop = asyncio.get_running_loop()
        due_s = loop.time() + delay_s
        if self._flushing is not None:
            if self._flush_at <= due_s:
                return
            self._flushing.cancel()
        self._flush_at = due_s if delay_s else 0.0
        self._flushing = loop.call_later(delay_s, self.flush) if delay_s else loop.call_soon(self.flush)

    def attach(self, connection: RedisConnection) -> None:
        """Use this connection from now on; entries that the last one left unanswered are sent first."""
        self._connection = connection
        self._pings = 0
        self._asked_at = self._pulsed_at = monotonic_s()
        if not self._refused:
            self._answered_at = self._asked_at
        self._outbox.put_back(self._sent)
        self._sent.clear()
        self.flush()

    def flush(self) -> None:
        """Send the waiting entries, if there is a connection."""
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing = None
        entries = self._outbox.take() if self._outbox else []
        entries += self._fresh
        self._fresh.clear()
        if not entries:
            return
        self._pace.passed(len(entries), asyncio.get_running_loop().time())
        if self._alive:
            with contextlib.suppress(ConnectionError):
                self._send(b"".join([entry.packed for entry in entries]), self._on_reply, len(entries))
                self._sent.extend(entries)
                return
        self._outbox.put_back(entries)

    def pulse(self) -> None:
        """Ask for a sign of life and drop a server that gives none; called every `PULSE_SECONDS` while connected."""
        now = monotonic_s()
        if not self._alive:
            return
        late = now - self._pulsed_at > 2 * PULSE_SECONDS
        self._pulsed_at = now
        if late:  # this process slept, not the server: its answers are still unread
            self._asked_at = now
        elif self._unanswered and now - self._asked_at > SILENT_SECONDS:
            count_away("silent")
            self._suspect()
            return
        if not self._unanswered:
            with contextlib.suppress(ConnectionError):
                self._send(self._sign, self._on_pong, 1)
                self._pings += 1

    def send_command(self, *command: bytes | str | int) -> None:
        """Send a command once, if there is a connection; it is not kept, and its reply is ignored."""
        if self._alive:
            with contextlib.suppress(ConnectionError):
                self._send(pack(*command), self._on_pong, 1)
                self._pings += 1

    @property
    def away_s(self) -> float:
        """For how many seconds the server has accepted nothing from this process; 0 while it does."""
        since_answer = max(monotonic_s() - self._answered_at, LEAST_SECONDS)
        usable = self._alive and not self._refused and since_answer <= AWAY_SECONDS
        return 0.0 if usable else since_answer

    @property
    def _alive(self) -> bool:
        return self._connection is not None and not self._connection.lost.is_set()

    @property
    def _unanswered(self) -> int:
        return len(self._sent) + self._pings

    def _send(self, packed: bytes, on_reply: Callable[[Any], None], replies: int) -> None:
        assert self._connection is not None
        if not self._unanswered:
            self._asked_at = monotonic_s()
        self._connection.send(packed, on_reply, replies)

    def _on_pong(self, reply: Any) -> None:
        self._pings -= 1
        self._asked_at = monotonic_s()
        if isinstance(reply, hiredis.ReplyError):
            if kind := away_kind(str(reply)):
                self._refuse(kind)
            return
        if not (self._sent or self._outbox or self._fresh):
            self._refused = False  # a ping was refused earlier, and no append is there to try again
        if not self._refused:
            self._answered_at = self._asked_at

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            if kind := away_kind(str(reply)):
                self._refuse(kind)
                return
            self._note_refused(str(reply))
        else:
            self._refused = False
        self._sent.popleft()
        self._asked_at = self._answered_at = monotonic_s()

    def _note_refused(self, error: str) -> None:
        """Count an append that is refused for good: another type of key, or no permission."""
        metrics.BUS_DROPPED.labels("refused").inc()
        metrics.REDIS_REFUSED.labels(refused_kind(error)).inc()
        if monotonic_s() >= self._next_line_at:  # there may be fifty refusals a second
            self._next_line_at = monotonic_s() + REFUSED_LINE_SECONDS
            log.error("Redis refused an append: %s", refused_kind(error))

    def _refuse(self, kind: str) -> None:
        """Send everything from the refused command on again, in order, to the next connection."""
        assert self._connection is not None
        if not self._refused:
            log.warning("Redis accepts no writes now: %s", kind)
        self._refused = True
        count_away(kind)
        if kind in ("read-only", "no replicas"):  # it may have been replaced, so look for the primary again
            self._suspect()
        self._connection.abort()


def count_away(kind: str) -> None:
    """Count that Redis cannot be used now; `kind` is one of AWAY_KINDS."""
    metrics.REDIS_AWAY.labels(kind).inc()


def monotonic_s() -> float:
    """The clock, in seconds, by which a server counts as away."""
    return time.monotonic()  # not the loop's, because probes read it from their own thread
