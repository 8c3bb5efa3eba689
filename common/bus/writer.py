"""The writing side of a lane (lanes.py): appends in batches, and again after a reconnect until they are answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

from common.bus.outbox import Outbox, OutboxEntry
from common.redis.connection import RedisConnection, pack
from common.redis.refusals import away_kind, refused_kind
from common.telemetry import metrics

log = logging.getLogger(__name__)

PULSE_SECONDS = 0.5
"""How often the writing connection is asked for a sign of life."""
SILENT_SECONDS = 2.0
"""No answer for so long: the connection is given up."""
AWAY_SECONDS = 1.0
"""No answer for so long: the server counts as away."""
LEAST_SECONDS = 0.001
"""So that "away since just now" is not 0: a loop's clock may count milliseconds."""

REFUSED_LINE_SECONDS = 10.0
"""Appends that are refused are logged so often at most."""

PING = pack("PING")
WRITE = pack("DEL", "pulse")
"""A sign of life that counts as a write: a primary that was replaced while it was frozen answers PING, but refuses this
(`min-replicas-to-write`).  A process that only reads would otherwise wait there until somebody tells the server."""


class Writer:
    """Appends in batches, and again after a reconnect until the server has said yes."""

    def __init__(self, flush_ms: float, suspect: Callable[[], None], sign: bytes = PING) -> None:
        """`suspect()`: every connection to this server is to be given up.  `sign`: what is asked as a sign of life."""
        self._sign = sign
        self._flush_s = flush_ms / 1000
        self._suspect = suspect
        self._fresh: list[OutboxEntry] = []  # of this flush, while there is a connection
        self._outbox = Outbox()  # of the time without one
        self._sent: deque[OutboxEntry] = deque()
        self._pings = 0
        self._flushing = False
        self._connection: RedisConnection | None = None
        self._refused = False
        self._asked_at = self._answered_at = self._pulsed_at = self._next_line_at = monotonic_s()

    def add(self, entry: OutboxEntry) -> None:
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

    def attach(self, connection: RedisConnection) -> None:
        """Use this connection from now on; what the last one left unanswered goes first."""
        self._connection = connection
        self._pings = 0
        self._asked_at = self._pulsed_at = monotonic_s()
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
        now = monotonic_s()
        if not self._alive:
            return
        late = now - self._pulsed_at > 2 * PULSE_SECONDS
        self._pulsed_at = now
        if late:  # we slept, not the server: what it said meanwhile is still unread
            self._asked_at = now
        elif self._unanswered and now - self._asked_at > SILENT_SECONDS:
            count_away("silent")
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
            self._refused = False  # it was a ping that was refused: there is no append to try it with
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
        """An append that no time mends: the key of that stream holds something else, or we have no right to it."""
        metrics.BUS_DROPPED.labels("refused").inc()
        metrics.REDIS_REFUSED.labels(refused_kind(error)).inc()
        if monotonic_s() >= self._next_line_at:  # there may be fifty a second
            self._next_line_at = monotonic_s() + REFUSED_LINE_SECONDS
            log.error("Redis refused an append: %s", refused_kind(error))

    def _refuse(self, kind: str) -> None:
        """Everything from the refused command on is written again, in order, to whoever is found next."""
        assert self._connection is not None
        if not self._refused:
            log.warning("Redis takes nothing now: %s", kind)
        self._refused = True
        count_away(kind)
        if kind in ("read-only", "no replicas"):  # it may have been replaced: ask who is the primary now
            self._suspect()
        self._connection.abort()


def count_away(kind: str) -> None:
    """Redis cannot be used now; `kind` is one of AWAY_KINDS."""
    metrics.REDIS_AWAY.labels(kind).inc()


def monotonic_s() -> float:
    """The time by which a server is judged."""
    return time.monotonic()  # not the loop's: probes ask from a thread of their own
