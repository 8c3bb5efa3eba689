"""Whatever the carrier sends, the bus gets 20 ms frames of mu-law, with nothing lost and nothing added."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.audio import g711
from edge.media.decoder import UplinkDecoder
from edge.vobiz.stream_protocol import BadFrame, MediaFormat

pytestmark = pytest.mark.fast

MULAW = MediaFormat("mulaw", 8000)
L16 = MediaFormat("l16", 8000)
L16_WIDE = MediaFormat("l16", 16000)


def sine(hz: float, rate: int, seconds: float = 1.0, peak: float = 10_000) -> bytes:
    """Little-endian samples."""
    samples = (round(peak * math.sin(2 * math.pi * hz * n / rate)) for n in range(int(rate * seconds)))
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


def fed(media_format: MediaFormat, payloads: list[bytes]) -> bytes:
    """All frames joined; each is a whole one."""
    audio = UplinkDecoder(media_format)
    frames = [frame for payload in payloads for frame in audio.feed(payload)]
    assert all(len(frame) == g711.FRAME_BYTES for frame in frames)
    return b"".join(frames)


def pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    return [whole[a:b] for a, b in pairwise(edges)]


def tone(mulaw: bytes, hz: float) -> tuple[float, float]:
    """(peak of that tone, its distance to everything else in dB), leaving out the first 20 ms."""
    samples = array("h", g711.decode(mulaw))[160:]
    angles = [2 * math.pi * hz * n / 8000 for n in range(len(samples))]
    sine_part = 2 / len(samples) * sum(s * math.sin(a) for s, a in zip(samples, angles, strict=True))
    cosine_part = 2 / len(samples) * sum(s * math.cos(a) for s, a in zip(samples, angles, strict=True))
    noise = sum(
        (s - sine_part * math.sin(a) - cosine_part * math.cos(a)) ** 2 for s, a in zip(samples, angles, strict=True)
    )
    peak = math.hypot(sine_part, cosine_part)
    return peak, 10 * math.log10(len(samples) * peak**2 / 2 / max(noise, 1e-9))


def test_a_mulaw_frame_goes_through_untouched() -> None:
    frame = bytes(range(160))
    assert UplinkDecoder(MULAW).feed(frame) == [frame]


@pytest.mark.parametrize("size", [1, 7, 80, 159, 161, 320, 333, 1000])
def test_payloads_of_odd_sizes_are_joined_and_cut(size: int) -> None:
    speech = bytes(n * 7 % 256 for n in range(1600))
    assert fed(MULAW, [speech[at : at + size] for at in range(0, 1600, size)]) == speech


def test_a_frame_after_half_a_frame_waits_its_turn() -> None:
    audio = UplinkDecoder(MULAW)
    assert audio.feed(b"\x01" * 80) == []
    assert audio.feed(b"\x02" * 160) == [b"\x01" * 80 + b"\x02" * 80]
    assert audio.feed(b"\x03" * 80) == [b"\x02" * 80 + b"\x03" * 80]
    assert audio.feed(b"") == []


@pytest.mark.parametrize("media_format", [MULAW, L16, L16_WIDE], ids=["mulaw", "l16-8k", "l16-16k"])
@given(cuts=st.lists(st.integers(0, 4000), max_size=8))
def test_it_does_not_matter_where_the_payloads_are_cut(media_format: MediaFormat, cuts: list[int]) -> None:
    """Not even inside a sample."""
    speech = sine(440, 8000, seconds=0.1) * 2
    assert fed(media_format, pieces(speech, cuts)) == fed(media_format, [speech])


def test_l16_at_8_khz_loses_only_what_mulaw_loses() -> None:
    speech = sine(1020, 8000)
    assert fed(L16, [speech]) == g711.encode(speech)
    peak, clean_db = tone(fed(L16, [speech]), 1020)
    assert peak == pytest.approx(10_000, rel=0.02)
    assert clean_db > 33


def test_an_odd_byte_waits_for_its_other_half() -> None:
    audio = UplinkDecoder(L16)
    first = audio.feed(sine(1020, 8000, 0.02)[:-1])
    assert first == []
    assert audio.feed(sine(1020, 8000, 0.02)[-1:]) == [g711.encode(sine(1020, 8000, 0.02))]


@pytest.mark.parametrize("hz", [200, 440, 1020, 2000, 3000])
def test_l16_at_16_khz_keeps_the_voice(hz: float) -> None:
    peak, clean_db = tone(fed(L16_WIDE, [sine(hz, 16000)]), hz)
    assert 20 * math.log10(peak / 10_000) > -3.5
    assert peak < 10_200
    assert clean_db > 30


def test_l16_at_16_khz_does_not_fold_hiss_into_the_voice() -> None:
    peak, _ = tone(fed(L16_WIDE, [sine(6000, 16000)]), 2000)  # 8 kHz - 6 kHz
    assert 20 * math.log10(peak / 10_000) < -20


def test_l16_at_16_khz_survives_full_scale() -> None:
    square = (b"\xff\x7f" * 40 + b"\x00\x80" * 40) * 40
    assert len(fed(L16_WIDE, [square])) == 1600 // 160 * 160


def test_the_length_in_time_is_kept() -> None:
    for media_format, rate in ((L16, 8000), (L16_WIDE, 16000)):
        assert len(fed(media_format, [sine(300, rate, seconds=0.5)])) == 4000


def test_l16_at_24_khz_is_refused() -> None:
    with pytest.raises(BadFrame) as caught:
        UplinkDecoder(MediaFormat("l16", 24000))
    assert caught.value.kind == "bad format"
