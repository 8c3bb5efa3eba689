"""G.711 mu-law against the standard's own formulation: decision values of table 2a, found by searching the segment."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.audio import g711

pytestmark = pytest.mark.fast

SEGMENT_ENDS = (31, 95, 223, 479, 991, 2015, 4063, 8159)
"""ITU-T G.711 table 2a: the decision values at which each segment ends, on the 14-bit scale."""


def textbook_encode(sample: int) -> int:
    """16-bit sample -> mu-law, by the segment search of the standard; no bias, no shifts."""
    value = min(abs(sample) / 4, 8158.75)
    code, lower = 0, 0.0
    for segment, end in enumerate(SEGMENT_ENDS):
        # The first step of segment 0 is half as wide: values 0 to 1, then steps of 2.
        step = 2 ** (segment + 1)
        if value < end:
            inside = int((value + 1) // 2) if segment == 0 else int((value - lower) // step)
            code = segment * 16 + inside
            break
        lower = end
    return (0x7F if sample < 0 else 0xFF) - code


def textbook_decode(code: int) -> int:
    """mu-law -> 16-bit sample: the output values y_n of table 2a, times 4."""
    negative, code = code < 0x80, 0x7F - (code & 0x7F)
    segment, step = divmod(code, 16)
    value = 2 * step if segment == 0 else SEGMENT_ENDS[segment - 1] + 2**segment * (2 * step + 1)
    return -4 * value if negative else 4 * value


def samples_of(pcm: bytes) -> array[int]:
    return array("h", pcm)


def sine(level_dbfs: float, hz: float = 1020.0, seconds: float = 0.5) -> array[int]:
    peak = 32767 * 10 ** (level_dbfs / 20)
    return array("h", (round(peak * math.sin(2 * math.pi * hz * n / 8000)) for n in range(int(8000 * seconds))))


def snr_db(wanted: array[int], got: array[int]) -> float:
    signal = sum(s * s for s in wanted)
    noise = sum((a - b) ** 2 for a, b in zip(wanted, got, strict=True))
    return 10 * math.log10(signal / noise)


def test_silence_is_0xff():
    assert g711.encode(b"\0\0" * 160) == g711.SILENCE * g711.FRAME_BYTES
    assert g711.decode(g711.SILENCE) == b"\0\0"


def test_every_code_survives_the_round_trip():
    for code in range(256):
        again = g711.encode(g711.decode(bytes([code])))[0]
        assert again == (0xFF if code == 0x7F else code)  # 0x7F is minus zero: linear has none


def test_every_code_decodes_to_the_value_of_the_standard():
    assert list(g711.LINEAR_OF_MULAW) == [textbook_decode(code) for code in range(256)]


def test_the_extremes():
    assert g711.encode((32767).to_bytes(2, "little") + (-32768).to_bytes(2, "little", signed=True)) == b"\x80\x00"
    assert list(samples_of(g711.decode(b"\x80\x00"))) == [32124, -32124]


def test_every_positive_sample_encodes_as_the_standard_says():
    for sample in range(32768):
        assert g711.MULAW_OF_LINEAR[sample] == textbook_encode(sample), sample


def test_the_codec_is_symmetric():
    for sample in range(1, 32768):
        code = g711.MULAW_OF_LINEAR[sample]
        assert g711.MULAW_OF_LINEAR[0x10000 - sample] == code & 0x7F, sample


@pytest.mark.parametrize("level_dbfs", [-3.0, -10.0, -20.0, -30.0, -40.0])
def test_a_sine_comes_through_as_clean_as_the_standard_allows(level_dbfs: float):
    wanted = sine(level_dbfs)
    got = samples_of(g711.decode(g711.encode(wanted.tobytes())))
    textbook = array("h", (textbook_decode(textbook_encode(sample)) for sample in wanted))
    assert snr_db(wanted, got) == pytest.approx(snr_db(wanted, textbook), abs=1.0)
    assert snr_db(wanted, got) > (33 if level_dbfs >= -30 else 27)  # the mask of ITU-T G.712


def test_audio_is_filled_up_to_whole_frames():
    assert g711.padded(b"") == b""
    assert g711.padded(b"\x11" * 161) == b"\x11" * 161 + b"\xff" * 159
    assert g711.padded(b"\x11" * 160) == b"\x11" * 160


def test_half_a_sample_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        g711.encode(b"\0")


@given(st.binary(max_size=400))
def test_a_second_round_trip_changes_nothing(mulaw: bytes):
    once = g711.encode(g711.decode(mulaw))
    assert g711.encode(g711.decode(once)) == once
    assert len(once) == len(mulaw)
