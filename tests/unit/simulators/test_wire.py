"""The simulated carrier's JSON, sound, recordings and scripts, against figures that its own code did not make."""

import base64
import hashlib
import hmac
import json
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest

from simulators.line import CallerLine, frame_due_ms
from simulators.playback import Playback
from simulators.result import StepResult, measure, percentiles
from simulators.script import DEMO, SPEECH, BadScript, BargeIn, Say, read_script
from simulators.sound import from_l16, from_mulaw, loud_span_ms, silence, to_l16, to_mulaw
from simulators.stream_messages import Checkpoint, ClearAudio, PlayAudio, Spelling, Stop, Writer, read_message
from simulators.wav import BadWav, read_wav, write_stereo_wav
from simulators.webhooks import signatures

pytestmark = pytest.mark.fast

STREAM = "stream-1"


def received(**message: Any) -> Any:
    return read_message(json.dumps(message), STREAM)


def play_audio(content_type: str, rate: int | str, payload: str) -> str:
    media = {"contentType": content_type, "sampleRate": rate, "payload": payload}
    return json.dumps({"event": "playAudio", "media": media})


def audio(payload: bytes, content_type: str = "audio/x-mulaw", rate: int | str = 8000) -> Any:
    return read_message(play_audio(content_type, rate, base64.b64encode(payload).decode()), STREAM)


def test_mulaw_as_g711_has_it() -> None:
    """The corner values of the G.711 table: both zeros, the loudest codes, and one step in the middle."""
    assert list(from_mulaw(bytes([0xFF, 0x7F, 0x00, 0x80, 0xF0, 0x8F]))) == [0, 0, -32124, 32124, 120, 16764]
    assert to_mulaw(array("h", [0, -1, 32767, -32768, 120, 16764])) == bytes([0xFF, 0x7F, 0x80, 0x00, 0xF0, 0x8F])
    every_code = bytes(code for code in range(256) if code != 0x7F)  # 0x7F is minus zero
    assert to_mulaw(from_mulaw(every_code)) == every_code


def test_l16_is_little_endian_at_every_rate() -> None:
    assert list(from_l16(bytes([0x01, 0x00, 0xFF, 0xFF]), 8000)) == [1, -1]
    assert list(from_l16(array("h", [10, 20, 30, 50]).tobytes(), 16000)) == [15, 40]
    assert list(from_l16(array("h", [10, 20, 30, 1]).tobytes() + b"\x07", 24000)) == [20]
    assert to_l16(array("h", [1, -2]), 8000) == b"\x01\x00\xfe\xff"
    assert list(array("h", to_l16(array("h", [0, 100]), 16000))) == [0, 50, 100, 100]


def test_what_a_server_may_say() -> None:
    heard = audio(b"\xff" * 160)
    assert heard.violations == []
    assert isinstance(heard.command, PlayAudio)
    assert heard.command.wire_bytes == 160
    assert len(heard.command.samples) == 160
    assert audio(b"\xff" * 160, rate="8000").violations == []
    assert len(audio(bytes(960), "audio/x-l16", 24000).command.samples) == 160
    assert received(event="checkpoint", streamId=STREAM, name="a").command == Checkpoint("a")
    assert received(event="clearAudio").command == ClearAudio()
    assert received(event="stop", streamId=STREAM).command == Stop()


@pytest.mark.parametrize(
    ("message", "violation"),
    [
        (b"\x00\x01", "binary frame"),
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ('{"event":"media"}', "unknown event 'media'"),
        ('{"event":"checkpoint"}', "checkpoint without a name"),
        ('{"event":"playAudio"}', "playAudio without media"),
        ('{"event":"clearAudio","streamId":"stream-2"}', "streamId of another stream"),
        (play_audio("audio/mp3", 8000, "/w=="), "contentType 'audio/mp3'"),
        (play_audio("audio/x-mulaw", 16000, "/w=="), "sampleRate '16000'"),
        (play_audio("audio/x-mulaw", 8000, "!!"), "not base64"),
        (play_audio("audio/x-l16", 8000, "/w=="), "of 1 bytes is not whole samples"),
        (play_audio("audio/x-mulaw", 8000, ""), "of 0 bytes"),
        (play_audio("audio/x-mulaw;rate=8000", 8000, "/w=="), "carries parameters"),
    ],
)
def test_what_a_server_may_not_say(message: str | bytes, violation: str) -> None:
    assert any(violation in found for found in read_message(message, STREAM).violations)


