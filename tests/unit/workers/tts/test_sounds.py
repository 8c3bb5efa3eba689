"""Sounds of agents: read from their folder, converted once; what cannot be played costs a warning and no music."""

from __future__ import annotations

import asyncio
import io
import logging
import math
import struct
import wave
from pathlib import Path

import pytest

from common.agents.model import Agent
from common.audio.g711 import BYTES_PER_MS, LINEAR_OF_MULAW
from workers.tts.audio.hold_tone import AMPLITUDE, ROUND_S, hold_tone
from workers.tts.audio.sound_file import SOUND_FILE_BYTES_MAX, SOUND_MS_MAX, BadSound, sound_mulaw
from workers.tts.sounds import Sounds

pytestmark = pytest.mark.fast

AGENT = Agent("desk", "", "-", sounds={"hold": "hold.wav"})


def wav(rate: int = 8_000, channels: int = 1, ms: int = 500, width: int = 2) -> bytes:
    """A note of 400 Hz."""
    samples = [round(8_000 * math.sin(2 * math.pi * 400 * at / rate)) for at in range(rate * ms // 1000)]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", ""))
        if width == 2:
            out.writeframes(b"".join(struct.pack("<h", sample) * channels for sample in samples))
        else:
            out.writeframes(bytes(sample // 256 + 128 for sample in samples for _ in range(channels)))
    return file.getvalue()


def level(mulaw: bytes) -> int:
    return max(abs(LINEAR_OF_MULAW[byte]) for byte in mulaw)


@pytest.mark.parametrize(("rate", "channels", "width"), [(8_000, 1, 2), (44_100, 2, 2), (16_000, 1, 1), (48_000, 1, 2)])
def test_any_rate_in_mono_or_stereo_is_converted(rate: int, channels: int, width: int) -> None:
    mulaw = sound_mulaw(wav(rate, channels, width=width), "hold.WAV")
    assert abs(len(mulaw) / BYTES_PER_MS - 500) < 2
    assert 7_000 < level(mulaw[800:-800]) < 9_000


def test_raw_mulaw_is_taken_as_it_is() -> None:
    assert sound_mulaw(b"\x22" * 8_000, "hold.ulaw") == b"\x22" * 8_000


@pytest.mark.parametrize(
    ("data", "name", "told"),
    [
        (b"", "a.wav", "it is no WAV file"),
        (b"ID3 and so on, as an MP3 file begins", "a.wav", "that is no WAV"),
        (wav()[:40], "a.wav", "it is no WAV file"),
        (wav(ms=50), "a.wav", "it lasts 50 ms"),
        (wav(ms=SOUND_MS_MAX + 1_000), "a.wav", "it lasts 61 s; cut it to 60 s"),
        (bytes(SOUND_MS_MAX * BYTES_PER_MS + BYTES_PER_MS), "a.ulaw", "it lasts 60 s; cut it"),
        (bytes(SOUND_FILE_BYTES_MAX + 1), "a.wav", "larger than 2 MiB"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00U\x00\x01\x00" + bytes(12), "a.wav", "codec 0x0055"),
    ],
)
def test_what_cannot_be_played_is_told(data: bytes, name: str, told: str) -> None:
    with pytest.raises(BadSound, match=told):
        sound_mulaw(data, name)


def test_a_file_is_read_once_for_each_version_of_it(tmp_path: Path) -> None:
    (tmp_path / "hold.wav").write_bytes(wav())
    sounds = Sounds(tmp_path)
    first = sounds.read("hold.wav")
    assert sounds.read("hold.wav") is first
    (tmp_path / "hold.wav").write_bytes(wav(ms=900))
    assert len(sounds.read("hold.wav")) == 7_200
    assert asyncio.run(sounds.audio(AGENT, "hold")) == sounds.read("hold.wav")


def test_the_packaged_tone_stands_in_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds = Sounds(tmp_path)
    (tmp_path / "folder.wav").mkdir()

    def warnings(agent: Agent, name: str) -> int:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert all(asyncio.run(sounds.audio(agent, name)) == hold_tone() for _ in range(2))
        return len(caplog.records)

    assert warnings(AGENT, "hold") == 1
    assert warnings(Agent("desk", "", "-"), "hold") == 0, "the default of an agent without sounds"
    assert warnings(AGENT, "bell") == 1
    assert warnings(Agent("desk", "", "-", sounds={"hold": "folder.wav"}), "hold") == 1


def test_the_start_names_the_file_and_what_to_do(tmp_path: Path) -> None:
    (warning,) = Sounds(tmp_path).check([AGENT, Agent("other", "", "-")])
    assert "hold.wav, the sound 'hold' of the agent 'desk': it cannot be read (FileNotFoundError); put it" in warning
    (tmp_path / "hold.wav").write_bytes(wav())
    assert Sounds(tmp_path).check([AGENT]) == []


def test_the_packaged_tone_is_soft_and_can_be_repeated() -> None:
    tone = hold_tone()
    assert len(tone) == ROUND_S * 8_000
    assert 1_000 < level(tone) <= AMPLITUDE
    assert level(tone[:8]) < 100 and level(tone[-8_000:]) == 0
    assert hold_tone() is tone
