"""Converts the content of a sound file to telephone audio: mu-law, 8 kHz, mono.  Pure."""

from __future__ import annotations

from common.audio.g711 import BYTES_PER_MS
from workers.tts.audio.format import MULAW_8K, NotSamples
from workers.tts.audio.wav import WavStream

SOUND_FILE_BYTES_MAX = 2 * 1024 * 1024
SOUND_MS_MIN, SOUND_MS_MAX = 100, 60_000
"""A sound is repeated, so a shorter file would be a buzz; a longer one is kept in memory for nothing."""


class BadSound(Exception):
    """The file cannot be played; the text says why and what to do, and does not quote it."""


def sound_mulaw(data: bytes, name: str) -> bytes:
    """The audio in a file that is called `name`: a WAV file of any rate, or raw mu-law (`.ulaw`).  Raises BadSound."""
    if len(data) > SOUND_FILE_BYTES_MAX:
        raise BadSound(
            f"it is larger than {SOUND_FILE_BYTES_MAX // 1024**2} MiB; shorten it, or convert it to 8 kHz mono"
        )
    mulaw = data if name.lower().endswith(".ulaw") else _of_wav(data)
    if len(mulaw) < SOUND_MS_MIN * BYTES_PER_MS:
        raise BadSound(f"it lasts {len(mulaw) // BYTES_PER_MS} ms; the least are {SOUND_MS_MIN} ms")
    _check_length(len(mulaw) / BYTES_PER_MS)
    return mulaw


def _check_length(ms: float) -> None:
    if ms > SOUND_MS_MAX:
        raise BadSound(f"it lasts {ms / 1000:.0f} s; cut it to {SOUND_MS_MAX // 1000} s at most")


def _of_wav(data: bytes) -> bytes:
    stream = WavStream()
    try:
        samples = stream.feed(data) + stream.finish()
    except NotSamples as what:
        raise BadSound(f"it is {what}; convert it to a WAV file of 16-bit PCM") from None
    encoding = stream.encoding
    if encoding is None or not samples:
        raise BadSound("it is no WAV file; convert it to one of 16-bit PCM")
    samples = samples[: len(samples) - len(samples) % encoding.frame_bytes]
    _check_length(len(samples) / encoding.bytes_per_ms)
    if encoding == MULAW_8K:
        return samples
    from workers.tts.audio.resample import PcmToMulaw  # numpy and soxr are loaded with the first file that needs them
    from workers.tts.audio.samples import linear_of

    converter = PcmToMulaw(encoding.rate)
    return converter.feed(linear_of(samples, encoding).astype("<i2", copy=False).tobytes()) + converter.finish()
