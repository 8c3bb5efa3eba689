"""Counts the size of an HTTP request while it arrives, so that too large ones are refused before they are parsed.
Pure.

httptools keeps a header in memory until it is complete, and uvicorn keeps all headers, both without a limit.  So the
parser gets a request in pieces, and `full` is asked before each.  A piece that ends one request and begins the next
counts for neither, so a pipelined head may be one piece longer.
"""

from __future__ import annotations

HEAD_BYTES_MAX = 16 * 1024
"""Request line and headers; a real webhook has about 1 KB of them.  nginx forwards up to 32 KB by default."""
HEADERS_MAX = 100
"""Header fields, including the trailers of a chunked body."""
REQUEST_BYTES_MAX = 128 * 1024
"""A whole request as transmitted, chunk sizes and trailers included; a webhook's body has at most 64 KiB."""
PIECE_BYTES = 512
"""Bytes the parser gets at once, so that one read of the socket cannot create thousands of short requests."""


class RequestSize:
    """Counter of one connection: `full`, `room` and `add` go around each piece, the parser's callbacks use the rest."""

    def __init__(self) -> None:
        self.in_head = True
        """Whether the head is incomplete or has not begun."""
        self._bytes = 0
        self._fields = 0
        self._ended = False

    def full(self) -> str:
        """Why the request is refused: "head too large", "too many headers", "request too large", or ""."""
        if self._fields > HEADERS_MAX:
            return "too many headers"
        if self.in_head and self._bytes >= HEAD_BYTES_MAX:
            return "head too large"
        return "request too large" if self._bytes >= REQUEST_BYTES_MAX else ""

    def room(self) -> int:
        """How many bytes the parser may get next, if `full` returns ""."""
        return min(PIECE_BYTES, (HEAD_BYTES_MAX if self.in_head else REQUEST_BYTES_MAX) - self._bytes)

    def add(self, count: int) -> None:
        """Count bytes that the parser got."""
        if not self._ended:
            self._bytes += count
        self._ended = False

    def begin(self) -> None:
        """A request begins.  Line feeds before it are counted, since a sender may send nothing else."""
        self.in_head, self._fields = True, 0

    def header(self) -> None:
        """Count a header field or a trailer."""
        self._fields += 1

    def head_complete(self) -> None:
        """The head is complete."""
        self.in_head = False

    def end(self) -> None:
        """The request is complete; further bytes belong to the next one."""
        self.begin()
        self._bytes, self._ended = 0, True
