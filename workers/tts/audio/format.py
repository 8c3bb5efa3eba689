"""Detects what the bytes of a server's answer are: the coding of samples, or a container without samples.  Pure.

A server that does not know the requested format sends another one, with status 200.  Played as samples, MP3 is noise at
full scale; so nothing is played before it is known to be samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

RATE_MIN, RATE_MAX = 4_000, 192_000
CHANNELS_MAX = 8
HEAD_BYTES = 12
"""Bytes at the beginning that identify nearly every container."""
TEXT_BYTES = 160
"""This many bytes of text only are not speech; fewer, if the answer ends there."""
MPEG_FRAME_BYTES_MAX = 8_192
"""Longest frame of MPEG audio or AAC."""

WAV = "WAV"
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"ID3", "MP3"),
    (0, b"OggS", "Ogg"),
    (0, b"fLaC", "FLAC"),
    (4, b"ftyp", "MP4"),
    (0, b"\x1a\x45\xdf\xa3", "WebM"),
    (0, b"FORM", "AIFF"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!SILK", "SILK"),
    (0, b"\x02#!SILK", "SILK"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
    (0, b"RIFX", "big-endian WAV"),
    (0, b"wvpk", "WavPack"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
)


class NotSamples(Exception):
    """The bytes are not samples; the exception's text says what they are."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """The coding of samples, their rate in Hz, and the number of channels.

    `coding`: pcm (signed, little-endian), big (the same, big-endian), l16 (either order), unsigned, float, mulaw, alaw.
    """

    coding: str
    rate: int
    bits: int = 16
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bits // 8

    @property
    def bytes_per_ms(self) -> float:
        return self.rate * self.frame_bytes / 1000

    def checked(self) -> Encoding:
        """Return self.  Raises `NotSamples` if the rate or the number of channels is implausible."""
        if not RATE_MIN <= self.rate <= RATE_MAX or not 1 <= self.channels <= CHANNELS_MAX:
            raise NotSamples(f"audio of {self.rate} Hz and {self.channels} channels")
        return self


MULAW_8K = Encoding("mulaw", 8_000, 8)

_CODINGS = {
    "pcm": "pcm", "raw": "pcm", "s16le": "pcm", "linear16": "pcm", "lpcm": "pcm", "l16": "l16",
    "mulaw": "mulaw", "mu-law": "mulaw", "ulaw": "mulaw", "pcmu": "mulaw", "basic": "mulaw", "g711-ulaw": "mulaw",
    "alaw": "alaw", "a-law": "alaw", "pcma": "alaw", "g711-alaw": "alaw", "alaw-basic": "alaw",
}  # fmt: skip
_UNSAID = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-octet-stream"})
_COMPRESSED = {
    "mpeg": "MP3", "mp3": "MP3", "mpeg3": "MP3", "mpa": "MP3", "mpg": "MP3", "ogg": "Ogg", "opus": "Opus",
    "vorbis": "Ogg", "flac": "FLAC", "aac": "AAC", "aacp": "AAC", "mp4": "MP4", "m4a": "MP4", "mp4a-latm": "AAC",
    "webm": "WebM", "aiff": "AIFF", "amr": "AMR", "amr-wb": "AMR", "3gpp": "AMR", "ms-wma": "WMA", "g722": "G.722",
    "g729": "G.729", "silk": "SILK", "adpcm": "ADPCM",
}  # fmt: skip


def media_subtype(content_type: str) -> tuple[str, dict[str, str]]:
    """Parse a media type: `audio/x-L16; Rate=8000` is ("audio/l16", {"rate": "8000"})."""
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    named = (parameter.partition("=") for parameter in parameters)
    return media.replace("/x-", "/").replace("/vnd.", "/"), {
        name.strip(): value.strip(' "') for name, _, value in named
    }


def compressed(content_type: str) -> str:
    """Return the container or codec of a compressed media type; empty for any other."""
    media, _ = media_subtype(content_type)
    kind, _, subtype = media.partition("/")
    return _COMPRESSED.get(subtype, "") if kind in ("audio", "video", "application") else ""


def declared(content_type: str, asked: Encoding) -> Encoding:
    """Return the coding of an answer with this media type, if it turns out to hold samples.

    What the type does not specify is as requested (`asked`).  Raises `NotSamples` for what is not audio.
    """
    media, parameters = media_subtype(content_type)
    kind, _, subtype = media.partition("/")
    if media in _UNSAID or compressed(content_type):
        return asked
    if kind != "audio":
        raise NotSamples(_document(subtype) if kind in ("text", "application") else f"{kind} data")
    coding = _CODINGS.get(subtype, "")
    encoding = asked
    if coding in ("mulaw", "alaw"):
        encoding = Encoding(coding, asked.rate if asked.coding == coding else MULAW_8K.rate, 8)
    elif coding and asked.coding in ("mulaw", "alaw"):
        if not _number(parameters, "rate", "samplerate", "sample_rate", "sample-rate"):
            return asked  # "raw": the requested coding has no other name
        encoding = Encoding(coding, asked.rate)
    elif coding:
        encoding = replace(asked, coding=coding)
    rate = _number(parameters, "rate", "samplerate", "sample_rate", "sample-rate") or encoding.rate
    channels = _number(parameters, "channels") or encoding.channels
    return replace(encoding, rate=rate, channels=channels).checked()


def _number(parameters: dict[str, str], *names: str) -> int:
    return next((int(parameters[name]) for name in names if parameters.get(name, "").isdecimal()), 0)


def _document(subtype: str) -> str:
    if "html" in subtype:
        return "a web page"
    return "JSON" if "json" in subtype else "a text" if subtype in ("plain", "xml", "event-stream") else "no audio"


# --- the beginning of the bytes -------------------------------------------------------------------------------------


def container(head: bytes, *, whole: bool) -> str | None:
    """Identify the beginning of an answer: `WAV`, another container, "" for samples, None if more bytes are needed.

    `whole`: no more bytes will come.
    """
    if len(head) < HEAD_BYTES and not whole:
        return None
    if head.startswith((b"RIFF", b"RF64", b"BW64")):
        return WAV
    named = next((name for at, magic, name in _MAGIC if head[at : at + len(magic)] == magic), "")
    if named:
        return named
    frames = _mpeg(head, whole=whole)
    return frames if frames is None or frames else _text(head, whole=whole)


def _text(head: bytes, *, whole: bool) -> str | None:
    """Return the kind of text,  for samples, None if undecided: samples are not printable for long."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.end < len(head) or error.start < len(head) - 3:
            return ""
        text = head[: error.start].decode("utf-8-sig")  # cut within a character
    if not all(char.isprintable() or char in "\r\n\t" for char in text):
        return ""
    found = {"{": "JSON", "[": "JSON", "<": "a web page"}.get(text.lstrip()[:1], "")
    if len(head) < TEXT_BYTES and not (whole and (found or len(head) >= HEAD_BYTES)):
        return "" if whole else None
    return found or "a text"


