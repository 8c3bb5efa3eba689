"""Implements one connection to Redis without awaits: many commands in one write, replies to callbacks, in order.

CPU time of an append: 65-80 us if awaited with redis-py, 15 us in a redis-py pipeline of 100, 3.5 us here
(docs/adr/0001-own-redis-wire.md).  The bus and the call store are built on it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import hiredis

from common.redis.url import Login

OnReply: TypeAlias = Callable[[Any], None]
"""Takes one reply, which may be a `hiredis.ReplyError`."""

CONNECT_SECONDS = 2.0
CALL_SECONDS = 2.0
"""Deadline of one awaited command, unless it blocks on purpose."""
UNACKNOWLEDGED_MS = 4000
"""Time after which the kernel closes a connection whose peer acknowledges nothing (Linux): none stays half open."""


def pack(*command: bytes | str | int) -> bytes:
    """One command, encoded in the Redis protocol."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub allows one-word commands only
    return packed


class RedisConnection(asyncio.Protocol):
    """A connection made by `connect`.  `lost` is set when it breaks; it is not made again."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[OnReply] = deque()
        self._calls: set[asyncio.Future[Any]] = set()
        self._transport: asyncio.Transport | None = None
        self._refusal: hiredis.ReplyError | None = None
        self.lost = asyncio.Event()
        self.on_lost: Callable[[], None] = _nothing
        """Called once, at the moment when the connection is lost or closed."""
        self.client_id = 0
        self.peer: tuple[str, int] | str = ""
        """The address of the server, as the search for the primary named it (primary.py)."""

    def send(self, packed: bytes, on_reply: OnReply, replies: int) -> None:
        """Write commands made by `pack`; `on_reply` is called once for each of their replies.

        It is not called after the connection is lost, so a sender that must know keeps what it sent until the reply.
        Raises ConnectionError if the connection is lost.
        """
        if self._transport is None or self.lost.is_set() or self._transport.is_closing():
            raise ConnectionError("the connection to Redis is lost")
        self._waiting.extend([on_reply] * replies)
        self._transport.write(packed)

    async def call(self, *command: bytes | str | int, seconds: float = CALL_SECONDS) -> Any:
        """The reply to one command.

        Raises hiredis.ReplyError, ConnectionError, or TimeoutError after `seconds`; the last loses the connection.
        """
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(reply: Any) -> None:
            if not answered.done():
                answered.set_result(reply)

        if self._refusal is not None:
            raise self._refusal
        self.send(pack(*command), settle, 1)
        self._calls.add(answered)
        try:
            async with asyncio.timeout(seconds):
                reply = await answered
        except (TimeoutError, asyncio.CancelledError):
            self.abort()  # a late reply would be taken for that of the next command
            raise
        finally:
            self.forget(answered)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def promise(self) -> asyncio.Future[Any]:
        """A future for the caller to settle, which raises ConnectionError once the connection is lost; `forget` it."""
        promised: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls.add(promised)
        if self.lost.is_set():
            self._lose()
        return promised

    def forget(self, promised: asyncio.Future[Any]) -> None:
        """The holder of a `promise` waits no more."""
        self._calls.discard(promised)

    def close(self) -> None:
        """Send what is still unsent, then close.  Idempotent."""
        self._lose()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close without sending what is unsent, which would keep the socket open for a dead peer.  Idempotent."""
        self._lose()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class does not inherit from asyncio's
        if self.lost.is_set():
            self._transport.abort()
            return
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while not self.lost.is_set() and (reply := self._reader.gets()) is not False:
            if not self._waiting:  # no command asked: it refuses the connection (protected mode, too many clients)
                self._refusal = reply if isinstance(reply, hiredis.ReplyError) else None
                self.abort()
                return
            self._waiting.popleft()(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()

    def _lose(self) -> None:
        newly = not self.lost.is_set()
        self.lost.set()
        for answered in self._calls:
            if not answered.done():
                answered.set_exception(self._refusal or ConnectionError("the connection to Redis is lost"))
        if newly:
            self.on_lost()


def _nothing() -> None:
    """Nobody wants to know."""


async def connect(address: tuple[str, int] | str, login: Login, tls: bool, ca: str = "") -> RedisConnection:
    """Connect to a host and port, or to the path of a socket, and log in.

    With `tls` the server's certificate and name are verified, by the authorities in the file `ca` or the system's.
    Raises OSError, TimeoutError, or hiredis.ReplyError for a wrong password.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        if isinstance(address, str):
            _, connection = await loop.create_unix_connection(RedisConnection, address)
        else:
            context = ssl.create_default_context(cafile=ca or None) if tls else None
            _, connection = await loop.create_connection(RedisConnection, *address, ssl=context)
    try:
        if login.password:
            await connection.call("AUTH", login.user or "default", login.password)
    except BaseException:
        connection.abort()
        raise
    return connection
