"""The caller's audio as the bus wants it: 20 ms frames of mu-law, 8 kHz, whatever Vobiz sends.  Pure.

Vobiz is asked for mu-law and normally obeys; A-law and L16 at 8 or 16 kHz (little-endian) are converted, and payloads
of odd length are joined and cut again.  A carrier may say one format and send another: Vobiz sends 20 ms in a message,
so that the length of a payload tells, and its sound must agree.
"""

from __future__ import annotations

import sys
from array import array
from itertools import pairwise

from common.audio import g711
from edge.vobiz.media_format import ALAW, L16, MULAW, MediaFormat
from edge.vobiz.stream_protocol import BadFrame

_HALF_BAND = (-1, 0, 9, 16, 9, 0, -1)
"""Low pass for 16 -> 8 kHz (sum 32): -6 dB at 4 kHz, so that nothing above folds loudly into the voice."""

_FORMATS = (MediaFormat(MULAW), MediaFormat(L16, 8000), MediaFormat(L16, 16000))
"""What 160, 320 and 640 bytes are, if they are 20 ms."""
CERTAIN = 4
"""So many times rougher than under another reading: the wrong reading of a voice is nearly noise."""
STILL = 8.0
"""No sound at all, in steps of 16-bit samples: it sounds alike in all formats."""
CHECKS_MAX = 500
"""Payloads that are looked at until it is certain (10 s)."""


class UplinkDecoder:
    """One stream's converter.  `feed` returns the whole frames so far; the rest waits for the next payload."""

    def __init__(self, media_format: MediaFormat) -> None:
        if media_format.encoding == L16 and media_format.sample_rate not in (8000, 16000):
            raise BadFrame("bad format", f"L16 at {media_format.sample_rate} Hz cannot be received; use mu-law")
        self._format = media_format
        self._checks = CHECKS_MAX
        self._rest = b""
        self._history = array("h", bytes(2 * (len(_HALF_BAND) - 1)))
        self._odd = b""

    def corrected(self, payload: bytes) -> MediaFormat | None:
        """Call it with each payload before `feed`: the format in which it is, if not in the one that was declared."""
        if not self._checks:
            return None
        self._checks -= 1
        other = next((one for one in _FORMATS if one.frame_bytes == len(payload)), None)
        if other is None or len(payload) == self._format.frame_bytes:
            self._checks = 0
            return None
        same = other.encoding == self._format.encoding  # another rate, which no sound can tell
        ours, theirs = roughness(payload, self._format.encoding), roughness(payload, other.encoding)
        if not same and ours <= CERTAIN * max(theirs, STILL):
            self._checks = 0 if theirs > CERTAIN * max(ours, STILL) else self._checks
            return None
        self._checks, self._format = 0, other
        return other

    def feed(self, payload: bytes) -> list[bytes]:
        """Take one payload, of any length; returns the frames of 160 bytes that are now whole, in order."""
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
    """How far a sample is from the one before it, on average, if the payload is read in this encoding.

    Of a constant level it is the level: no line has one.
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