@pytest.mark.parametrize("size", [1, 100, 161, 8000])
def test_a_frame_of_any_size_is_played_and_no_violation(size: int) -> None:
    odd = audio(b"\x00" * size)
    assert odd.violations == []
    assert len(odd.command.samples) == size


def test_the_carrier_writes_what_was_captured() -> None:
    writer = Writer("call-1", STREAM, "audio/x-mulaw", 8000, Spelling())
    assert json.loads(writer.start("911234567890", "911234567899")) == {
        "sequenceNumber": 0,
        "event": "start",
        "start": {
            "callId": "call-1",
            "streamId": STREAM,
            "accountId": "500000",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        },
        "extra_headers": "{}",
    }
    writer.media(b"\xff", 1778597597071)
    assert json.loads(writer.media(b"\xff" * 8, 1778597597091)) == {
        "sequenceNumber": 2,
        "streamId": STREAM,
        "event": "media",
        "media": {"track": "inbound", "timestamp": "1778597597091", "chunk": 2, "payload": "//////////8="},
        "extra_headers": "{}",
    }
    assert json.loads(writer.played("a")) == {"event": "playedStream", "name": "a"}


def test_the_old_flat_start() -> None:
    start = json.loads(Writer("call-1", STREAM, "audio/x-l16", 16000, Spelling(flat_start=True)).start("91", "92"))
    assert (start["callId"], start["streamId"], start["from"]) == ("call-1", STREAM, "91")
    assert start["contentType"] == "audio/x-l16;rate=16000"
    assert "start" not in start


def test_the_signature_is_over_the_url_without_its_query() -> None:
    headers = signatures("token", "https://voice.example.com/answer?x=1")
    signed = f"https://voice.example.com/answer.{headers['X-Vobiz-Signature-V3-Nonce']}"
    expected = base64.b64encode(hmac.new(b"token", signed.encode(), hashlib.sha256).digest()).decode()
    assert headers["X-Vobiz-Signature-V3"] == expected
    assert len(headers["X-Vobiz-Signature-V3-Nonce"]) == 20


def test_the_caller_speaks_from_the_next_frame_on_and_is_silent_otherwise() -> None:
    line = CallerLine()
    line.next_frame()
    recording = silence(80) + array("h", [8000, -8000] * 120) + silence(80)  # 10 ms, 30 ms of sound, 10 ms
    spoken = line.say(recording)
    frames = [line.next_frame() for _ in range(4)]

    assert (spoken.began_ms, spoken.first_sound_ms, spoken.last_sound_ms, spoken.ended_ms) == (20.0, 30.0, 60.0, 70.0)
    assert [len(frame) for frame in frames] == [160] * 4
    assert [any(frame) for frame in frames] == [True, True, False, False]
    assert line.track[160:560] == recording
    assert frame_due_ms(0) == 20.0


def spoken_step(do: str, line: CallerLine, at_ms: float) -> StepResult:
    while line.position_ms < at_ms:
        line.next_frame()
    return StepResult(do, "x", at_ms, speech=line.say(array("h", [8000, -8000] * 800)))  # 200 ms of sound


def reply(playback: Playback, ms: int, now_ms: float) -> None:
    playback.play(array("h", [8000, -8000] * (ms * 4)), ms * 8, now_ms)


def test_latency_runs_from_the_last_sound_of_the_caller_to_the_first_of_the_agent() -> None:
    playback, line = Playback(), CallerLine()
    first = spoken_step("say", line, 1000)
    playback.play(silence(400), 400, 1500.0)  # 50 ms that nobody hears
    reply(playback, 300, 1500.0)
    second = spoken_step("say", line, 3000)
    measure([first, second], playback, 5000.0)

    assert first.answer is not None
    assert (first.answer.began_ms, first.answer.latency_ms, first.answer.ended_ms) == (1550.0, 350.0, 1850.0)
    assert second.answer is None


