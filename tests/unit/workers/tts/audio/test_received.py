"""What a server may send instead of the samples that it was asked for: played as what it is, or refused by name."""

from __future__ import annotations

import io
import math
import random
import struct
import wave
from array import array
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.audio import g711
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.interfaces import Down, Rejected
from workers.tts.audio.format import MULAW_8K, Encoding
from workers.tts.audio.received import ReceivedAudio

pytestmark = [pytest.mark.fast, pytest.mark.exhaustive]

PCM_24K = Encoding("pcm", 24_000)
SECONDS = 0.5
PITCH_HZ = 500
noise = random.Random(7)


def tone(rate: int, seconds: float = SECONDS, pitch_hz: float = PITCH_HZ) -> list[float]:
    return [0.4 * math.sin(2 * math.pi * pitch_hz * n / rate) for n in range(round(rate * seconds))]


def pcm16(rate: int) -> bytes:
    return array("h", [round(32_767 * value) for value in tone(rate)]).tobytes()


def big_endian(pcm: bytes) -> bytes:
    samples = array("h", pcm)
    samples.byteswap()
    return samples.tobytes()


def alaw(pcm: bytes) -> bytes:
    """ITU-T G.711 by its definition: sign, segment, step, every other bit inverted."""
    coded = bytearray()
    for sample in array("h", pcm):
        magnitude = min(abs(sample) >> 4, 2_047)
        segment = max(0, magnitude.bit_length() - 4)
        step = magnitude >> max(1, segment) & 15 if segment else magnitude
        coded.append(((0x80 if sample >= 0 else 0) | segment << 4 | step) ^ 0x55)
    return bytes(coded)


def wav(
    tag: int, rate: int, bits: int, samples: bytes, channels: int = 1, *, size: int | None = None,
    before: bytes = b"", after: bytes = b"", extensible: bool = False,
) -> bytes:  # fmt: skip
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * frame, frame, bits)
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, 4, tag) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    data = b"data" + struct.pack("<I", len(samples) if size is None else size) + samples
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(fmt)) + fmt + before + data + after
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFF_FFFF)) + body


def stereo(pcm: bytes) -> bytes:
    return b"".join(pcm[at : at + 2] * 2 for at in range(0, len(pcm), 2))


def heard(
    data: bytes, asked: Encoding = PCM_24K, content_type: str = "", cut: int = 1_000, trusted: bool = True
) -> bytes:
    audio = ReceivedAudio("openai/tts-1", "OPENAI_BASE_URL", asked)
    audio.declared(content_type, trusted=trusted)
    return b"".join(audio.feed(data[at : at + cut]) for at in range(0, len(data), cut)) + audio.finish()


def check_tone(mulaw: bytes, seconds: float = SECONDS) -> None:
    """Is this the tone, at its pitch, length and level, and without a click?"""
    assert abs(len(mulaw) / g711.SAMPLE_RATE - seconds) < 0.003
    samples = np.array(g711.LINEAR_OF_MULAW, np.float64)[np.frombuffer(mulaw, np.uint8)][400:-400]
    window = np.hanning(len(samples))
    power = np.abs(np.fft.rfft(samples * window)) ** 2
    pitch = np.argmax(power) * g711.SAMPLE_RATE / len(samples)
    assert abs(pitch - PITCH_HZ) < 5
    near = slice(max(0, np.argmax(power) - 4), np.argmax(power) + 5)
    assert power[near].sum() > 0.99 * power.sum(), "nothing but the tone"
    assert 0.3 < np.abs(samples).max() / 32_768 < 0.5


def refused(data: bytes, asked: Encoding = PCM_24K, content_type: str = "", cut: int = 1_000) -> str:
    """The refusal; nothing may be heard before it."""
    audio = ReceivedAudio("openai/tts-1", "OPENAI_BASE_URL", asked)
    heard = b""
    with pytest.raises(Rejected, match="OPENAI_BASE_URL") as caught:
        audio.declared(content_type)
        for at in range(0, len(data), cut):
            heard += audio.feed(data[at : at + cut])
        heard += audio.finish()
    assert heard == b""
    return str(caught.value)


# --- WAV ------------------------------------------------------------------------------------------------------------


