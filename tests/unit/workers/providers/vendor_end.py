"""The vendor's end of a `VendorSocket`, in memory: the same protocol, no network, any bytes at any time."""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from workers.providers.vendor_socket import VendorSocket
from workers.providers.websocket import MESSAGE_BYTES_MAX


class VendorEnd(asyncio.Transport):
    """The transport that the socket writes to, and the server that reads from it."""

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX, headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.socket = VendorSocket(
            ClientProtocol(parse_uri("ws://vendor/x"), max_size=message_bytes_max), headers or {}
        )
        self.server = ServerProtocol(max_size=None)
        self.received: list[str | bytes] = []
        self.closed_with: int | None = None
        """The code of the socket's close frame."""
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.request: Request | None = None
        self.reads = True
        """False: the vendor takes nothing, and what the socket writes is unsent."""
        self.cut = False
        self.paused = False
        self._unsent = bytearray()
        self._high = 0
        self._over = False

    # --- as the vendor ---

    def accept(self) -> VendorEnd:
        """Shake hands."""
        self.socket.connection_made(self)
        assert self.request is not None
        self.server.send_response(self.server.accept(self.request))
        self.socket.data_received(b"".join(self.server.data_to_send()))
        return self

    def sends(self, *messages: str | bytes) -> None:
        """Send whole messages, each as it comes."""
        for message in messages:
            opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
            self.bytes(frame(opcode, message.encode() if isinstance(message, str) else message))

    def bytes(self, data: bytes) -> None:
        """Send bytes, right or wrong."""
        if not self.cut and not self._over:
            self.socket.data_received(data)

    def ends(self) -> None:
        """End the TCP connection, as a process that dies."""
        self.socket.eof_received()
        self._lose()

    def reads_again(self) -> None:
        """Take all that waits."""
        self.reads = True
        data, self._unsent = bytes(self._unsent), bytearray()
        self._take(data)
        self.socket.resume_writing()

    def _take(self, data: bytes) -> None:
        self.server.receive_data(data)
        for event in self.server.events_received():
            if isinstance(event, Request):
                self.request = event
                continue
            assert isinstance(event, Frame)
            payload = bytes(event.data)
            match event.opcode:
                case Opcode.TEXT:
                    self.received.append(payload.decode())
                case Opcode.BINARY:
                    self.received.append(payload)
                case Opcode.PING:
                    self.pings.append(payload)
                case Opcode.PONG:
                    self.pongs.append(payload)
                case Opcode.CLOSE:
                    self.closed_with = int.from_bytes(payload[:2], "big")
        self.server.data_to_send()  # its answers are the test's business

    def _lose(self) -> None:
        if not self._over:
            self._over = True
            asyncio.get_running_loop().call_soon(self.socket.connection_lost, None)

    # --- as the transport ---

    def write(self, data: Any) -> None:
        assert not self._over, "written to a closed transport"
        if self.reads:
            self._take(bytes(data))
            return
        self._unsent += data
        if len(self._unsent) > self._high:
            self.socket.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def is_closing(self) -> bool:
        return self._over

    def close(self) -> None:
        self._lose()

    def abort(self) -> None:
        self.cut = True
        self._lose()

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bool = False) -> bytes:
    """One frame from a server, with whatever faults."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    masked = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([masked | len(payload)])
    elif len(payload) < 65536:
        head += bytes([masked | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + len(payload).to_bytes(8, "big")
    return head + (bytes(4) if mask else b"") + payload
