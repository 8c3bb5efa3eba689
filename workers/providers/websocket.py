"""Opens a vendor's WebSocket within a deadline, and turns refusals into the three errors of interfaces.py.

Addresses are remembered, so that a name server that does not answer delays only the first connection to a host.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.uri import parse_uri

from workers.providers.http_status import refused
from workers.providers.interfaces import Down
from workers.providers.tls import tls
from workers.providers.vendor_socket import SocketClosed, VendorSocket

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
PONG_SECONDS = 3.0
"""How long a doubtful socket has to answer a ping."""
ADDRESS_SECONDS = 60.0
"""How long an address is used without asking again."""


class Addresses:
    """Remembers the addresses of hosts; an old answer is better than none."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[float, str]] = {}

    async def find(self, host: str, port: int, seconds: float) -> str:
        """An address of `host`.  Raises OSError or TimeoutError if it was never resolved."""
        loop = asyncio.get_running_loop()
        found_at, address = self._known.get((host, port), (0.0, ""))
        if address and loop.time() - found_at < ADDRESS_SECONDS:
            return address
        try:
            async with asyncio.timeout(seconds):
                infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            address = str(infos[0][4][0])
        except (OSError, TimeoutError):
            if not address:
                raise
        self._known[(host, port)] = (loop.time(), address)
        return address

    def doubt(self, host: str, port: int) -> None:
        """Resolve the host again next time: a connection failed, and the vendor may have moved."""
        if (host, port) in self._known:
            self._known[(host, port)] = (-ADDRESS_SECONDS, self._known[(host, port)][1])


_addresses = Addresses()


async def open_socket(
    name: str,
    url: str,
    headers: Mapping[str, str],
    seconds: float,
    key_variable: str,
    addresses: Addresses = _addresses,
) -> VendorSocket:
    """A connected socket, without compression or proxy; redirections are not followed.

    `name` and `key_variable` ("deepgram/nova-3", "DEEPGRAM_API_KEY") are for error texts.

    Raises Busy (429), Rejected (other 4xx) or Down; the texts have neither key nor URL.  The owner closes it.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(seconds):
            address = await addresses.find(host, port, seconds)
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: VendorSocket(ClientProtocol(parse_uri(url), max_size=MESSAGE_BYTES_MAX), headers),
                address,
                port,
                ssl=tls() if secure else None,
                server_hostname=host if secure else None,
            )
            try:
                await connection.opened
            except BaseException:
                connection.abort()
                raise
            return connection
    except InvalidStatus as error:
        raise refused(name, error.response.status_code, key_variable) from None
    except (TimeoutError, OSError, InvalidHandshake) as error:
        addresses.doubt(host, port)
        reason = "did not answer in time" if isinstance(error, TimeoutError) else "cannot be reached"
        raise Down(f"{name} {reason} ({type(error).__name__})") from None


async def answers_ping(connection: VendorSocket, seconds: float = PONG_SECONDS) -> bool:
    """Whether the peer answers a ping within `seconds`.  A vendor without results is silent, and not dead."""
    pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    try:
        connection.ping(lambda answered: None if pong.done() else pong.set_result(answered))
        async with asyncio.timeout(seconds):
            return await pong
    except (TimeoutError, SocketClosed):
        return False
