"""Server-sent events out of bytes (HTML standard, section 9.2.6).  Pure; only `data` is kept.

Own code because it is on the hot path: the package's decoder builds an object of checked classes for every token, which
costs a token two to three times as much (`python -m benchmarks.tokens`).
"""

from __future__ import annotations

EVENT_BYTES_MAX = 1 << 20
BOM = b"\xef\xbb\xbf"
"""May stand at the head of the stream."""


class Events:
    """`feed` it what arrives; it returns the data of each event that is whole by then."""

    def __init__(self) -> None:
        self._begun = False
        self._rest = b""
        self._data: list[bytes] = []

    def rest(self) -> list[bytes]:
        """The bytes are over: the event whose blank line never came, if there is one."""
        return [*self.feed(b"\n\n")]

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises ValueError for an event without end."""
        if not self._begun and len(self._rest) + len(chunk) >= len(BOM):
            chunk, self._rest, self._begun = (self._rest + chunk).removeprefix(BOM), b"", True
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise ValueError("an event has no end")
        whole: list[bytes] = []
        for line in lines:
            text = line.rstrip(b"\r")
            if text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
            elif not text and self._data:
                whole.append(b"\n".join(self._data))
                self._data = []
        return whole