def python_wav(rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(pcm16(rate))
    return file.getvalue()


def as_24_bits(rate: int) -> bytes:
    return b"".join(round(8_388_607 * value).to_bytes(3, "little", signed=True) for value in tone(rate))


def in_parts(rate: int, size: int | None) -> bytes:
    """A header for each part, as some servers stream."""
    pcm, part = pcm16(rate), 4_000
    return b"".join(wav(1, rate, 16, pcm[at : at + part], size=size) for at in range(0, len(pcm), part))


LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT\x0e\0\0\0Lavf60.16.100\0"
RATES = (8_000, 16_000, 22_050, 44_100, 48_000)
WAVS: dict[str, Callable[[], bytes]] = {
    "by Python": lambda: python_wav(24_000),
    **{f"{rate} Hz": lambda rate=rate: wav(1, rate, 16, pcm16(rate)) for rate in RATES},
    "stereo": lambda: wav(1, 24_000, 16, stereo(pcm16(24_000)), 2),
    "8 bits": lambda: wav(1, 16_000, 8, bytes(round(128 + 127 * value) for value in tone(16_000))),
    "24 bits": lambda: wav(1, 24_000, 24, as_24_bits(24_000)),
    "32 bits": lambda: wav(1, 24_000, 32, array("i", [round(2**31 * value) for value in tone(24_000)]).tobytes()),
    "float": lambda: wav(3, 24_000, 32, array("f", tone(24_000)).tobytes()),
    "double": lambda: wav(3, 24_000, 64, array("d", tone(24_000)).tobytes()),
    "mu-law": lambda: wav(7, 8_000, 8, g711.encode(pcm16(8_000))),
    "mu-law at 16 kHz": lambda: wav(7, 16_000, 8, g711.encode(pcm16(16_000))),
    "A-law": lambda: wav(6, 8_000, 8, alaw(pcm16(8_000))),
    "extensible": lambda: wav(1, 24_000, 16, pcm16(24_000), extensible=True),
    "extensible float, stereo": lambda: wav(
        3, 48_000, 32, array("f", [x for value in tone(48_000) for x in (value, value)]).tobytes(), 2, extensible=True
    ),
    "of unknown length": lambda: wav(1, 24_000, 16, pcm16(24_000), size=0xFFFF_FFFF),
    "of length 0": lambda: wav(1, 24_000, 16, pcm16(24_000), size=0),
    "of the largest signed length": lambda: wav(1, 24_000, 16, pcm16(24_000), size=0x7FFF_FFFF),
    "by a pipe of ffmpeg": lambda: wav(1, 24_000, 16, pcm16(24_000), size=0xFFFF_FFFF, before=LIST),
    "with chunks after the data": lambda: wav(1, 24_000, 16, pcm16(24_000), after=LIST + b"id3 \x08\0\0\0ID3\x04abcd"),
    "a header for each part": lambda: in_parts(24_000, None),
    "a header of unknown length for each part": lambda: in_parts(24_000, 0xFFFF_FFFF),
    "a header that promises more for each part": lambda: in_parts(24_000, 1_000_000),
    "a header that counts the first part only": lambda: wav(1, 24_000, 16, pcm16(24_000), size=4_000),
}  # fmt: skip


@pytest.mark.parametrize("cut", [1, 7, 1_000, 1_000_000])
@pytest.mark.parametrize("name", WAVS)
def test_a_wav_is_played_by_its_header(name: str, cut: int) -> None:
    check_tone(heard(WAVS[name](), content_type="audio/wav", cut=cut))


@pytest.mark.parametrize("content_type", ["", "audio/pcm", "audio/mpeg", "application/octet-stream", "audio/x-wav"])
def test_a_wav_is_known_by_its_bytes_whatever_the_label(content_type: str) -> None:
    check_tone(heard(python_wav(16_000), content_type=content_type))


@pytest.mark.parametrize("name", WAVS)
def test_a_vendor_that_was_asked_for_mulaw_may_send_wav_too(name: str) -> None:
    check_tone(heard(WAVS[name](), MULAW_8K))


def test_mulaw_in_a_wav_is_not_touched() -> None:
    mulaw = g711.encode(pcm16(8_000))
    assert heard(wav(7, 8_000, 8, mulaw), MULAW_8K) == mulaw


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (wav(0x55, 24_000, 16, bytes(2_000)), "0x0055"),
        (wav(0x11, 24_000, 4, bytes(2_000)), "codec 0x0011"),
        (wav(1, 0, 16, bytes(2_000)), "0 Hz"),
        (wav(1, 24_000, 16, bytes(2_000), 90), "90 channels"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(100), "no WAV"),
        (b"RIFF\x10\0\0\0WAVEdata" + bytes(100), "without a format"),
        (wav(1, 24_000, 16, pcm16(24_000)) + wav(1, 16_000, 16, pcm16(16_000)), "changes its format"),
    ],
)
def test_a_wav_that_cannot_be_played_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(Rejected, match="OPENAI_BASE_URL") as caught:
        heard(data, content_type="audio/wav")
    assert told in str(caught.value)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_after_a_riff_are_played_or_refused(rest: bytes, cut: int) -> None:
    with suppress(Rejected):
        heard(b"RIFF\0\0\0\0WAVE" + rest, cut=cut)


