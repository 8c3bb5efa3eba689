"""Parses WAV as it streams: headers are read and removed, samples pass.  Pure.

    RIFF size WAVE   fmt  (how samples are written)   other chunks   data size samples...   [other chunks]   [RIFF ...]

A server that streams does not know the length yet and writes 0 or the largest number: then the samples extend to the
end.  Some servers send a whole header with each part of the stream, or count one part only: headers are looked for
within the samples, too, and what follows the data without being a chunk counts as samples.
"""

from __future__ import annotations

from workers.tts.audio.format import Encoding, NotSamples

UNKNOWN_MIN = 0x7FFF_0000
"""A data length from here on is a placeholder."""
CHUNK_BYTES_MAX = 1 << 20
"""Longest chunk before the data, in bytes; album pictures are longer."""
_AFTER = frozenset(
    [b"LIST", b"fact", b"cue ", b"smpl", b"inst", b"id3 ", b"ID3 ", b"bext", b"JUNK", b"junk", b"PAD ", b"FLLR",
     b"PEAK", b"iXML", b"_PMX", b"cart", b"acid", b"DISP", b"plst", b"labl", b"note", b"afsp", b"data"]
)  # fmt: skip
"""Chunks that may follow the data.  Anything else is samples that the header did not count."""
_CODINGS = {1: "pcm", 3: "float", 6: "alaw", 7: "mulaw"}
_EXTENSIBLE = 0xFFFE
_BITS = {"pcm": (16, 24, 32), "unsigned": (8,), "float": (32, 64), "alaw": (8,), "mulaw": (8,)}


class WavStream:
    """Parses a stream that is cut anywhere; returns its samples, coded as `encoding` says."""

    def __init__(self) -> None:
        self.encoding: Encoding | None = None
        """The coding of the samples; None before the first `fmt ` chunk."""
        self._buffer = b""
        self._state = self._riff
        self._left: int | None = None  # of the data; None: to the end
        self._out: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Take more of the stream; return its samples.  Raises `NotSamples` for an unknown coding or a bad header."""
        self._buffer += data
        while self._state():
            pass
        out, self._out = b"".join(self._out), []
        return out

    def finish(self) -> bytes:
        """Return what was held in case that a header began there: the stream has ended."""
        rest, self._buffer = self._buffer, b""
        return rest if self._state == self._samples else b""

    # Each state consumes what it can from the buffer; False: it needs more bytes.

    def _riff(self) -> bool:
        if len(self._buffer) < 12:
            return False
        if self._buffer[8:12] != b"WAVE":
            raise NotSamples("a RIFF file that is no WAV")
        self._buffer = self._buffer[12:]
        self._state = self._chunk
        return True

    def _chunk(self) -> bool:
        """Parse one chunk before the data."""
        if len(self._buffer) < 8:
            return False
        name, size = self._buffer[:4], int.from_bytes(self._buffer[4:8], "little")
        if name == b"data":
            if self.encoding is None:
                raise NotSamples("a WAV file without a format")
            self._left = None if size == 0 or size >= UNKNOWN_MIN else size
            self._buffer = self._buffer[8:]
            self._state = self._samples
            return True
        if size > CHUNK_BYTES_MAX:
            raise NotSamples("a WAV file with a header that makes no sense")
        whole = 8 + size + size % 2
        if len(self._buffer) < whole:
            return False
        if name == b"fmt ":
            self._format(self._buffer[8 : 8 + size])
        self._buffer = self._buffer[whole:]
        return True

    def _format(self, chunk: bytes) -> None:
        if len(chunk) < 16:
            raise NotSamples("a WAV file with a header that makes no sense")
        tag, channels = int.from_bytes(chunk[:2], "little"), int.from_bytes(chunk[2:4], "little")
        rate, bits = int.from_bytes(chunk[4:8], "little"), int.from_bytes(chunk[14:16], "little")
        if tag == _EXTENSIBLE and len(chunk) >= 26:
            tag = int.from_bytes(chunk[24:26], "little")  # the rest of the identifier is the same for all
        coding = _CODINGS.get(tag, "")
        if coding == "pcm" and bits == 8:
            coding = "unsigned"
        if bits not in _BITS.get(coding, ()):
            raise NotSamples(f"WAV with the codec {tag:#06x} of {bits} bits")
        encoding = Encoding(coding, rate, bits, channels).checked()
        if self.encoding not in (None, encoding):
            raise NotSamples("WAV that changes its format")
        self.encoding = encoding

    def _samples(self) -> bool:
        limit = len(self._buffer) if self._left is None else min(self._left, len(self._buffer))
        at = self._header(limit)
        self._out.append(self._buffer[:at])
        self._buffer = self._buffer[at:]
        if self._left is not None:
            self._left -= at
        if self._left == 0:
            self._state = self._after
            return True
        if at == limit or len(self._buffer) < 12:
            return False
        self._state = self._riff
        return True

    def _header(self, limit: int) -> int:
        """Return where another header begins in the buffer, or may begin, before `limit`; else `limit`."""
        at = self._buffer.find(b"RIFF", 0, limit)
        while at >= 0 and len(self._buffer) >= at + 12 and self._buffer[at + 8 : at + 12] != b"WAVE":
            at = self._buffer.find(b"RIFF", at + 1, limit)
        if at >= 0:
            return at
        cut = next((n for n in (3, 2, 1) if self._buffer.endswith(b"RIFF"[:n])), 0) if limit == len(self._buffer) else 0
        return limit - cut

    def _after(self) -> bool:
        """Parse what follows the counted data."""
        if not self._buffer:
            return False
        padded = self._buffer[:1] == b"\0" and self._buffer[1:5] in (*_AFTER, b"RIFF")
        if len(self._buffer) < 8 + padded:
            return False
        if padded:
            self._buffer = self._buffer[1:]
        name, size = self._buffer[:4], int.from_bytes(self._buffer[4:8], "little")
        if name == b"RIFF":
            self._state = self._riff
        elif name in _AFTER and name != b"data" and size <= CHUNK_BYTES_MAX:
            self._state = self._skip
        elif name == b"data":
            self._state = self._chunk
        else:
            self._left, self._state = None, self._samples
        return True

    def _skip(self) -> bool:
        size = int.from_bytes(self._buffer[4:8], "little")
        whole = 8 + size + size % 2
        if len(self._buffer) < whole:
            return False
        self._buffer = self._buffer[whole:]
        self._state = self._after
        return True
