"""Parses server-sent events from bytes (HTML standard, section 9.2.6).  Pure; only `data` is kept.

Written here because it is on the hot path: the openai package's decoder builds validated objects for every token, which
takes two to three times as long (`python -m benchmarks.tokens`).
"""

from __future__ import annotations

EVENT_BYTES_MAX = 1 << 20
BOM = b"\xef\xbb\xbf"
"""A byte order mark, which may precede the stream."""


class Events:
    """Call `feed` with each chunk of bytes; it returns the data of the events that are complete."""

    def __init__(self) -> None:
        self._begun = False
        self._rest = b""
        self._data: list[bytes] = []

    def rest(self) -> list[bytes]:
        """Return the last event, whose blank line did not come, if there is one."""
        return [*self.feed(b"\n\n")]

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk; return the data of each event that it completes.  Raises ValueError above `EVENT_BYTES_MAX`."""
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