# --- raw samples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["", "audio/pcm", "audio/x-raw", "application/octet-stream", "audio/wav", "Audio/PCM; rate=24000"]
)
@pytest.mark.parametrize("cut", [1, 4_801, 1_000_000])
def test_samples_as_asked_for_are_played(content_type: str, cut: int) -> None:
    check_tone(heard(pcm16(24_000), content_type=content_type, cut=cut))


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("audio/pcm;rate=16000", pcm16(16_000)),
        ("audio/pcm; rate=48000; channels=2", stereo(pcm16(48_000))),
        ("audio/L16; rate=22050", pcm16(22_050)),
        ("audio/l16;rate=44100", big_endian(pcm16(44_100))),
        ("audio/basic", g711.encode(pcm16(8_000))),
        ("audio/PCMU;rate=8000", g711.encode(pcm16(8_000))),
        ("audio/x-mulaw;rate=16000", g711.encode(pcm16(16_000))),
        ("audio/PCMA", alaw(pcm16(8_000))),
    ],
)
def test_what_the_label_says_of_the_samples_is_honoured(content_type: str, data: bytes) -> None:
    check_tone(heard(data, content_type=content_type, cut=777))


def test_samples_of_a_vendor_that_speaks_mulaw_are_not_touched() -> None:
    mulaw = g711.encode(pcm16(8_000))
    for content_type in ("", "audio/mulaw", "audio/basic", "audio/mulaw;rate=8000", "audio/raw"):
        for cut in (1, 333, 1_000_000):
            assert heard(mulaw, MULAW_8K, content_type, cut) == mulaw
    check_tone(heard(pcm16(16_000), MULAW_8K, "audio/l16;rate=16000"))
    with pytest.raises(Down, match="another sample rate"):
        heard(mulaw, MULAW_8K, "audio/mulaw;rate=16000")


@pytest.mark.parametrize("begins", [b"\xff" * 1_000, b"\xff\xfb\x90\x64" * 50, b"\x7f\xff" * 300, b"\xff\xf3\xe4" * 40])
def test_silence_in_mulaw_is_not_taken_for_mp3(begins: bytes) -> None:
    mulaw = begins + g711.encode(pcm16(8_000))
    assert heard(mulaw, MULAW_8K, cut=160) == mulaw


def test_a_clip_shorter_than_what_is_looked_at_is_played() -> None:
    mulaw = g711.encode(pcm16(8_000))[:90]
    assert heard(mulaw, MULAW_8K, cut=8) == mulaw
    assert heard(b"", MULAW_8K) == heard(b"") == b""


def test_the_first_hundred_milliseconds_are_all_that_is_waited_for() -> None:
    audio = ReceivedAudio("deepgram/aura", "DEEPGRAM_BASE_URL", MULAW_8K)
    mulaw = g711.encode(pcm16(8_000))
    assert audio.feed(mulaw[:792]) == b""
    assert audio.feed(mulaw[792:800]) == mulaw[:800]
    assert audio.feed(mulaw[800:808]) == mulaw[800:808]


@pytest.mark.parametrize("level", [0.05, 0.5, 1.0])
def test_loud_speech_and_hisses_are_not_noise(level: float) -> None:
    vowel = array("h", [round(32_000 * level * math.sin(2 * math.pi * 190 * n / 24_000) ** 3) for n in range(12_000)])
    hiss = array("h", [round(noise.gauss(0, 3_500 * level)) for _ in range(12_000)])
    for samples in (vowel, hiss):
        assert len(heard(samples.tobytes())) == 4_000
        at_8k = g711.encode(samples.tobytes())
        assert heard(at_8k, MULAW_8K) == at_8k


def test_the_deadlines_count_the_audio_that_came() -> None:
    deadline = SynthesisDeadline(SpeechDeadlines(gap_s=2.0), PCM_24K.bytes_per_ms)
    audio = ReceivedAudio("openai/tts-1", "OPENAI_BASE_URL", PCM_24K, deadline)
    audio.feed(wav(7, 8_000, 8, g711.encode(pcm16(8_000))))
    deadline.heard(8_000)
    deadline.waited(2.5)
    assert deadline.left_s == pytest.approx(0.5)  # a second of audio, two of patience


# --- anything else --------------------------------------------------------------------------------------------------


def mp3(header: bytes = b"\xff\xfb\x90\x64", length: int = 417) -> bytes:
    return b"".join(header + noise.randbytes(length - len(header)) for _ in range(12))


def aac() -> bytes:
    length = 300
    header = bytes([0xFF, 0xF1, 0x5C, 0x80 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC])
    return b"".join(header + noise.randbytes(length - 7) for _ in range(12))


