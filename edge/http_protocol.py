"""One HTTP connection: uvicorn's protocol, with the decisions that its defaults leave to whoever runs it.

patience    a request has its time to arrive, its head has an end, and idle connections are counted (limits/half_open)
Upgrade     ignored unless it is to a WebSocket (RFC 9110, 7.8): `curl --http2` and Java's client offer h2c with every
            request, and the parser would take the body for another protocol
the target  an absolute one (`POST http://host/answer`, from proxies) is served like its path
half close  a sender that closes its side after the request (`nc`, some load balancers) still gets the answer
"""

from __future__ import annotations

import asyncio

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common import metrics
from edge.limits.half_open import HEAD_BYTES_MAX, HalfOpen, Idle

_UPGRADE = frozenset({b"upgrade", b"http2-settings"})


class RequestProtocol(HttpToolsProtocol):
    """All connections of a server share the tables of those that have not asked, and of those that are idle."""

    _in_head = True
    _head_bytes = 0

    @property
    def _half_open(self) -> HalfOpen:
        state = self.server_state  # uvicorn makes the protocols; this is what it gives to all of one server
        table: HalfOpen | None = getattr(state, "half_open", None)
        if table is None:
            table = HalfOpen(self.loop.call_later)
            state.half_open = table  # type: ignore[attr-defined]
        return table

    @property
    def _idle(self) -> Idle:
        state = self.server_state
        table: Idle | None = getattr(state, "idle", None)
        if table is None:
            table = state.idle = Idle()  # type: ignore[attr-defined]
        return table

    # --- the connection -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._half_open.enter(self, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._half_open.leave(self)
        self._idle.leave(self)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """True: the request is here and its answer is not yet; the connection lasts until it is."""
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_started:
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        self._idle.leave(self)
        self._unset_keepalive_if_required()
        rest: bytes | None = data
        while rest is not None:
            rest = self._feed(rest)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                metrics.BAD_INPUT.labels("request").inc()
                self.transport.write(b"HTTP/1.1 431 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                self.transport.close()

    def _feed(self, data: bytes) -> bytes | None:
        """Parse; returns what is to be parsed next, if the parser took it for another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse()
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self.parser.get_method() == b"CONNECT":  # to be a proxy; there is no such request without it
                self._refuse()
            else:
                return self._without_upgrade() + data[upgrade.args[0] :]
        return None

    def _refuse(self) -> None:
        metrics.BAD_INPUT.labels("request").inc()
        self.send_400_response("Invalid HTTP request received.")

    def _without_upgrade(self) -> bytes:
        """The head that was read, without the offer, for a parser that begins anew."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(part for part in value.split(b",") if part.strip().lower() not in _UPGRADE)
            if name not in _UPGRADE:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join([*lines, b"", b""])

    # --- the parser's callbacks ---------------------------------------------------------------------------------

    @property
    def _offers_upgrade(self) -> bool:
        """To something else than a WebSocket: the request will be parsed again without it."""
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._half_open.enter(self, self.transport.abort)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if not self._offers_upgrade:
            self._take_origin()
            super().on_headers_complete()

    def _take_origin(self) -> None:
        """An absolute target: its path, and its host instead of the header's (RFC 9112, 3.2.2)."""
        if self.url[:1] in (b"/", b"*"):
            return
        target = httptools.parse_url(self.url)
        if not target.schema or not target.host:
            raise ValueError("neither a path nor a URL")
        host: bytes = target.host if target.port in (None, 0) else b"%b:%d" % (target.host, target.port)
        self.url = (target.path or b"/") + (b"?" + target.query if target.query else b"")
        self.headers[:] = [(b"host", host), *(pair for pair in self.headers if pair[0] != b"host")]

    def on_body(self, body: bytes) -> None:
        if not self._offers_upgrade:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._offers_upgrade:
            self._half_open.leave(self)
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None and not self.transport.is_closing():
            self._idle.enter(self, self.transport.close)

    def handle_websocket_upgrade(self) -> None:
        self._half_open.leave(self)
        super().handle_websocket_upgrade()
