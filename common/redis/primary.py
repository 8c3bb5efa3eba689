"""Connects to the server that accepts writes now, as the bus and the call store do for every connection.

Without sentinels it is the server of the URL.  With sentinels each is asked in turn; one that does not answer costs
`ASK_SECONDS`.  A server that they name must answer and report that it is a primary (ROLE): a sentinel may be behind, a
DNS name may be for longer, and a replica would refuse every write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

import hiredis

from common.redis.connection import CALL_SECONDS, RedisConnection, connect
from common.redis.refusals import away_kind
from common.redis.url import RedisTarget

log = logging.getLogger(__name__)

ASK_SECONDS = 0.5
"""Deadline of one sentinel's answer with the connect, and of the ROLE of the server that it names."""

Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a socket."""


class NoPrimary(ConnectionError):
    """No server accepts writes now."""


async def open_primary(target: RedisTarget, name: str) -> RedisConnection:
    """Find the primary, connect, log in, select the database and set the client's name.

    Raises NoPrimary, OSError, TimeoutError or hiredis.ReplyError.
    """
    peer, connection = await _first(target)
    connection.peer = peer
    try:
        if target.db:
            await connection.call("SELECT", target.db)
        await connection.call("CLIENT", "SETNAME", name)
        connection.client_id = await connection.call("CLIENT", "ID")
    except BaseException:
        connection.abort()
        raise
    return connection


async def _first(target: RedisTarget) -> tuple[Address, RedisConnection]:
    """The first candidate that is a primary, with its connection.  Raises the last candidate's error if none is."""
    failed: Exception = NoPrimary("no sentinel knows the primary")
    async with aclosing(_candidates(target)) as addresses:
        async for address in addresses:
            try:
                return address, await _verified(address, target)
            except (OSError, TimeoutError, hiredis.ReplyError) as error:
                failed = error
    raise failed


async def _candidates(target: RedisTarget) -> AsyncGenerator[Address, None]:
    if not target.set:
        yield target.path or target.hosts[0]
        return
    named: set[Address] = set()
    for sentinel in target.hosts:
        address = await _ask(sentinel, target)
        if address and address not in named:
            named.add(address)
            yield address


async def _ask(sentinel: tuple[str, int], target: RedisTarget) -> Address | None:
    connection = None
    try:
        async with asyncio.timeout(ASK_SECONDS):
            connection = await connect(sentinel, target.sentinel_login, target.tls, target.ca)
            known = await connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.set)
    except (OSError, TimeoutError, hiredis.ReplyError) as error:
        log.warning("a sentinel does not answer (%s)", type(error).__name__)
        return None
    finally:
        if connection is not None:
            connection.abort()
    return (known[0].decode(), int(known[1])) if known else None


async def _verified(address: Address, target: RedisTarget) -> RedisConnection:
    connection = await connect(address, target.login, target.tls, target.ca)
    try:
        # A frozen server accepts the connection at once and answers when it thaws, and still calls itself the
        # primary: the sentinels correct it only after that.  So the answer must come soon.
        role = await connection.call("ROLE", seconds=ASK_SECONDS if target.set else CALL_SECONDS)
        if role[0] != b"master":
            raise NoPrimary("the server is a replica")
    except hiredis.ReplyError as error:
        if away_kind(str(error)):
            connection.abort()
            raise
        # Without permission to ask (an ACL, a proxy without the command) the URL has to be believed.
    except BaseException:
        connection.abort()
        raise
    return connection
