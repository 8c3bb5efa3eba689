"""The media WebSocket: uvicorn's protocol with a shortcut past ASGI for the media.

Handshake, refusal, ping, close and limits are those of uvicorn and websockets.  Once a call is attached, its text
messages go to a plain callback, and all frames that are due together leave in one write.  Through ASGI every message
would cost a queue, an await and a write of its own (docs/adr/0003-media-past-asgi.md has the measurement).

A text message that was received whole does not pass the library's parser either (text_frames.py), as long as the
library holds no part of an earlier frame; everything else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event, State
from websockets.streams import StreamReader

from common.telemetry import metrics
from edge.http.limits.connections import LINGER_SECONDS, ConnectionLimits
from edge.media.stream_pace import FramePace
from edge.media.text_frames import text_frame, whole_text

CLEAN_CODES = (1000, 1001, 1005)
"""Close codes of Vobiz when the call is over, and of proxies when it is not; any other, or none, is a break."""
EXTENSION = "voice.line"
"""Key in the ASGI scope's `extensions` under which the connection offers itself as a `MediaSocketProtocol`."""
PIECE_BYTES = 4096
"""Received bytes that are parsed before their frames are counted: an empty frame has six bytes."""
FRAGMENTS_MAX = 64
"""Frames of one message; of the largest message each would have 1 KiB."""
_BETWEEN_FRAMES = StreamReader.at_eof.__code__
"""What the library's parser runs while it waits for the first byte of a frame."""
_TOO_LARGE = (HeaderLineTooLong, RequestLineTooLong, TooManyHeaders)
_NO_WEBSOCKET = b'{"error": {"code": "bad_handshake", "message": "This is no WebSocket request."}}'
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_NO_WEBSOCKET), _NO_WEBSOCKET)
)


class MediaSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket, usable through ASGI or, after `attach`, as an `edge.session.media_socket.MediaSocket`."""

    _received = True
    """Whether anything was received since the last ping was sent."""
    _receive_text: Callable[[bytes], None] | None = None
    _receive_binary: Callable[[], None]
    _receive_close: Callable[[bool | None], None]
    _handshake_failed = False
    _cut = False
    """Closed because the peer sent too much: nothing more is read."""
    waits_for_peer = False
    """A stream whose peer does not read is handled by its call (edge/session/call_limits.py)."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = ConnectionLimits.of(server_state, self.loop)
        self._pace = FramePace(self.loop.time() * 1000)

    def attach(
        self, on_text: Callable[[bytes], None], on_binary: Callable[[], None], on_close: Callable[[bool | None], None]
    ) -> None:
        """From now on report text messages, binary messages (not accepted) and the end of the socket by callback.

        `on_close(clean)` gets True after a closing handshake, False if the connection broke, and None if we closed it
        because the peer violated the WebSocket protocol.  It may be called twice.
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
        if self._cut:
            on_close(False)
        elif self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def send_texts(self, messages: list[bytes]) -> None:
        """Send text messages at once, in one write.  On a socket that is closing it does nothing."""
        if self.close_sent or self.conn.state is not State.OPEN or self.transport.is_closing():
            return
        self.transport.write(b"".join([text_frame(message) for message in messages]))

    def end(self, code: int = 1000) -> None:
        """Start the closing handshake with this code; the peer has `close_timeout` seconds to complete it."""
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def too_fast(self, reason: str) -> None:
        """Close because the peer sends more than a telephone can; to the call it is a lost connection.

        Nothing more is read: otherwise data already sent would be parsed for as long as the closing handshake may take.
        """
        if self.close_sent or self.transport.is_closing():
            return
        self._limits.too_fast(reason)
        if not self.handshake_complete:
            self.transport.abort()
            return
        self.conn.data_to_send()  # discards answers to its pings
        self.conn.send_close(CloseCode.POLICY_VIOLATION)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self._cut = True
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()  # so that the peer need not wait for us
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        if self._receive_text is not None:
            self._receive_close(False)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and that the peer has not taken yet."""
        return self.transport.get_write_buffer_size()

    # --- uvicorn's hooks ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._received = True
        at = self._take_texts(data) if self._receive_text is not None else 0
        while at < len(data) and not (self._cut or self.transport.is_closing()):
            self._take(data[at : at + PIECE_BYTES] if at or len(data) > PIECE_BYTES else data)
            at += PIECE_BYTES

    def _take_texts(self, data: bytes) -> int:
        """Deliver the whole text messages that `data` begins with; returns where the first other frame begins."""
        at, receive = 0, self._receive_text
        if receive is None or self.conn.state is not State.OPEN or not self._between_messages:
            return at
        now = self.loop.time() * 1000
        while at < len(data) and not self.close_sent:
            if (found := whole_text(data, at, self.config.ws_max_size)) is None:
                break
            if reason := self._pace.frame(now):
                self.too_fast(reason)
                break
            text, at = found
            receive(text)
        return at

    @property
    def _between_messages(self) -> bool:
        """Whether the library holds no part of a frame, and no frame of an unfinished message."""
        step: Any = self.conn.parser
        while step.gi_yieldfrom is not None:
            step = step.gi_yieldfrom
        return step.gi_code is _BETWEEN_FRAMES and self.conn.current_size is None

    def _take(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_complete:
            self._fail_handshake(self.conn.handshake_exc)

    def _fail_handshake(self, error: Exception) -> None:
        """Refuse a handshake that websockets could not parse: without an event for it uvicorn would wait forever."""
        if self._handshake_failed:
            return
        self._handshake_failed = True
        self._limits.refused("head too large" if isinstance(error, _TOO_LARGE) else "bad handshake")
        self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
        self.transport.close()

    def handle_events(self) -> None:
        if reason := self._over(self.conn.events):
            self.conn.events_received()  # discards them
            self.too_fast(reason)
            return
        super().handle_events()

    def _over(self, events: list[Event]) -> str:
        """The kind of frames that exceeds its rate, or ""."""
        now = self.loop.time() * 1000
        for event in events:
            if not isinstance(event, Frame) or event.opcode is Opcode.CLOSE:
                continue
            count = self._pace.ping if event.opcode in (Opcode.PING, Opcode.PONG) else self._pace.frame
            if reason := count(now):
                return reason
        return ""

    async def send(self, message: Any) -> None:
        """Send an ASGI message.  A connection counts as a stream once the answer to its handshake is written."""
        await super().send(message)
        if message["type"] == "websocket.accept" and self.handshake_complete and not self.transport.is_closing():
            self._limits.upgraded(self.transport)

    def send_keepalive_ping(self) -> None:
        self._received = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """No pong arrived.  A peer that sends data is alive all the same: a proxy may not pass pings on."""
        if not self._received:
            super().keepalive_timeout()
            return
        self.pong_timer = self.pending_ping_payload = None
        self.schedule_ping()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][EXTENSION] = cast(Any, self)
        else:
            self._limits.refused("bad handshake")

    def handle_text(self, event: Frame) -> None:
        if self._receive_text is not None and event.fin and not self.close_sent:
            self._receive_text(bytes(event.data))
        else:
            super().handle_text(event)

    def handle_ping(self) -> None:
        if not self._cut:
            super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS_MAX:
            self.too_fast("frames")
            return
        super().handle_cont(event)

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
            self._receive_close(None)  # such a peer is not served again

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.lost(self.transport)
        super().connection_lost(exc)
        if self._receive_text is not None:
            self._receive_close(False)
            self._receive_text = None
            del self._receive_binary, self._receive_close  # they lead to the call, which leads here
