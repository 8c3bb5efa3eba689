"""The carrier's side of many WebSockets at low cost: raw sockets, one epoll loop, prebuilt frames.

Frames are masked with zeros, which the protocol allows and which costs the server as much as any mask.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from array import array
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

FRAME_NS = 20_000_000
FRAME_BYTES = 160
CONNECT_SECONDS = 10.0
HEAD_BYTES_MAX = 8192
READ_BYTES = 65536
TEXT, PING = 0x81, 0x89
CLOSE = b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big")
"""A close frame with code 1000, masked with zeros."""


class LineBroken(Exception):
    """The server closed a socket, or has stopped to read it."""


class BareSocket:
    """One media stream; the constructor connects, upgrades and sends `start`.  Raises LineBroken without a server."""

    def __init__(self, port: int, call_id: str, path: str = "/ws") -> None:
        self.sent_bytes = self.received_bytes = 0
        self._socket = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = self._upgrade(path)
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
        self.say({"event": "start", "start": {"callId": call_id, "streamId": call_id, "mediaFormat": media_format}})
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the file descriptor, for epoll."""
        return self._socket.fileno()

    def say(self, message: dict[str, Any]) -> None:
        """Send one message."""
        self.send(masked(json.dumps(message).encode()))

    def send(self, frame: bytes | bytearray) -> None:
        """Send a whole frame.  Raises LineBroken if the server is too far behind to take it: the run has failed."""
        try:
            whole = self._socket.send(frame) == len(frame)
        except BlockingIOError:
            whole = False
        if not whole:
            raise LineBroken("the server has stopped reading its socket")
        self.sent_bytes += len(frame)

    def texts(self) -> Iterator[bytes]:
        """Yield the received text messages and answer pings.  Raises LineBroken at the end of the connection."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise LineBroken("the server closed a socket")
        self.received_bytes += len(data)
        data = self._rest + data
        at = 0
        while len(data) - at >= 4:
            length, body = data[at + 1], at + 2
            if length == 126:
                length, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < body + length:
                break
            if data[at] == TEXT:
                yield data[body : body + length]
            elif data[at] == PING:
                self.send(bytes([0x8A, 0x80 | length]) + bytes(4) + data[body : body + length])
            at = body + length
        self._rest = data[at:]

    def hang_up(self) -> None:
        """Send `stop` and a close frame: without `stop` the edge keeps the call for 15 s and waits for a new socket."""
        with contextlib.suppress(OSError, LineBroken):
            self.say({"event": "stop"})
            self.send(CLOSE)

    def close(self) -> None:
        """Read the server's close frame, then close the socket."""
        self._socket.settimeout(CONNECT_SECONDS)
        with contextlib.suppress(OSError):
            while self._socket.recv(READ_BYTES):
                pass
        self._socket.close()

    def _upgrade(self, path: str) -> bytes:
        """Do the WebSocket handshake and return the bytes behind it.  Raises LineBroken."""
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\n".encode() + b"Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
            data = self._socket.recv(READ_BYTES)
            if not data:
                break
            head += data
        if not head.startswith(b"HTTP/1.1 101 "):
            raise LineBroken(f"expected an upgrade, got {head[:20]!r}")
        return head.partition(b"\r\n\r\n")[2]


class Talker(Protocol):
    """A caller with a socket.  All times are `time.monotonic_ns`."""

    socket: BareSocket

    def speak(self, now: int) -> None:
        """Send the next 20 ms."""

    def hear(self, now: int) -> None:
        """Read the received messages."""


def talk(talkers: Sequence[Talker], start_ns: int, end_ns: int, lateness: array[int]) -> None:
    """Have each caller speak every 20 ms, spread evenly on an absolute clock; append each frame's `lateness` in ns."""
    by_fd = {talker.socket.fileno(): talker for talker in talkers}
    sent = 0
    due = start_ns
    with select.epoll() as poll:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        while (now := time.monotonic_ns()) < end_ns:
            while due <= now:
                moment = time.monotonic_ns()
                talkers[sent % len(talkers)].speak(moment)
                lateness.append(moment - due)
                sent += 1
                due = start_ns + sent * FRAME_NS // len(talkers)
            for fd, _ in poll.poll(max(0, due - time.monotonic_ns()) / 1e9):
                by_fd[fd].hear(time.monotonic_ns())


def masked(text: bytes) -> bytes:
    """Return a client's text frame, masked with zeros."""
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return bytes([TEXT]) + size + bytes(4) + text


def media_frame(call_id: str, mulaw: bytes) -> bytes:
    """Return a `media` message in the carrier's form."""
    media = {"track": "inbound", "timestamp": "1700000000000", "chunk": 1000, "payload": b64encode(mulaw).decode()}
    message = {"sequenceNumber": 1000, "streamId": call_id, "event": "media", "media": media, "extra_headers": "{}"}
    return masked(json.dumps(message, separators=(",", ":")).encode())
