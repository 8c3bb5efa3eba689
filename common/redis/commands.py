"""Sends awaited commands over one connection: all of one turn of the event loop in one write.

`RedisCommands.ask` connects to the current primary when it is needed, loads the scripts that a connection has not had
yet, and watches all commands with one timer.  A server that has answered nothing for `SILENT_SECONDS` loses its
connection.
Commands without a reply are then sent once more, to the primary of that time, so each must be harmless if it is
executed twice.  It is repeated as well if the server is no primary any more, or has lost the script.

A server that does not answer would cost every caller the whole deadline.  So after one deadline has passed, one command
at a time is tried and the others fail at once, until one is answered.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import hiredis

from common.redis.connection import RedisConnection, pack
from common.redis.refusals import away_kind

REACH_SECONDS = 3.0
"""Deadline of one command, including the search for the primary, the connect and one repetition."""
SILENT_SECONDS = 2.0
"""After this time without the reply to a command its connection is given up."""
AGAIN_SECONDS = 0.05
"""Pause before a second attempt to connect; a server that is started again needs a moment."""
LATE_SECONDS = 0.5
"""A timer that is later than this says that our own process stood still: replies may wait to be read."""

LEAVE_KINDS = ("read-only", "no replicas", "no access")
"""Answers after which the connection is given up: another server may be the primary, or the login is not valid."""

Word: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Word, ...]
"""A command and its arguments."""

_texts: dict[str, str] = {}  # digest -> script; as many as the program has


@functools.cache
def _digest(text: str) -> str:
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    _texts[digest] = text
    return digest


def script(text: str, keys: Sequence[str], args: Sequence[Word] = ()) -> Command:
    """The command that runs a Lua script."""
    return ("EVALSHA", _digest(text), len(keys), *keys, *args)


class _Asked:
    """Commands of one caller, which wait for their replies."""

    __slots__ = ("answered", "count", "due_s", "packed", "repeated", "replies", "scripts", "sent_s")

    def __init__(self, commands: Sequence[Command], answered: asyncio.Future[list[Any] | Exception], due_s: float):
        self.packed = b"".join([pack(*command) for command in commands])
        self.scripts = [str(command[1]) for command in commands if command[0] == "EVALSHA"]
        self.count = len(commands)
        self.replies: list[Any] = []
        self.answered = answered
        self.due_s = due_s
        self.sent_s = 0.0
        self.repeated = False

    def settle(self, outcome: list[Any] | Exception) -> None:
        if not self.answered.done():  # its caller may have been cancelled
            self.answered.set_result(outcome)


class RedisCommands:
    """The commands to one server, or to the primary of one set of servers."""

    def __init__(self, connect: Callable[[], Awaitable[RedisConnection]], on_lost: Callable[[], None]) -> None:
        """`connect` opens a connection to the current primary and raises OSError, TimeoutError or hiredis.ReplyError.

        `on_lost()` is called when a connection was lost or given up.
        """
        self.silent = False
        """Whether a deadline has passed since the last reply."""
        self._connect = connect
        self._on_lost = on_lost
        self._unsent: deque[_Asked] = deque()
        self._sent: deque[_Asked] = deque()
        self._loaded: set[str] = set()  # digests of the scripts that this connection has loaded
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing = self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, commands: Sequence[Command]) -> list[Any] | Exception:
        """The replies in order, `hiredis.ReplyError` for an error answer; or why there are none.

        The reason is TimeoutError after `REACH_SECONDS`, or the OSError or hiredis.ReplyError of the connection.
        Raises ConnectionError at once if the client is closed, or another command tests whether the server answers.
        """
        if self._closed:
            raise ConnectionError("the client is closed")
        if self.silent and (self._sent or self._unsent):
            raise ConnectionError("Redis has been silent, and another command tests it now")
        if not commands:
            return []
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        loop = self._loop
        asked = _Asked(commands, loop.create_future(), loop.time() + REACH_SECONDS)
        self._unsent.append(asked)
        self._flush_soon()
        if self._timer is None:
            self._timer = loop.call_later(SILENT_SECONDS, self._watch)
        return await asked.answered

    def leave(self) -> None:
        """Give the connection up; what it has not answered is sent to the next one."""
        if self._connection is not None:
            self._connection.abort()

    def close(self) -> None:
        """Close the connection; commands without a reply fail, as do later ones.  Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._fail([*self._sent, *self._unsent], ConnectionError("the client is closed"))

    def _flush_soon(self) -> None:
        if not self._flushing and self._loop is not None:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits, or connect first."""
        self._flushing = False
        if self._closed or self._loop is None:
            return
        ready = self._unsent = deque(asked for asked in self._unsent if not asked.answered.done())
        if not ready or self._connection is None:
            if ready and self._connecting is None:
                self._connecting = self._loop.create_task(self._reconnect(), name="connect to Redis")
            return
        new = {digest for asked in ready for digest in asked.scripts} - self._loaded
        try:
            if new:
                loads = b"".join([pack("SCRIPT", "LOAD", _texts[digest]) for digest in new])
                self._connection.send(loads, self._on_loaded, len(new))
                self._loaded |= new
            packed = b"".join([asked.packed for asked in ready])
            self._connection.send(packed, self._on_reply, sum([asked.count for asked in ready]))
        except ConnectionError:  # the peer has closed it a moment ago
            self._connection.abort()
            return
        now_s = self._loop.time()
        for asked in ready:
            asked.sent_s = now_s
        self._sent.extend(ready)
        self._unsent = deque()

    async def _reconnect(self) -> None:
        try:
            connection = await self._connected()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            self._connecting = None
            self.silent = self.silent or isinstance(error, TimeoutError)
            self._fail([*self._unsent], error)
            return
        self._connecting = None
        self._connection = connection
        self._loaded.clear()
        connection.on_lost = functools.partial(self._lose, connection)
        if connection.lost.is_set():
            self._lose(connection)
        self._flush()

    async def _connected(self) -> RedisConnection:
        try:
            return await self._connect()
        except TimeoutError:
            raise
        except OSError:
            await asyncio.sleep(AGAIN_SECONDS)
            return await self._connect()

    def _on_loaded(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):  # the script's own command is refused for the same reason
            self._loaded.clear()

    def _on_reply(self, reply: Any) -> None:
        asked = self._sent[0]
        asked.replies.append(reply)
        if len(asked.replies) < asked.count:
            return
        self._sent.popleft()
        self.silent = False
        errors = [str(reply) for reply in asked.replies if isinstance(reply, hiredis.ReplyError)]
        if not errors or not self._moved(asked, errors):
            asked.settle(asked.replies)

    def _moved(self, asked: _Asked, errors: list[str]) -> bool:
        """Act on answers that concern the connection, not the command.  True: the command is sent again."""
        unloaded = any(error.startswith("NOSCRIPT") for error in errors)
        leave = any(away_kind(error) in LEAVE_KINDS for error in errors)
        if unloaded:
            self._loaded.clear()
        if leave:
            self.leave()
        if not (unloaded or leave) or asked.repeated:
            return False
        asked.repeated = True
        asked.replies = []
        self._unsent.appendleft(asked)
        self._flush_soon()
        return True

    def _lose(self, connection: RedisConnection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        unanswered, self._sent = self._sent, deque()
        again = [asked for asked in unanswered if not asked.repeated]
        self._fail([asked for asked in unanswered if asked.repeated], ConnectionError("the connection broke twice"))
        for asked in again:
            asked.repeated = True
            asked.replies = []
        self._unsent.extendleft(reversed(again))
        self._on_lost()
        if self._unsent:
            self._flush_soon()

    def _watch(self) -> None:
        """Fail the commands whose deadline has passed, and give up a connection that does not answer."""
        assert self._loop is not None and self._timer is not None
        now_s = self._loop.time()
        if now_s - self._timer.when() > LATE_SECONDS:
            self._timer = self._loop.call_later(AGAIN_SECONDS, self._watch)
            return
        overdue = [asked for asked in (*self._sent, *self._unsent) if asked.due_s <= now_s]
        for asked in overdue:
            self.silent = self.silent or not asked.answered.done()
            asked.settle(TimeoutError("Redis does not answer"))
        if self._sent and (self._sent[0].due_s <= now_s or self._sent[0].sent_s + SILENT_SECONDS <= now_s):
            self.leave()
        self._unsent = deque(asked for asked in self._unsent if not asked.answered.done())
        due_s = [asked.due_s for asked in (*self._sent, *self._unsent)]
        if self._sent:
            due_s.append(self._sent[0].sent_s + SILENT_SECONDS)
        self._timer = self._loop.call_at(min(due_s), self._watch) if due_s else None

    def _fail(self, those: list[_Asked], error: Exception) -> None:
        for asked in those:
            asked.settle(error)
        self._unsent = deque(asked for asked in self._unsent if not asked.answered.done())
