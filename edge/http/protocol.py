"""One HTTP connection: uvicorn's protocol with stricter limits and defined behaviour in edge cases.

time        a request must arrive in time; idle and unread connections are counted (limits/connections)
size        a request is counted before it is parsed (limits/request_size); few pipelined ones are parsed ahead
refusals    JSON like all our errors; after one the connection is read for a moment and closed
Upgrade     ignored unless it is to a WebSocket (RFC 9110, 7.8): `curl --http2` and Java's client offer h2c with every
            request, and the parser would take the body for another protocol
trailers    dropped (RFC 9110, 6.5.1): merged with the headers they would bypass the signature check
the target  an absolute one (`POST http://host/answer`, from proxies) is served like its path
half close  a sender that closes its side after the request (`nc`, some load balancers) still gets the answer
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge.http.limits.connections import LINGER_SECONDS, ConnectionLimits
from edge.http.limits.request_size import RequestSize

PIPELINED_MAX = 8
"""Requests of one connection that may wait for the answer to an earlier one; further ones are not parsed yet."""
PIPELINED_BYTES_MAX = 64 * 1024
"""Bytes kept of requests that are not parsed yet."""

_UPGRADE = frozenset({b"upgrade", b"http2-settings"})
_STATUS = {
    "head too large": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "too many headers": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "request too large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too many pipelined": HTTPStatus.TOO_MANY_REQUESTS,
    "malformed": HTTPStatus.BAD_REQUEST,
}


class RequestProtocol(HttpToolsProtocol):
    """Protocol of one connection; all connections of a server share its ConnectionLimits."""

    _limits: ConnectionLimits
    _size: RequestSize
    _rest = b""  # received, and not parsed until earlier requests are answered
    _parsing = False
    _refused = False
    _refusal: bytes | None = None  # written once earlier requests are answered

    # --- the connection -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._size = RequestSize()
        self._limits = ConnectionLimits.of(self.server_state, self.loop)
        self._limits.made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.lost(self.transport)
        self._rest = b""
        super().connection_lost(exc)

    @property
    def waits_for_peer(self) -> bool:
        """Whether the peer has not taken all that was written."""
        return self.transport.get_write_buffer_size() > 0

    def eof_received(self) -> bool:  # type: ignore[override]
        """True keeps the connection open: the request is complete and its answer is not."""
        cycle = self.cycle
        if self._refused or cycle is None or cycle.more_body or cycle.response_started:
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._refused or self._refusal is not None:
            return
        self._limits.idle.leave(self.transport)
        self._unset_keepalive_if_required()
        if self._size.in_head and self.transport not in self._limits.half_open:  # a line feed alone begins no request
            self._limits.half_open.enter(self.transport, self.transport.abort)
        self._rest += data
        self._parse()
        if len(self._rest) > PIPELINED_BYTES_MAX:
            self._refuse("too many pipelined")

    def _parse(self) -> None:
        """Feed received bytes to the parser, as far as the requests may be served soon."""
        if self._parsing:
            return
        self._parsing = True
        data, at = memoryview(self._rest), 0
        while at < len(data) and self._may_parse():
            if reason := self._size.full():
                self._refuse(reason)
                break
            piece = data[at : at + self._size.room()]
            taken = self._feed(piece)
            self._size.add(taken)
            at += taken
        self._rest = b"" if self._refused or self._refusal is not None else bytes(data[at:])
        self._parsing = False
        if self._rest:
            self.flow.pause_reading()

    def _may_parse(self) -> bool:
        """Whether to parse on; False until earlier requests are answered, or for good after a refusal or an upgrade."""
        over = self._refused or self._refusal is not None or self.parser is None
        return not over and not self.transport.is_closing() and len(self.pipeline) < PIPELINED_MAX

    def _feed(self, piece: memoryview) -> int:
        """Parse; returns how many bytes the parser has taken."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserError:
            self._refuse(self._size.full() or "malformed")
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self.parser.get_method() == b"CONNECT":  # CONNECT asks for a proxy, and has no other meaning
                self._refuse("malformed")
            else:
                self._feed(memoryview(self._without_upgrade()))
                taken: int = upgrade.args[0]
                return taken
        return len(piece)

    def _without_upgrade(self) -> bytes:
        """The head that was read without the offer of an upgrade, for a new parser."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(part for part in value.split(b",") if part.strip().lower() not in _UPGRADE)
            if name not in _UPGRADE:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join([*lines, b"", b""])

    # --- refusals -----------------------------------------------------------------------------------------------

    def _refuse(self, reason: str) -> None:
        """Answer with an error after the answers that are still due, and read no more requests."""
        if self._refused or self._refusal is not None or self.transport.is_closing():
            return
        self._limits.refused(reason)
        answer = _error(_STATUS[reason], reason)
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._linger(b"" if cycle is not None and not self._size.in_head else answer)  # it may be answered already
        elif self._size.in_head or cycle.response_started or self.pipeline:
            self._refusal = answer if self._size.in_head else b""
        else:
            cycle.disconnected = True  # to the application the sender is gone
            cycle.message_event.set()
            self._linger(answer)

    def _linger(self, answer: bytes) -> None:
        """Close our side so that the peer can read the answer; what it still sends is dropped for LINGER_SECONDS."""
        self._refused = True
        self.flow.resume_reading()
        self._unset_keepalive_if_required()
        self._limits.idle.leave(self.transport)
        self._limits.half_open.enter(self.transport, self.transport.abort, LINGER_SECONDS)
        if answer:
            self.transport.write(answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()  # TLS has no half close

    # --- the parser's callbacks ---------------------------------------------------------------------------------

    @property
    def _offers_upgrade(self) -> bool:
        """Whether the request offers an upgrade to something else than a WebSocket, and will be parsed without it."""
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def _get_upgrade(self) -> bytes | None:
        """As uvicorn, but with all Connection headers: uvicorn reads the last one only (RFC 9110, 5.3: they are one
        list).
        """
        options = [
            part.strip().lower() for name, value in self.headers if name == b"connection" for part in value.split(b",")
        ]
        offers = [value.strip().lower() for name, value in self.headers if name == b"upgrade"]
        return offers[-1] if offers and b"upgrade" in options else None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size.begin()
        self._limits.half_open.enter(self.transport, self.transport.abort)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size.header()
        if self._size.in_head and not self._size.full():
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._size.full():
            raise ValueError("more headers than are taken")
        self._size.head_complete()
        if not self._offers_upgrade:
            self._take_origin()
            super().on_headers_complete()

    def _take_origin(self) -> None:
        """Replace an absolute target by its path, and the Host header by its host (RFC 9112, 3.2.2)."""
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
        if self.parser.should_upgrade():
            return  # it is parsed again, or its handshake has only begun
        if self._size.full():
            raise ValueError("more trailers than are taken")
        self._size.end()
        self._limits.half_open.leave(self.transport)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._refusal is not None:
            if not self.pipeline and self.cycle.response_complete:
                answer, self._refusal = self._refusal, None
                self._linger(answer)
            return
        if self._rest:
            self._unset_keepalive_if_required()
            self._parse()
        elif self.timeout_keep_alive_task is not None:
            self._limits.idle.enter(self.transport, self.transport.close)

    def handle_websocket_upgrade(self) -> None:
        """Hand over to the WebSocket protocol; the connection stays half open until the handshake is complete."""
        self._limits.half_open.enter(self.transport, self.transport.abort)
        self._rest, self._refused = b"", True  # this protocol takes no more
        super().handle_websocket_upgrade()
        # The loop tells the new protocol alone that the connection is lost, and the parser holds this one's methods.
        self.parser = None  # type: ignore[assignment]


def _error(status: HTTPStatus, reason: str) -> bytes:
    body = json.dumps({"error": {"code": reason.replace(" ", "_"), "message": f"The request is refused: {reason}."}})
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()
