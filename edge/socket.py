"""The WebSocket itself: uvicorn's protocol with a shortcut past ASGI for the media.

Handshake, refusal, ping, close and limits are uvicorn's and websockets' own.  Once a call is attached, its text
messages go to a plain callback, and all frames due together leave in one write.  Through ASGI every message would cost
a queue, an await and a write of its own (docs/adr/0003-media-past-asgi.md has the measurement).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from common import metrics

CLEAN_CODES = (1000, 1001, 1005)
"""What Vobiz closes with when the call is over, and proxies when it is not; anything else, or nothing, is a break."""
EXTENSION = "voice.line"
"""Key in the ASGI scope's `extensions` under which the connection offers itself as a `Line`."""


class LineProtocol(WebSocketsSansIOProtocol):
    """One WebSocket, usable as ASGI says or, after `attach`, as an `edge.line.Line`."""

    _heard = True
    """Has anything come since the last ping went out?"""
    _receive_text: Callable[[bytes], None] | None = None
    _receive_binary: Callable[[], None]
    _receive_close: Callable[[bool | None], None]

    def attach(
        self, on_text: Callable[[bytes], None], on_binary: Callable[[], None], on_close: Callable[[bool | None], None]
    ) -> None:
        """From now on text messages, refused binary ones, and the end of the socket are told by callback.

        `on_close(clean)`: the peer said goodbye, or the connection just broke; None: we closed it, because the peer
        speaks no WebSocket.  It may be called twice.
        """
        self._receive_text, self._receive_binary, self._receive_close = on_text, on_binary, on_close
        while not self.queue.empty():
            message: dict[str, Any] = dict(self.queue.get_nowait())
            if message["type"] == "websocket.disconnect":
                on_close(message.get("code") in CLEAN_CODES)
            elif (text := message.get("text")) is not None:
                on_text(text.encode())
            else:
                on_binary()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def send_texts(self, messages: list[bytes]) -> None:
        """Write these text messages at once.  On a socket that is closing it does nothing."""
        if self.close_sent or self.transport.is_closing():
            return
        try:
            for message in messages:
                self.conn.send_text(message)
        except InvalidState:
            return
        self.transport.write(b"".join(self.conn.data_to_send()))

    def end(self, code: int = 1000) -> None:
        """Close with the closing handshake; the peer gets `close_timeout` seconds for its part."""
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    # --- uvicorn's hooks ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)

    def send_keepalive_ping(self) -> None:
        self._heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """No pong.  A peer that sends media is there all the same, whatever it or a proxy does with our pings."""
        if not self._heard:
            super().keepalive_timeout()
            return
        self.pong_timer = self.pending_ping_payload = None
        self.schedule_ping()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][EXTENSION] = cast(Any, self)

    def handle_text(self, event: Frame) -> None:
        if self._receive_text is not None and event.fin and not self.close_sent:
            self._receive_text(bytes(event.data))
        else:
            super().handle_text(event)

    def send_receive_event_to_app(self) -> None:
        if self._receive_text is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        data = b"".join(self.frames)
        self.frames = []
        if self.curr_msg_data_type == "text":
            self._receive_text(data)
        else:
            self._receive_binary()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        if self._receive_text is not None:
            received = self.conn.close_rcvd
            self._receive_close(received is not None and received.code in CLEAN_CODES)

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        too_large = self.conn.close_sent is not None and self.conn.close_sent.code == CloseCode.MESSAGE_TOO_BIG
        metrics.BAD_INPUT.labels("message too large" if too_large else "bad websocket frame").inc()
        if self._receive_text is not None:
            self._receive_close(None)  # whoever sends this is not served again

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._receive_text is not None:
            self._receive_close(False)
