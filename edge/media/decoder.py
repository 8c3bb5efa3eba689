"""Converts the carrier's audio to what the bus carries: 20 ms frames of mu-law, 8 kHz, mono.  Pure.

Vobiz is asked for mu-law and normally sends it.  A-law and L16 (little-endian, 8 or 16 kHz) are converted, and payloads
of any other length are joined and cut into frames.  A carrier may declare one format in `start` and send another; Vobiz
sends 20 ms per message, so the length of a payload suggests the format, and the sound must agree with it.
"""

from __future__ import annotations

import sys
from array import array
from itertools import pairwise

from common.audio import g711
from edge.vobiz.media_format import ALAW, L16, MULAW, MediaFormat
from edge.vobiz.stream_protocol import BadFrame

_HALF_BAND = (-1, 0, 9, 16, 9, 0, -1)
"""Low-pass filter for 16 -> 8 kHz (sum 32): -6 dB at 4 kHz, so that little above 4 kHz aliases into the voice."""

_FORMATS = (MediaFormat(MULAW), MediaFormat(L16, 8000), MediaFormat(L16, 16000))
"""The formats in which 160, 320 and 640 bytes are 20 ms."""
CERTAIN = 4
"""How many times rougher a payload must sound in one encoding than in another: a misread voice is nearly noise."""
STILL = 8.0
"""Roughness below which a payload counts as silence, in steps of 16-bit samples: silence is alike in all formats."""
CHECKS_MAX = 500
"""Payloads compared with the declared format until the encoding is certain (10 s at 20 ms each)."""


class UplinkDecoder:
    """Converts one stream.  An incomplete frame is kept until the next payload."""

    def __init__(self, media_format: MediaFormat) -> None:
        """Raises BadFrame for L16 at a rate other than 8000 or 16000 Hz."""
        if media_format.encoding == L16 and media_format.sample_rate not in (8000, 16000):
            raise BadFrame("bad format", f"L16 at {media_format.sample_rate} Hz cannot be received; use mu-law")
        self._format = media_format
        self._checks = CHECKS_MAX
        self._rest = b""
        self._history = array("h", bytes(2 * (len(_HALF_BAND) - 1)))
        self._odd = b""

    def corrected(self, payload: bytes) -> MediaFormat | None:
        """The format the payload is really in, if that is not the declared one.  Call it with each payload before
        `feed`.
        """
        if not self._checks:
            return None
        self._checks -= 1
        other = next((one for one in _FORMATS if one.frame_bytes == len(payload)), None)
        if other is None or len(payload) == self._format.frame_bytes:
            self._checks = 0
            return None
        same = other.encoding == self._format.encoding  # only the rate differs, which the sound does not reveal
        ours, theirs = roughness(payload, self._format.encoding), roughness(payload, other.encoding)
        if not same and ours <= CERTAIN * max(theirs, STILL):
            self._checks = 0 if theirs > CERTAIN * max(ours, STILL) else self._checks
            return None
        self._checks, self._format = 0, other
        return other

    def feed(self, payload: bytes) -> list[bytes]:
        """Take one payload of any length; returns the frames of 160 bytes that are now complete, in order."""
        if self._format.encoding == ALAW:
            payload = payload.translate(g711.MULAW_OF_ALAW)
        if self._format.encoding != L16:
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


def roughness(payload: bytes, encoding: str) -> float:
    """Mean difference between neighbouring samples when the payload is read in this encoding, in 16-bit steps.

    For a constant level it returns that level, since no telephone line carries one.
    """
    if encoding == L16:
        samples = array("h")
        samples.frombytes(payload[: len(payload) & ~1])
        if sys.byteorder == "big":
            samples.byteswap()
    else:
        mulaw = payload.translate(g711.MULAW_OF_ALAW) if encoding == ALAW else payload
        samples = array("h", map(g711.LINEAR_OF_MULAW.__getitem__, mulaw))
    if len(set(samples)) == 1:
        return float(abs(samples[0]))
    return sum(abs(one - other) for one, other in pairwise(samples)) / max(len(samples) - 1, 1)
