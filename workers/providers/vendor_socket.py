"""One WebSocket to a vendor: frames by plain callbacks, without a task, lock or await per frame.

`websockets` parses and checks every frame, and builds all but messages (`ClientProtocol`, which does no I/O);
`VendorSocket` moves the bytes.  docs/adr/0013-vendor-sockets.md says why, with the figures.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import (  # type: ignore[attr-defined]  # the mask is in C, if the wheel has it
    CloseCode,
    Frame,
    Opcode,
    apply_mask,
)
from websockets.http11 import USER_AGENT, Response
from websockets.protocol import State

MESSAGES_WAITING_MAX = 64
"""Most messages of a vendor that wait for `recv`; beyond it the socket is not read."""
WRITABLE_BYTES = 32 * 1024
"""With more unsent bytes than this a socket is not `writable`: four seconds of mu-law."""
UNSENT_BYTES_MAX = 1024 * 1024
"""A socket whose vendor takes nothing is cut beyond this; pongs count, which the vendor asks for."""
PINGS_MAX = 8
"""Pings without an answer; of more, the oldest is taken to be unanswered."""
FIN, MASKED = 0x80, 0x80
CLOSE_SECONDS = 1.0
"""How long a close may take; then the connection is cut."""


class SocketClosed(Exception):
    """The socket takes and gives no more messages.  The vendor's code and reason; 1006 if it closed without a code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}")
        self.code = code
        self.reason = reason


def _ignore(*_: object) -> None:
    """Stands for the callbacks of nobody."""


def _header(head: int, length: int) -> bytes:
    """The header of a masked frame without its mask.  `ClientProtocol` builds the same in twice the time."""
    if length < 126:
        return bytes((head, MASKED | length))
    if length < 65536:
        return bytes((head, MASKED | 126, length >> 8, length & 255))
    return bytes((head, MASKED | 127)) + length.to_bytes(8, "big")


