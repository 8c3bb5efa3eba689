"""Converts samples of any encoding to 16 bits, mono.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.audio.g711 import LINEAR_OF_ALAW, LINEAR_OF_MULAW
from workers.tts.audio.format import Encoding

_LINEAR_OF_MULAW = np.array(LINEAR_OF_MULAW, np.int16)
_LINEAR_OF_ALAW = np.array(LINEAR_OF_ALAW, np.int16)


def linear_of(data: bytes, encoding: Encoding) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Convert whole samples to 16 bits, mono."""
    match encoding.coding, encoding.bits:
        case "mulaw", _:
            linear = _LINEAR_OF_MULAW[np.frombuffer(data, np.uint8)]
        case "alaw", _:
            linear = _LINEAR_OF_ALAW[np.frombuffer(data, np.uint8)]
        case "unsigned", _:
            linear = ((np.frombuffer(data, np.uint8).astype(np.int16) - 128) * 256).astype(np.int16)
        case "float", bits:
            wide = np.nan_to_num(np.frombuffer(data, f"<f{bits // 8}").astype(np.float64))
            linear = (np.clip(wide, -1.0, 1.0) * 32_767).astype(np.int16)
        case "pcm", 24 | 32 as bits:
            linear = np.frombuffer(data, np.uint8).reshape(-1, bits // 8)[:, -2:].copy().view("<i2").reshape(-1)
        case "big", _:
            linear = np.frombuffer(data, ">i2")
        case _:
            linear = np.frombuffer(data, "<i2")
    if encoding.channels > 1:
        linear = linear.reshape(-1, encoding.channels).mean(axis=1).astype(np.int16)
    return linear.astype(np.int16, copy=False)


def byteswapped(samples: Sequence[int]) -> list[int]:
    """Return the 16-bit samples with their bytes swapped."""
    swapped: list[int] = np.array(samples, np.int16).byteswap().tolist()
    return swapped
