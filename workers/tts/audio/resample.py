"""Converts 16-bit PCM of any sample rate to mu-law at 8 kHz, as a stream."""

from __future__ import annotations

import numpy as np
import soxr

from common.audio import g711

_MULAW_OF_LINEAR = np.frombuffer(g711.MULAW_OF_LINEAR, np.uint8)


class PcmToMulaw:
    """Converts one clause.  Call `feed` in order, then `finish` once for what the filter holds back.

    soxr HQ: flat to 3.4 kHz, aliases below -130 dB, 2.7 us per 20 ms.  Linear interpolation would fold everything
    above 4 kHz into the speech.
    """

    def __init__(self, sample_rate: int) -> None:
        """`sample_rate`: of the PCM to come, in Hz."""
        self._stream = None
        if sample_rate != g711.SAMPLE_RATE:
            self._stream = soxr.ResampleStream(sample_rate, g711.SAMPLE_RATE, 1, dtype="int16", quality="HQ")
        self._odd = b""

    def feed(self, pcm: bytes) -> bytes:
        """Take signed 16-bit little-endian samples, cut anywhere; return mu-law, which may be empty."""
        pcm = self._odd + pcm
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        return self._encoded(np.frombuffer(pcm[:whole], "<i2"), last=False)

    def finish(self) -> bytes:
        """Return the rest: about 20 ms of audio that the filter still held."""
        return self._encoded(np.zeros(0, np.int16), last=True)

    def _encoded(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]], *, last: bool) -> bytes:
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples.astype(np.int16, copy=False), last=last)
        return _MULAW_OF_LINEAR[samples.view(np.uint16)].tobytes()