CONTAINERS: dict[str, tuple[bytes, str]] = {
    "MP3": (mp3(), "MP3"),
    "MP3 of 24 kHz": (mp3(b"\xff\xf3\x84\xc4", 192), "MP3"),
    "MP3 with a title": (b"ID3\x04\0\0\0\0\0\x23TSSE" + bytes(31) + mp3(), "MP3"),
    "silent MP3": (b"".join(b"\xff\xfb\x90\x64" + bytes(413) for _ in range(12)), "MP3"),
    "Ogg": (b"OggS\0\x02" + bytes(20) + b"OpusHead" + noise.randbytes(4_000), "Ogg"),
    "FLAC": (b"fLaC\0\0\0\x22" + noise.randbytes(4_000), "FLAC"),
    "AAC": (aac(), "AAC"),
    "MP4": (b"\0\0\0\x20ftypM4A " + noise.randbytes(4_000), "MP4"),
    "WebM": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81" + noise.randbytes(4_000), "WebM"),
    "AIFF": (b"FORM\0\0\x12\x34AIFFCOMM" + bytes(4_000), "AIFF"),
    "AU": (b".snd\0\0\0\x18" + bytes(4_000), "AU"),
    "AMR": (b"#!AMR\n" + noise.randbytes(4_000), "AMR"),
    "gzip": (b"\x1f\x8b\x08\0" + noise.randbytes(4_000), "gzip"),
    "an error": (b'{"error":{"message":"model overloaded"}}', "JSON"),
    "audio in JSON": (b'{"audio": "' + b"UklGRgAA" * 400 + b'"}', "JSON"),
    "a list": (b'[{"detail":"voice not found"}]', "JSON"),
    "a web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>" * 9, "a web page"),
    "a page in Hindi": ("<html>कृपया बाद में प्रयास करें</html>".encode() * 9, "a web page"),
    "events": (b"data: {\"audio\": \"AAAA\"}\n\n" * 20, "a text"),
    "a sentence": (b"upstream connect error or disconnect/reset before headers", "a text"),
    "noise": (noise.randbytes(9_000), "noise"),
    "noise after silence": (bytes(9_600) + noise.randbytes(9_000), "noise"),
}  # fmt: skip


@pytest.mark.parametrize("cut", [1, 160, 1_000_000])
@pytest.mark.parametrize("asked", [PCM_24K, MULAW_8K], ids=["PCM", "mu-law"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_what_is_no_audio_is_refused_before_a_byte_is_heard(name: str, asked: Encoding, cut: int) -> None:
    data, told = CONTAINERS[name]
    if name == "noise after silence":
        with pytest.raises(Rejected, match="noise"):
            heard(data if asked == PCM_24K else data.replace(b"\0", b"\xff"), asked, cut=cut)
        return
    message = refused(data, asked, cut=cut)
    assert f"answered with {told}" in message
    assert "overloaded" not in message and "Sign in" not in message


@pytest.mark.parametrize("asked", [PCM_24K, MULAW_8K], ids=["PCM", "mu-law"])
@pytest.mark.parametrize(
    ("content_type", "told"),
    [
        ("audio/mpeg", "MP3"), ("audio/mp3", "MP3"), ("audio/ogg; codecs=opus", "Ogg"), ("audio/flac", "FLAC"),
        ("audio/aac", "AAC"), ("audio/webm", "WebM"), ("application/ogg", "Ogg"), ("video/mp4", "MP4"),
        ("application/json", "JSON"), ("text/html; charset=utf-8", "a web page"), ("text/plain", "a text"),
        ("text/event-stream", "a text"), ("image/png", "image data"), ("application/pdf", "no audio"),
    ],
)  # fmt: skip
def test_a_label_of_something_else_is_believed(content_type: str, told: str, asked: Encoding) -> None:
    assert f"answered with {told}" in refused(bytes(4_000), asked, content_type)


@pytest.mark.parametrize(
    "data",
    [
        big_endian(pcm16(24_000)),
        array("f", tone(24_000)).tobytes(),
        bytes(round(128 + 127 * value) for value in tone(24_000)),
    ],
    ids=["big-endian", "float", "8 bits"],
)
def test_samples_of_another_kind_without_a_label_are_a_blast_and_refused(data: bytes) -> None:
    assert "noise" in refused(data)


def test_a_vendor_whose_label_is_not_known_is_judged_by_its_bytes() -> None:
    mulaw = g711.encode(pcm16(8_000))
    assert heard(mulaw, MULAW_8K, "audio/mpeg", trusted=False) == mulaw
    with pytest.raises(Rejected, match="MP3"):
        heard(b"\xff\xfb\x90\x64" + bytes(300), MULAW_8K, "audio/mpeg", trusted=False)
