"""Opens a vendor's WebSocket within a deadline, and turns refusals into the three errors of interfaces.py.

Addresses are remembered, so that a name server that does not answer delays only the first connection to a host.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from workers.providers.http_status import refused
from workers.providers.interfaces import Down

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
MESSAGES_WAITING_MAX = 64
"""Most messages of a vendor that wait; beyond it the socket is not read."""
CLOSE_SECONDS = 1.0
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


@functools.cache
def tls() -> ssl.SSLContext:
    """The TLS context of the process; reading the certificate store takes 20 ms of the event loop's time."""
    return ssl.create_default_context()


async def open_socket(
    name: str,
    url: str,
    headers: Mapping[str, str],
    seconds: float,
    key_variable: str,
    addresses: Addresses = _addresses,
) -> ClientConnection:
    """A connected socket.  `name` and `key_variable` ("deepgram/nova-3", "DEEPGRAM_API_KEY") are for error texts.

    Raises Busy (429), Rejected (other 4xx) or Down; the texts have neither key nor URL.  Close it with `close_socket`.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(seconds):
            address = await addresses.find(parts.hostname or "", port, seconds)
            return await connect(
                url,
                host=address,
                port=port,
                additional_headers=dict(headers),
                ssl=tls() if secure else None,
                server_hostname=parts.hostname if secure else None,
                compression=None,  # mu-law does not shrink, and the attempt costs CPU for every 20 ms frame
                max_size=MESSAGE_BYTES_MAX,
                max_queue=MESSAGES_WAITING_MAX,
                open_timeout=None,
                close_timeout=CLOSE_SECONDS,
                ping_interval=None,  # `answers_ping` tests a doubtful socket sooner than a regular ping would
                proxy=None,
            )
    except InvalidStatus as error:
        raise refused(name, error.response.status_code, key_variable) from None
    except (TimeoutError, OSError, InvalidHandshake, ConnectionClosed) as error:
        addresses.doubt(parts.hostname or "", port)
        reason = "did not answer in time" if isinstance(error, TimeoutError) else "cannot be reached"
        raise Down(f"{name} {reason} ({type(error).__name__})") from None


async def answers_ping(connection: ClientConnection, seconds: float = PONG_SECONDS) -> bool:
    """Whether the peer answers a ping within `seconds`.  A vendor without results is silent, and not dead."""
    try:
        async with asyncio.timeout(seconds):
            await (await connection.ping())
    except (TimeoutError, ConnectionClosed):
        return False
    return True


async def close_socket(connection: ClientConnection) -> None:
    """Close, waiting at most `CLOSE_SECONDS` for the vendor; the socket is closed in any case."""
    try:
        await connection.close()
    finally:
        connection.transport.abort()