# Bits per frame of layer I, II and III, in thousands a second, for MPEG-1 and for MPEG-2 and 2.5.
_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mpeg(head: bytes, *, whole: bool) -> str | None:
    """Detect MP3 and AAC, which have no magic bytes, by two frames in a row: one alone may be silence in mu-law."""
    length, name = mpeg_frame(head)
    if not length:
        return ""
    if len(head) < length + 7:
        if not whole:
            return None
        return name if len(head) == length else ""  # one frame, and nothing else
    return name if head[length + 1] & 0xFE == head[1] & 0xFE and mpeg_frame(head[length:])[0] else ""


def mpeg_frame(head: bytes) -> tuple[int, str]:
    """Return (length in bytes, name) of the MPEG audio or AAC frame that begins here; length 0 if none does."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0, ""
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    if layer == 4:  # ADTS
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        is_adts = head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13 and 7 < length <= MPEG_FRAME_BYTES_MAX
        return (length, "AAC") if is_adts else (0, "")
    rate_index, bitrate_index = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or rate_index == 3 or not 0 < bitrate_index < 15:
        return 0, ""
    bits = 1000 * _BITRATES[1 if version == 3 else 2, layer][bitrate_index - 1]
    rate, padding = _RATES[version][rate_index], head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4, "MP3"
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // rate + padding, "MP3"


# --- the first sound ------------------------------------------------------------------------------------------------

WINDOW_MS = 100
"""Ms of the first sound that are judged."""
SOUND_MIN = 0.01
"""Least loudness (RMS, of full scale) at which samples are judged."""
NOISE_MIN = 0.25
"""Loudness (of full scale) from which samples must be alike: random mu-law has 0.30, random PCM 0.58."""
SQUARE_MIN = 0.75
"""Loudness (of full scale) that only clipped noise has."""
LIKENESS_MIN = 0.4
"""Least correlation of a sample with the next one: speech has 0.8 and more, noise 0."""


def is_sound(samples: list[int]) -> bool:
    """True if these 16-bit samples are loud enough to be judged."""
    return _loudness(samples) >= SOUND_MIN


def is_noise(samples: list[int]) -> bool:
    """True if these 16-bit samples cannot be a voice: data at full scale."""
    loudness = _loudness(samples)
    return loudness >= SQUARE_MIN or (loudness >= NOISE_MIN and likeness(samples) < LIKENESS_MIN)


def likeness(samples: list[int]) -> float:
    """Return the correlation of each sample with the next: -1 to 1."""
    power = sum(sample * sample for sample in samples)
    return sum(a * b for a, b in pairwise(samples)) / power if power else 0.0


def _loudness(samples: list[int]) -> float:
    """Root mean square without the mean, as a part of full scale; without it zero bytes would be loud in mu-law."""
    if not samples:
        return 0.0
    mean = sum(samples) / len(samples)
    return math.sqrt(max(0.0, sum(sample * sample for sample in samples) / len(samples) - mean * mean)) / 32_768
