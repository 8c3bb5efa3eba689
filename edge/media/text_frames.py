"""Reads and builds WebSocket frames that are whole text messages, as all media are, at a fraction of a library's cost.

Every other frame is the library's: `whole_text` reads only what leaves nothing to decide.
"""

from __future__ import annotations

import struct

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C, or in Python where that is missing

_WHOLE_TEXT = 0x81
"""First byte of a frame: the only one of its message (FIN), of text, without reserved bits."""
_MASKED = 0x80
_IN_TWO_BYTES, _IN_EIGHT_BYTES = 126, 127
"""Values of the length's seven bits that say where the length stands."""
_SHORT, _MEDIUM, _LONG = struct.Struct("!BB"), struct.Struct("!BBH"), struct.Struct("!BBQ")


def whole_text(data: bytes, at: int, bytes_max: int) -> tuple[bytes, int] | None:
    """The text of the frame that begins at `at`, and where the next one begins.

    None unless the frame is a text message of its own, of at most `bytes_max` bytes, masked as a client's must be, and
    all of it is there.  UTF-8 is not checked.
    """
    if len(data) < at + 2 or data[at] != _WHOLE_TEXT:
        return None
    size, body = data[at + 1] - _MASKED, at + 6
    if size == _IN_TWO_BYTES:
        size, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 8
    elif not 0 <= size < _IN_TWO_BYTES:
        return None
    end = body + size
    if end > len(data) or size > bytes_max:
        return None
    return apply_mask(data[body:end], data[body - 4 : body]), end


def text_frame(text: bytes) -> bytes:
    """The frame, not masked as a server's must be, of one text message."""
    size = len(text)
    if size < _IN_TWO_BYTES:
        return _SHORT.pack(_WHOLE_TEXT, size) + text
    if size <= 0xFFFF:
        return _MEDIUM.pack(_WHOLE_TEXT, _IN_TWO_BYTES, size) + text
    return _LONG.pack(_WHOLE_TEXT, _IN_EIGHT_BYTES, size) + text
