"""Which server may be written to, right now: asked at every connect, by the bus and by the ledger alike.

Without sentinels it is the server of the URL.  With them, each is asked in turn; one that does not answer costs
`ASK_SECONDS`.  Whoever is named must answer, and call itself a primary (ROLE), before it is believed: a sentinel may
be behind, a name in DNS for longer, and a replica would refuse every write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

import hiredis

from common.redis.connection import CALL_SECONDS, Wire, connect
from common.redis.refusals import away_kind
from common.redis.url import Place

log = logging.getLogger(__name__)

ASK_SECONDS = 0.5
"""How long one sentinel may take to say who the primary is, connection included; and the one it names, its role."""

Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a socket."""


class NoPrimary(ConnectionError):
    """Nobody can be written to now."""


async def find_primary(place: Place) -> Address:
    """The address of a server that answers and is a primary.  Raises like `open_primary`."""
    address, wire = await _first(place)
    wire.close()
    return address


async def open_primary(place: Place, name: str) -> Wire:
    """Find the primary, connect, log in, select the database, and be listed there as `name`.

    Raises OSError, TimeoutError or hiredis.ReplyError.
    """
    peer, wire = await _first(place)
    wire.peer = peer
    try:
        if place.db:
            await wire.call("SELECT", place.db)
        await wire.call("CLIENT", "SETNAME", name)
        wire.client_id = await wire.call("CLIENT", "ID")
    except BaseException:
        wire.abort()
        raise
    return wire


async def _first(place: Place) -> tuple[Address, Wire]:
    """The first candidate that is a primary; without one, the last candidate's error."""
    failed: Exception = NoPrimary("no sentinel knows the primary")
    async with aclosing(_candidates(place)) as addresses:
        async for address in addresses:
            try:
                return address, await _verified(address, place)
            except (OSError, TimeoutError, hiredis.ReplyError) as error:
                failed = error
    raise failed


async def _candidates(place: Place) -> AsyncGenerator[Address, None]:
    if not place.set:
        yield place.path or place.hosts[0]
        return
    told: set[Address] = set()
    for sentinel in place.hosts:
        address = await _ask(sentinel, place)
        if address and address not in told:
            told.add(address)
            yield address


async def _ask(sentinel: tuple[str, int], place: Place) -> Address | None:
    wire = None
    try:
        async with asyncio.timeout(ASK_SECONDS):
            wire = await connect(sentinel, place.sentinel_login, place.tls, place.ca)
            known = await wire.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.set)
    except (OSError, TimeoutError, hiredis.ReplyError) as error:
        log.warning("a sentinel does not answer (%s)", type(error).__name__)
        return None
    finally:
        if wire is not None:
            wire.abort()
    return (known[0].decode(), int(known[1])) if known else None


async def _verified(address: Address, place: Place) -> Wire:
    wire = await connect(address, place.login, place.tls, place.ca)
    try:
        # A server that was frozen takes the connection at once and answers when it thaws: that it is the primary,
        # which the sentinels will tell it otherwise only then.
        role = await wire.call("ROLE", seconds=ASK_SECONDS if place.set else CALL_SECONDS)
        if role[0] != b"master":
            raise NoPrimary("the server is a replica")
    except hiredis.ReplyError as error:
        if away_kind(str(error)):
            wire.abort()
            raise
        # Whoever may not ask (an ACL, a proxy without the command) has to believe the URL.
    except BaseException:
        wire.abort()
        raise
    return wire
