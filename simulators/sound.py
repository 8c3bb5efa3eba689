"""Converts audio as the carrier does: G.711 mu-law, L16 little-endian, and samples at 8 kHz.

Written from ITU-T G.711, not shared with the platform: tests could not detect a bug common to both sides.
Inside the simulator audio is `array("h")`: signed 16-bit mono samples at 8 kHz, so one sample is 1/8 ms.
"""

import sys
from array import array
from itertools import pairwise
from typing import TypeAlias

SAMPLES_PER_MS = 8
FRAME_MS = 20
FRAME_SAMPLES = FRAME_MS * SAMPLES_PER_MS
MULAW_SILENCE = 0xFF
_BIAS = 0x84
_CLIP = 32635
_LITTLE_ENDIAN = sys.byteorder == "little"

Samples: TypeAlias = "array[int]"


def _expand(code: int) -> int:
    """Decode one mu-law byte to a linear sample: the bits are inverted; sign, 3 bits exponent, 4 bits mantissa."""
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + _BIAS) << (code >> 4 & 0x07)) - _BIAS
    return -magnitude if code & 0x80 else magnitude


def _compress(sample: int) -> int:
    """Encode one linear sample as a mu-law byte."""
    sign = 0x80 if sample < 0 else 0x00
    magnitude = min(abs(sample), _CLIP) + _BIAS
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> exponent + 3) & 0x0F) & 0xFF


_EXPANDED = [_expand(code) for code in range(256)]
_COMPRESSED = bytes(_compress(word - 0x10000 if word & 0x8000 else word) for word in range(0x10000))


def from_mulaw(data: bytes) -> Samples:
    return array("h", [_EXPANDED[code] for code in data])


def to_mulaw(samples: Samples) -> bytes:
    return bytes([_COMPRESSED[sample & 0xFFFF] for sample in samples])


def from_l16(data: bytes, rate_hz: int) -> Samples:
    """Convert L16 little-endian at 8, 16 or 24 kHz to 8 kHz samples, each the mean of its inputs; cut an odd tail.

    Sufficient for listening and measuring; a carrier filters better.
    """
    step = rate_hz // 8000
    wide = array("h", data[: len(data) - len(data) % (2 * step)])
    if not _LITTLE_ENDIAN:
        wide.byteswap()
    if step == 1:
        return wide
    return array("h", [sum(wide[at : at + step]) // step for at in range(0, len(wide), step)])


def to_l16(samples: Samples, rate_hz: int) -> bytes:
    """Convert 8 kHz samples to L16 little-endian at 8 or 16 kHz; an inserted sample is the mean of its neighbours."""
    wide = array("h", samples)
    if rate_hz == 16000 and samples:
        wide = array(
            "h", [value for left, right in pairwise([*samples, samples[-1]]) for value in (left, (left + right) // 2)]
        )
    if not _LITTLE_ENDIAN:
        wide.byteswap()
    return wide.tobytes()


def silence(samples: int) -> Samples:
    return array("h", bytes(2 * samples))


# -45 dBFS: line noise and breath are below it, audible speech is above it.
LOUD_RMS = 184
LOUD_WINDOW_MS = 10
LOUD_WINDOW = LOUD_WINDOW_MS * SAMPLES_PER_MS


def loud_windows(samples: Samples) -> list[bool]:
    """Return for each 10 ms of `samples` (the last may be shorter) whether it is audible."""
    flags = []
    for at in range(0, len(samples), LOUD_WINDOW):
        window = samples[at : at + LOUD_WINDOW]
        flags.append(sum([value * value for value in window]) > LOUD_RMS * LOUD_RMS * len(window))
    return flags


_SQUARE_OF = [sample * sample for sample in _EXPANDED].__getitem__
_DIGITAL_SILENCE = b"\xff\x7f"


def mulaw_loud_windows(data: bytes) -> list[bool]:
    """Return `loud_windows(from_mulaw(data))` without computing the samples."""
    if not data.strip(_DIGITAL_SILENCE):
        return [False] * -(-len(data) // LOUD_WINDOW)
    flags = []
    for at in range(0, len(data), LOUD_WINDOW):
        window = data[at : at + LOUD_WINDOW]
        flags.append(sum(map(_SQUARE_OF, window)) > LOUD_RMS * LOUD_RMS * len(window))
    return flags


def loud_span_ms(samples: Samples) -> tuple[float, float]:
    """Return the begin and end of sound in ms from the first sample, to 10 ms; `(0, 0)` if there is none."""
    flags = loud_windows(samples)
    if True not in flags:
        return 0.0, 0.0
    last = len(flags) - flags[::-1].index(True)
    return float(flags.index(True) * LOUD_WINDOW_MS), min(last * LOUD_WINDOW_MS, len(samples) / SAMPLES_PER_MS)
