"""Reads and writes WAV files: the standard `wave` module does not support mu-law (format tag 7)."""

import struct
from pathlib import Path

from simulators.sound import Samples, from_l16, from_mulaw, silence, to_l16

PCM, MULAW = 1, 7
RATE_HZ = 8000
FILE_BYTES_MAX = 50_000_000


class BadWav(ValueError):
    """The file is not an 8 kHz mono WAV of mu-law or 16-bit samples."""


def read_wav(path: Path) -> Samples:
    """Return the samples of an 8 kHz mono WAV file, mu-law or 16-bit.  Raises `BadWav`."""
    if path.stat().st_size > FILE_BYTES_MAX:
        raise BadWav(f"{path.name}: larger than {FILE_BYTES_MAX} bytes")
    raw = path.read_bytes()
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise BadWav(f"{path.name}: not a WAV file")
    chunks = _chunks(raw)
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise BadWav(f"{path.name}: no format or no data")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if (channels, rate_hz) != (1, RATE_HZ) or (tag, bits) not in ((PCM, 16), (MULAW, 8)):
        raise BadWav(
            f"{path.name}: expected 8 kHz mono mu-law or 16-bit, got tag {tag}, {channels} x {bits} bit, {rate_hz} Hz"
        )
    return from_mulaw(chunks[b"data"]) if tag == MULAW else from_l16(chunks[b"data"], RATE_HZ)


def _chunks(raw: bytes) -> dict[bytes, bytes]:
    """Return the RIFF chunks by name; each starts at an even offset."""
    chunks, at = {}, 12
    while at + 8 <= len(raw):
        name, size = struct.unpack_from("<4sI", raw, at)
        chunks[name] = raw[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return chunks


def write_stereo_wav(path: Path, left: Samples, right: Samples) -> None:
    """Write two 8 kHz tracks that begin together as 16-bit stereo; pad the shorter one with silence."""
    frames = max(len(left), len(right))
    both = silence(2 * frames)
    both[0 : 2 * len(left) : 2] = left
    both[1 : 2 * len(right) : 2] = right
    data = to_l16(both, RATE_HZ)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        PCM,
        2,
        RATE_HZ,
        RATE_HZ * 4,
        4,
        16,
        b"data",
        len(data),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + data)
