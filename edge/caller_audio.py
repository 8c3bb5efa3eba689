"""The caller's audio as the bus wants it: 20 ms frames of mu-law, 8 kHz, whatever Vobiz sends.  Pure.

Vobiz is asked for mu-law and normally obeys; L16 at 8 or 16 kHz (little-endian) is converted, and payloads of odd
length are joined and cut again.
"""

from __future__ import annotations

import sys
from array import array

from common.audio import g711
from edge.vobiz import BadFrame, MediaFormat

_HALF_BAND = (-1, 0, 9, 16, 9, 0, -1)
"""Low pass for 16 -> 8 kHz (sum 32): -6 dB at 4 kHz, so that nothing above folds loudly into the voice."""


class CallerAudio:
    """One stream's converter.  `feed` returns the whole frames so far; the rest waits for the next payload."""

    def __init__(self, media_format: MediaFormat) -> None:
        if media_format.encoding == "l16" and media_format.sample_rate not in (8000, 16000):
            raise BadFrame("bad format", f"L16 at {media_format.sample_rate} Hz cannot be received; use mu-law")
        self._format = media_format
        self._rest = b""
        self._history = array("h", bytes(2 * (len(_HALF_BAND) - 1)))
        self._odd = b""

    def feed(self, payload: bytes) -> list[bytes]:
        """Take one payload, of any length; returns the frames of 160 bytes that are now whole, in order."""
        if self._format.encoding == "mulaw":
            if len(payload) == g711.FRAME_BYTES and not self._rest:
                return [payload]
            mulaw = payload
        else:
            mulaw = self._from_l16(payload)
        mulaw = self._rest + mulaw
        whole = len(mulaw) - len(mulaw) % g711.FRAME_BYTES
        self._rest = mulaw[whole:]
        return [mulaw[at : at + g711.FRAME_BYTES] for at in range(0, whole, g711.FRAME_BYTES)]

    def _from_l16(self, payload: bytes) -> bytes:
        payload = self._odd + payload
        step = 2 if self._format.sample_rate == 8000 else 4
        whole = len(payload) - len(payload) % step
        self._odd = payload[whole:]
        pcm = payload[:whole]
        return g711.encode(pcm if self._format.sample_rate == 8000 else self._halved(pcm))

    def _halved(self, pcm: bytes) -> bytes:
        samples = array("h")
        samples.frombytes(pcm)
        if sys.byteorder == "big":
            samples.byteswap()
        window = self._history + samples
        taps = [(offset, weight) for offset, weight in enumerate(_HALF_BAND) if weight]
        halved = array(
            "h",
            (
                max(-32768, min(32767, sum(weight * window[at + offset] for offset, weight in taps) >> 5))
                for at in range(1, len(samples), 2)
            ),
        )
        self._history = window[len(samples) :]
        if sys.byteorder == "big":
            halved.byteswap()
        return halved.tobytes()