def test_a_barge_in_is_measured_from_the_first_sound_of_the_caller() -> None:
    playback, line = Playback(), CallerLine()
    reply(playback, 3000, 500.0)
    step = spoken_step("barge-in", line, 1000)
    playback.clear(1150.0)
    playback.wake(1170.0)
    reply(playback, 300, 1700.0)
    measure([step], playback, 5000.0)

    assert step.barge_in is not None
    assert (step.barge_in.clear_ms, step.barge_in.silent_ms, step.barge_in.became_silent) == (150.0, 150.0, True)
    assert step.barge_in.dropped_bytes == 2350 * 8
    assert step.answer is not None
    assert step.answer.latency_ms == 500.0


def test_an_agent_that_talks_on_has_not_become_silent() -> None:
    playback, line = Playback(), CallerLine()
    reply(playback, 4000, 500.0)
    step = spoken_step("barge-in", line, 1000)
    reply(playback, 300, 5000.0)
    measure([step], playback, 9000.0)

    assert step.barge_in is not None
    assert (step.barge_in.clear_ms, step.barge_in.became_silent) == (None, False)
    assert step.answer is not None
    assert (step.answer.began_ms, step.answer.after_old_reply) == (5000.0, True)


def test_percentiles_by_nearest_rank() -> None:
    assert percentiles([float(value) for value in range(1, 101)]) == {"p50": 51.0, "p99": 100.0, "max": 100.0}
    assert percentiles([]) == {}


def test_every_recording_is_mulaw_at_the_same_level_with_silence_around_it() -> None:
    files = json.loads((SPEECH / "sentences.json").read_text(encoding="utf-8"))
    assert set(files) == {path.name for path in SPEECH.glob("*.wav")}
    assert sum(path.stat().st_size for path in SPEECH.iterdir()) < 500_000
    for file in files:
        samples = read_wav(SPEECH / file)
        first_sound_ms, last_sound_ms = loud_span_ms(samples)
        assert 90 <= first_sound_ms <= 200, file
        # A final "s" lies above 4 kHz: on a phone line it is part of the silence.
        assert 90 <= len(samples) / 8 - last_sound_ms <= 330, file
        voiced = samples[round(first_sound_ms * 8) : round(last_sound_ms * 8)]
        rms = (sum(value * value for value in voiced) / len(voiced)) ** 0.5
        assert 2500 < rms < 4500, file  # -20 dBFS is 3277


def test_a_stereo_recording_has_the_caller_left_and_the_agent_right(tmp_path: Path) -> None:
    write_stereo_wav(tmp_path / "out" / "call.wav", array("h", [1, 2]), array("h", [-1]))
    with wave.open(str(tmp_path / "out" / "call.wav")) as recording:
        assert (recording.getnchannels(), recording.getsampwidth(), recording.getframerate()) == (2, 2, 8000)
        assert recording.readframes(9) == b"\x01\x00\xff\xff\x02\x00\x00\x00"
    with pytest.raises(BadWav, match="expected 8 kHz mono"):
        read_wav(tmp_path / "out" / "call.wav")


def test_the_demo_speaks_known_sentences_and_talks_over_the_agent_once() -> None:
    script = read_script(DEMO)
    names = [step.name for step in script if isinstance(step, Say | BargeIn)]
    assert len(names) >= 5
    assert sum(isinstance(step, BargeIn) for step in script) == 1
    assert {f"{name}.wav" for name in names} <= {path.name for path in SPEECH.glob("*.wav")}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '[{"do": "sing"}]',
        '[{"do": "say"}]',
        '[{"do": "wait", "ms": "long"}]',
        '[{"do": "hang-up", "ms": 1}]',
    ],
)
def test_a_script_with_a_mistake_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text(text)
    with pytest.raises(BadScript, match=r"script\.json"):
        read_script(tmp_path / "script.json")
