"""WebSocket and streamed HTTP as callbacks on asyncio's transports: the least that a Python process can do.

For stand-ins on loopback only: no extensions, no fragments, no limits, and frames of a client masked with zeros.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
UNMASKED = bytes(4)
Received = Callable[[bytes], None]


class BareWebSocket(asyncio.Protocol):
    """One end of a WebSocket; `opened` is done after the handshake, `ended` after the connection."""

    def __init__(self, received: Received, request: bytes = b"") -> None:
        """With a `request` it is a client's end, which sends it first."""
        self.received = received
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._rest = b""
        self._mask = 0x80 if request else 0
        self._zeros = UNMASKED if request else b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._request:
            transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        for done in (self.opened, self.ended):
            if not done.done():
                done.set_result(None)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            self._shake_hands(head)
        self._rest = self._frames(data)

    def send(self, kind: int, payload: bytes) -> None:
        """Send one frame."""
        size = len(payload)
        if size < 126:
            head = bytes((kind, self._mask | size))
        else:
            head = bytes((kind, self._mask | 126, size >> 8, size & 255))
        self._transport.write(head + self._zeros + payload)

    def close(self) -> None:
        """Close the connection without waiting for the other end."""
        self._transport.close()

    def _shake_hands(self, head: bytes) -> None:
        if self._request:
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(ConnectionError(f"expected an upgrade, got {head[:40]!r}"))
                return
        else:
            key = head.lower().partition(b"sec-websocket-key:")[0]
            key = head[len(key) + 18 :].partition(b"\r\n")[0].strip()
            accept = b64encode(hashlib.sha1(key + ACCEPT, usedforsecurity=False).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        self.opened.set_result(None)

    def _frames(self, data: bytes) -> bytes:
        """Deliver the whole frames, and return the rest."""
        at, end = 0, len(data)
        while end - at >= 2:
            size, body = data[at + 1], at + 2
            masked, size = size & 0x80, size & 0x7F
            if size >= 126:
                body += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : body], "big")
            if masked:
                body += 4
            if body + size > end:
                break
            payload = data[body : body + size]
            if masked and (mask := data[body - 4 : body]) != UNMASKED:
                payload = bytes(byte ^ mask[number & 3] for number, byte in enumerate(payload))
            match data[at]:
                case 0x81 | 0x82:
                    self.received(payload)
                case 0x89:
                    self.send(PONG, payload)
                case 0x88:
                    self.send(CLOSE, payload)
                    self.close()
            at = body + size
        return data[at:]


class BareEvents(asyncio.Protocol):
    """A connection to an HTTP server that answers a POST by server-sent events; one request at a time."""

    def __init__(self, received: Received) -> None:
        """`received` gets the data of each event: JSON, or `[DONE]`."""
        self._received = received
        self._rest = b""
        self.closed = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.closed = False

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True

    def data_received(self, data: bytes) -> None:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            _, found, text = event.rpartition(b"data: ")
            if found:
                self._received(text)

    def post(self, head: bytes, body: bytes) -> None:
        """Send a request; `head` ends before its Content-Length."""
        self._rest = b""
        self._transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def close(self) -> None:
        """Break the connection off, with whatever is still to come."""
        if not self.closed:
            self._transport.abort()
        self.closed = True


def client_request(url: str, header: str) -> bytes:
    """Return the head of a WebSocket handshake."""
    parts = urlsplit(url)
    return (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"{header}\r\n\r\n"
    ).encode()
