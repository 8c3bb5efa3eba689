"""By whatever name, and whatever was declared: the caller's audio is read in the format in which it is."""

from __future__ import annotations

import json
import math
from array import array

import pytest

from common.audio import g711
from edge.media.decoder import UplinkDecoder
from edge.vobiz.media_format import ALAW, L16, MULAW, BadFormat, MediaFormat, media_format
from edge.vobiz.stream_protocol import BadFrame, Start, parse

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("name", "rate", "encoding", "hertz"),
    [
        ("audio/x-mulaw", "8000", MULAW, 8000),
        ("AUDIO/X-MULAW;RATE=8000", "", MULAW, 8000),
        ("PCMU", "", MULAW, 8000),
        ("PCMU/8000/1", "", MULAW, 8000),
        ("audio/PCMU", "8000", MULAW, 8000),
        ("ulaw", "8000", MULAW, 8000),
        ("g711_ulaw", "", MULAW, 8000),
        ("mulaw", "", MULAW, 8000),
        ("MuLaw", "8000.0", MULAW, 8000),
        ("G711U", "", MULAW, 8000),
        ("audio/basic", "", MULAW, 8000),
        ("audio/x-alaw", "8000", ALAW, 8000),
        ("PCMA", "", ALAW, 8000),
        ("alaw", "8000", ALAW, 8000),
        ("audio/x-l16", "16000", L16, 16000),
        ("audio/l16; rate=16000; channels=1", "", L16, 16000),
        ("audio/L16;rate=8000", "", L16, 8000),
        ("L16/16000", "", L16, 16000),
        ('audio/l16;rate="16000"', "", L16, 16000),
        ("audio/x-l16;rate=8000", "16000", L16, 16000),
        ("linear16", "", L16, 8000),
    ],
)
def test_a_format_is_known_by_each_of_its_names(name: str, rate: str, encoding: str, hertz: int) -> None:
    assert media_format(name, rate) == MediaFormat(encoding, hertz)


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("audio/x-mulaw", "16000"),
        ("PCMU/16000", ""),
        ("audio/x-mulaw;rate=16000", ""),
        ("PCMA", "16000"),
        ("audio/opus", "48000"),
        ("audio/x-l16", "44100"),
        ("audio/l16;rate=8000;channels=2", ""),
        ("L16/8000/2", ""),
        ("g729", ""),
        ("audio/x-l16", "fast"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_would_do(name: str, rate: str) -> None:
    with pytest.raises(BadFormat, match="expected mu-law or A-law at 8000 Hz or L16 at 8000 or 16000 Hz"):
        media_format(name, rate)


@pytest.mark.parametrize("rate", [16000, "16000", 16000.0])
def test_a_rate_is_a_number_however_it_is_written(rate: object) -> None:
    body = {"callId": "c-1", "mediaFormat": {"encoding": "audio/l16", "sampleRate": rate}}
    event = parse(json.dumps({"event": "start", "start": body}))
    assert isinstance(event, Start)
    assert event.media_format == MediaFormat(L16, 16000)


def test_mulaw_at_16_khz_is_refused_at_the_start() -> None:
    body = {"callId": "c-1", "mediaFormat": {"encoding": "PCMU", "sampleRate": 16000}}
    with pytest.raises(BadFrame, match="16000 Hz"):
        parse(json.dumps({"event": "start", "start": body}))


def voice(rate: int, seconds: float = 0.5, peak: int = 8000) -> bytes:
    """Little-endian samples of something like a voice."""
    values = (
        round(peak * (0.7 * math.sin(math.tau * 220 * n / rate) + 0.3 * math.sin(math.tau * 660 * n / rate)))
        for n in range(int(rate * seconds))
    )
    return b"".join(value.to_bytes(2, "little", signed=True) for value in values)


def alaw(pcm: bytes) -> bytes:
    """By the standard's decision levels, and not by our table: the code whose value is nearest."""
    levels = [(abs_value(code), code) for code in range(256)]
    samples = array("h", pcm)
    return bytes(min(levels, key=lambda level: abs(level[0] - sample))[1] for sample in samples)


def abs_value(code: int) -> int:
    code ^= 0x55
    segment, step = (code & 0x70) >> 4, code & 0x0F
    value = (2 * step + 1) * 8 if segment == 0 else (2 * step + 33) * 2 ** (segment + 2)
    return value if code & 0x80 else -value


def heard(declared: MediaFormat, wire: bytes, size: int) -> tuple[list[int], list[MediaFormat]]:
    """(samples at 8 kHz, corrections) of a wire in payloads of this size."""
    audio, corrections, frames = UplinkDecoder(declared), [], []
    for at in range(0, len(wire), size):
        payload = wire[at : at + size]
        if other := audio.corrected(payload):
            corrections.append(other)
        frames += audio.feed(payload)
    return list(array("h", g711.decode(b"".join(frames)))), corrections


def error_db(samples: list[int]) -> float:
    """Distance to the voice at 8 kHz, at the best delay."""
    wanted = array("h", voice(8000))

    def error(late: int) -> float:
        return sum((samples[n + late] - wanted[n]) ** 2 for n in range(400, 3000))

    return 10 * math.log10(sum(one * one for one in wanted[400:3000]) / max(min(map(error, range(4))), 1))


WIRES = {
    MediaFormat(MULAW): (g711.encode(voice(8000)), 160),
    MediaFormat(ALAW): (alaw(voice(8000)), 160),
    MediaFormat(L16, 8000): (voice(8000), 320),
    MediaFormat(L16, 16000): (voice(16000), 640),
}


@pytest.mark.parametrize("declared", WIRES, ids=str)
def test_what_is_declared_is_read(declared: MediaFormat) -> None:
    samples, corrections = heard(declared, *WIRES[declared])
    assert corrections == []
    assert error_db(samples) > 20


@pytest.mark.parametrize("sent", [MediaFormat(MULAW), MediaFormat(L16, 8000), MediaFormat(L16, 16000)], ids=str)
@pytest.mark.parametrize("declared", WIRES, ids=str)
def test_the_first_payload_tells_what_is_really_sent(declared: MediaFormat, sent: MediaFormat) -> None:
    if declared == sent or (declared.encoding, sent.encoding) == (ALAW, MULAW):
        return  # two G.711 differ by no length
    samples, corrections = heard(declared, *WIRES[sent])
    assert corrections == [sent]
    assert error_db(samples) > 20


def test_the_zeros_of_l16_are_never_taken_for_the_loudest_sound_of_mulaw() -> None:
    samples, corrections = heard(MediaFormat(MULAW), bytes(320) * 100 + voice(8000), 320)
    assert corrections == [MediaFormat(L16, 8000)]
    assert max(samples[:15_000]) < 10


def test_silence_decides_nothing_and_the_voice_after_it_does() -> None:
    _, corrections = heard(MediaFormat(MULAW), b"\xff" * 320 * 100 + voice(8000), 320)
    assert corrections == [MediaFormat(L16, 8000)]


@pytest.mark.parametrize("frames", [2, 4, 5, 10])
def test_payloads_that_are_longer_than_20_ms_are_what_was_declared(frames: int) -> None:
    samples, corrections = heard(MediaFormat(MULAW), WIRES[MediaFormat(MULAW)][0], 160 * frames)
    assert corrections == []
    assert error_db(samples) > 20


def test_the_silence_of_mulaw_in_large_pieces_is_no_other_format() -> None:
    assert heard(MediaFormat(MULAW), b"\xff" * 320 * 60, 320)[1] == []
