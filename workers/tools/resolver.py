"""Resolves the hosts of tools' URLs to addresses that they may reach; the decision is in addresses.py."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection

from aiohttp.abc import AbstractResolver, ResolveResult

from workers.tools.addresses import bare, literal_refusal, refusal

RESOLVE_S = 5.0
"""Deadline of one resolution, below that of the whole request."""
ADDRESSES_MAX = 8
"""Most addresses of one host that are tried."""


class AddressRefused(OSError):
    """A tool may not reach the host; the text says why, and names neither host nor address."""


async def allowed_addresses(host: str, port: int, private_hosts: Collection[str]) -> list[tuple[int, str]]:
    """(family, address) of the host, all of them allowed.  Raises AddressRefused, OSError and TimeoutError.

    One forbidden address among them is enough to refuse the host: nobody publishes both by accident.
    """
    if why := literal_refusal(host, private_hosts):
        raise AddressRefused(why)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_S):
        found = await loop.getaddrinfo(bare(host), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((int(family), str(sockaddr[0])) for family, _, _, _, sockaddr in found))
    if not addresses:
        raise OSError("the host has no address")
    for _, address in addresses:
        if why := refusal(host, address, private_hosts):
            raise AddressRefused(why)
    return addresses[:ADDRESSES_MAX]


class GuardedResolver(AbstractResolver):
    """Gives aiohttp the addresses to connect to, so that it connects to the very ones that were checked."""

    def __init__(self, private_hosts: Collection[str]) -> None:
        self._private_hosts = private_hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The host's addresses.  Raises as `allowed_addresses` does."""
        found = await allowed_addresses(host, port, self._private_hosts)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=one, proto=0, flags=socket.AI_NUMERICHOST)
            for one, address in found
        ]

    async def close(self) -> None:
        """There is nothing to close."""