class VendorSocket(asyncio.Protocol):
    """One open WebSocket.  Made by `open_socket`.

    Messages come by `recv`, in which case at most `MESSAGES_WAITING_MAX` wait, or by the callbacks of `listen`.  A
    message that breaks the protocol, or is longer than `MESSAGE_BYTES_MAX`, closes the socket.
    """

    def __init__(self, protocol: ClientProtocol, headers: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        """Done once the vendor has accepted the handshake; raises InvalidHandshake."""
        self.opened.add_done_callback(_retrieve)
        self._protocol = protocol
        self._headers = headers
        self._transport: asyncio.Transport
        self._fragments = bytearray()  # of a message that is not whole
        self._fragments_are_text = False
        self._inbox: deque[str | bytes] = deque()
        self._reader: asyncio.Future[None] | None = None  # `recv` waits
        self._paused = False  # the inbox is full
        self._on_message: Callable[[str | bytes], None] | None = None
        self._on_closed: Callable[[SocketClosed], None] = _ignore
        self._on_writable: Callable[[], None] = _ignore
        self._writable = asyncio.Event()
        self._writable.set()
        self._pings: dict[bytes, Callable[[bool], None]] = {}
        self._over = False  # no message will come
        self._lost = asyncio.Event()  # the TCP connection is gone
        self._cut: asyncio.TimerHandle | None = None

    # --- for the owner ---

    @property
    def is_open(self) -> bool:
        """True while messages can be sent."""
        return self._protocol.state is State.OPEN and not self._transport.is_closing()

    @property
    def writable(self) -> bool:
        """False while more than `WRITABLE_BYTES` wait for the vendor."""
        return self._writable.is_set()

    @property
    def unsent_bytes(self) -> int:
        """The bytes that the system has not taken; under TLS, without those that are encrypted already."""
        return self._transport.get_write_buffer_size()

    def send(self, message: str | bytes) -> None:
        """Send a message and return at once; while not `writable`, it waits behind others.  Raises SocketClosed."""
        if not self.is_open:
            raise self._closed()
        if isinstance(message, str):
            head, message = FIN | Opcode.TEXT, message.encode()
        else:
            head = FIN | Opcode.BINARY
        mask = os.urandom(4)
        self._transport.write(_header(head, len(message)) + mask + apply_mask(message, mask))
        if not self._writable.is_set():
            self._cut_if_stuck()

    async def send_within(self, message: str | bytes, seconds: float) -> None:
        """Send a message and wait until the socket is writable.  Raises SocketClosed; TimeoutError after `seconds`."""
        self.send(message)
        if not self.writable:
            async with asyncio.timeout(seconds):
                await self._writable.wait()
            if self._over:
                raise self._closed()

    def ping(self, answered: Callable[[bool], None]) -> None:
        """Send a ping, and call `answered` with True at its pong, with False when the socket closes before.

        Raises SocketClosed.
        """
        if not self.is_open:
            raise self._closed()
        if len(self._pings) >= PINGS_MAX:
            self._pings.pop(next(iter(self._pings)))(False)
        data = os.urandom(4)
        self._pings[data] = answered
        self._protocol.send_ping(data)
        self._flush()

    def listen(
        self,
        on_message: Callable[[str | bytes], None],
        on_closed: Callable[[SocketClosed], None],
        on_writable: Callable[[], None] = _ignore,
    ) -> None:
        """Pass messages to `on_message` from now on, first those that wait.  No callback may raise.

        `on_closed` is called once, after the last message, unless `close` or `abort` was called before; `on_writable`
        each time the socket becomes writable again.
        """
        self._on_message, self._on_closed, self._on_writable = on_message, on_closed, on_writable
        while self._inbox:
            on_message(self._inbox.popleft())
        self._resume()
        if self._over:
            self._on_closed(self._closed())

    async def recv(self) -> str | bytes:
        """The next message.  Raises SocketClosed after the last.  One reader at a time."""
        while not self._inbox:
            if self._over:
                raise self._closed()
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        message = self._inbox.popleft()
        if len(self._inbox) <= MESSAGES_WAITING_MAX // 4:
            self._resume()
        return message

    async def close(self) -> None:
        """Close, waiting at most `CLOSE_SECONDS` for the vendor; the socket is closed in any case."""
        try:
            is_open = self.is_open
            self._forget()
            if is_open:
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
                self._flush()
            self._resume()
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._lost.wait()
        except TimeoutError:
            pass  # the vendor does not close
        finally:
            self._transport.abort()

    def abort(self) -> None:
        """Cut the connection at once; a reader in `recv` gets SocketClosed."""
        self._on_closed = self._on_writable = _ignore
        self._transport.abort()
        self._end()

    # --- for the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class does not inherit from asyncio's
        self._transport.set_write_buffer_limits(high=WRITABLE_BYTES)
        request = self._protocol.connect()
        request.headers.update(self._headers)
        request.headers.setdefault("User-Agent", USER_AGENT)
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._flush()  # pongs, and the answer to a close
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._receive(event)
            elif isinstance(event, Response) and not self.opened.done():
                self._finish_handshake()
        if self._protocol.state is not State.OPEN:
            self._vendor_closes()

    def eof_received(self) -> None:
        self._protocol.receive_eof()  # returning None closes the transport: nothing is sent to who sends nothing

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.receive_eof()
        self._lost.set()
        if self._cut is not None:
            self._cut.cancel()
        self._vendor_closes()
        self._on_message = self._on_writable = _ignore  # the owner is free, without the garbage collector

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        self._on_writable()

    # --- inside ---

    def _flush(self) -> None:
        transport = self._transport
        for data in self._protocol.data_to_send():
            if data:  # nothing is the end of the stream: it has been received, or the handshake has failed
                transport.write(data)
        if not self._writable.is_set():
            self._cut_if_stuck()

    def _cut_if_stuck(self) -> None:
        if self.unsent_bytes > UNSENT_BYTES_MAX:
            self._transport.abort()

    def _finish_handshake(self) -> None:
        if self._protocol.handshake_exc is not None:
            self.opened.set_exception(self._protocol.handshake_exc)
        else:
            self.opened.set_result(None)

    def _receive(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY if frame.fin:
                self._deliver(frame.data, frame.opcode is Opcode.TEXT)
            case Opcode.TEXT | Opcode.BINARY:
                self._fragments, self._fragments_are_text = bytearray(frame.data), frame.opcode is Opcode.TEXT
            case Opcode.CONT:
                self._fragments += frame.data
                if frame.fin:
                    whole, self._fragments = self._fragments, bytearray()
                    self._deliver(whole, self._fragments_are_text)
            case Opcode.PONG:
                if answered := self._pings.pop(bytes(frame.data), None):
                    answered(True)

    def _deliver(self, data: bytes | bytearray | memoryview, is_text: bool) -> None:
        if self._over:
            return  # after a message that broke the protocol, or our own close
        try:
            message = str(data, "utf-8") if is_text else bytes(data)
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "not UTF-8")
            self._flush()
            self._vendor_closes()
            return
        if self._on_message is not None:
            self._on_message(message)
            return
        self._inbox.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if len(self._inbox) >= MESSAGES_WAITING_MAX and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _vendor_closes(self) -> None:
        """Take note that the vendor closed, or must be closed; the TCP connection is cut if it does not end it."""
        if self._protocol.handshake_exc is not None and not self.opened.done():
            self._finish_handshake()
        if self._protocol.state is State.CONNECTING or self._over:
            return
        if not self._lost.is_set():
            self._cut = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
        on_closed = self._on_closed
        self._end()
        on_closed(self._closed())

    def _forget(self) -> None:
        """End for the owner: no callback from now on."""
        self._on_message = self._on_closed = self._on_writable = _ignore
        self._end()

    def _end(self) -> None:
        self._over = True
        self._on_closed = _ignore
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        self._writable.set()
        pings, self._pings = self._pings, {}
        for answered in pings.values():
            answered(False)

    def _closed(self) -> SocketClosed:
        received = self._protocol.close_rcvd
        return SocketClosed(received.code, received.reason) if received else SocketClosed(1006, "")


def _retrieve(opened: asyncio.Future[None]) -> None:
    """Take note of an error that nobody may be there to await: who opened the socket has given up."""
    if not opened.cancelled():
        opened.exception()
