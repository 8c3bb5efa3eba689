"""Converts G.711 mu-law and A-law by table (ITU-T G.711, tables 2a/2b), because Python 3.13 removed `audioop`.

`encode` and `decode` work on bytes; the two mu-law tables are public so that array code can index them directly:

    numpy.frombuffer(MULAW_OF_LINEAR, numpy.uint8)[pcm.view(numpy.uint16)]        # int16 samples -> mu-law
    numpy.array(LINEAR_OF_MULAW, numpy.int16)[numpy.frombuffer(mulaw, numpy.uint8)]  # mu-law -> int16 samples
"""

from __future__ import annotations

from array import array
from sys import byteorder

SAMPLE_RATE = 8000
FRAME_MS = 20
FRAME_BYTES = 160
"""One 20 ms frame: 160 samples of one byte."""
BYTES_PER_MS = SAMPLE_RATE // 1000
SILENCE = b"\xff"
"""One sample of digital silence (linear 0)."""

_BIAS = 132  # 33 on the 14-bit scale of the standard, times 4 for 16-bit samples
_CLIP = 32635  # the largest magnitude that the bias does not push out of 16 bits


def _compress(sample: int) -> int:
    """One linear 16-bit sample as mu-law: sign, 3-bit segment, 4-bit step, all inverted on the wire."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    segment = magnitude.bit_length() - 8
    step = (magnitude >> (segment + 3)) & 0x0F
    return ~(sign | segment << 4 | step) & 0xFF


def _expand(code: int) -> int:
    """One mu-law byte as a linear 16-bit sample: the middle of its step."""
    code = ~code & 0xFF
    segment, step = code >> 4 & 0x07, code & 0x0F
    magnitude = ((step << 3) + _BIAS << segment) - _BIAS
    return -magnitude if code & 0x80 else magnitude


def _expand_alaw(code: int) -> int:
    """One A-law byte as a linear 16-bit sample: the middle of its step."""
    code ^= 0x55
    segment, step = code >> 4 & 0x07, code & 0x0F
    magnitude = (step << 4) + 8 if segment == 0 else (step << 4) + 0x108 << segment - 1
    return magnitude if code & 0x80 else -magnitude


LINEAR_OF_MULAW: array[int] = array("h", map(_expand, range(256)))
"""256 samples, indexed by the mu-law byte."""
MULAW_OF_LINEAR: bytes = bytes(_compress(u if u < 0x8000 else u - 0x10000) for u in range(0x10000))
"""65,536 mu-law bytes, indexed by the sample read as an unsigned 16-bit number."""

LINEAR_OF_ALAW: tuple[int, ...] = tuple(_expand_alaw(code) for code in range(256))
"""256 16-bit samples, indexed by the A-law byte."""
MULAW_OF_ALAW: bytes = bytes(MULAW_OF_LINEAR[linear & 0xFFFF] for linear in LINEAR_OF_ALAW)
"""256 mu-law bytes, indexed by the A-law byte: `alaw.translate(MULAW_OF_ALAW)`."""


def decode(mulaw: bytes) -> bytes:
    """Signed 16-bit little-endian samples of mu-law bytes; the result has twice as many bytes."""
    samples = array("h", map(LINEAR_OF_MULAW.__getitem__, mulaw))
    if byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def encode(pcm: bytes) -> bytes:
    """mu-law bytes of signed 16-bit little-endian samples, half as many.  Raises ValueError on an odd length."""
    samples = array("H")
    samples.frombytes(pcm)
    if byteorder == "big":
        samples.byteswap()
    return bytes(map(MULAW_OF_LINEAR.__getitem__, samples))


def padded(mulaw: bytes) -> bytes:
    """The audio, filled with silence up to a whole number of 20 ms frames."""
    return mulaw + SILENCE * (-len(mulaw) % FRAME_BYTES)
