"""The size of one HTTP request, counted while it arrives.  Pure.

httptools keeps a header in memory until it is complete, and uvicorn keeps all headers, both without a limit.  So the
parser gets a request in pieces, and `full` is asked before each: what is too large is refused before it is parsed.
A piece that ends one request and begins the next counts for neither, so a pipelined head may be one piece longer.
"""

from __future__ import annotations

HEAD_BYTES_MAX = 16 * 1024
"""Request line and headers; a real webhook has about 1 KB of them.  nginx passes on up to 32 KB by default."""
HEADERS_MAX = 100
"""Fields, the trailers behind a chunked body included."""
REQUEST_BYTES_MAX = 128 * 1024
"""A whole request as it is on the network, chunk sizes and trailers included; a webhook's body has at most 64 KiB."""
PIECE_BYTES = 512
"""What the parser gets at once: so many of the shortest requests that one read of the socket cannot make thousands."""


class RequestSize:
    """One connection's: `full`, `room`, `add` around each piece; the others as the parser calls back meanwhile."""

    def __init__(self) -> None:
        self.in_head = True
        """The head is not complete, or has not begun."""
        self._bytes = 0
        self._fields = 0
        self._ended = False

    def full(self) -> str:
        """Why no more of it is taken, or "": "head too large", "too many headers", "request too large"."""
        if self._fields > HEADERS_MAX:
            return "too many headers"
        if self.in_head and self._bytes >= HEAD_BYTES_MAX:
            return "head too large"
        return "request too large" if self._bytes >= REQUEST_BYTES_MAX else ""

    def room(self) -> int:
        """How many bytes the parser may get next; asked when `full` says nothing."""
        return min(PIECE_BYTES, (HEAD_BYTES_MAX if self.in_head else REQUEST_BYTES_MAX) - self._bytes)

    def add(self, count: int) -> None:
        """The parser has had so many bytes more."""
        if not self._ended:
            self._bytes += count
        self._ended = False

    def begin(self) -> None:
        """The first byte of a request: line feeds before it count, for a sender may send nothing else."""
        self.in_head, self._fields = True, 0

    def header(self) -> None:
        """One field of the head, or one trailer."""
        self._fields += 1

    def head_complete(self) -> None:
        """A body follows, or the end."""
        self.in_head = False

    def end(self) -> None:
        """The request is complete; what comes now is another one."""
        self.begin()
        self._bytes, self._ended = 0, True
