"""Every ear, on speech that a voice of this machine makes; and the local ear's decisions on a scripted detector."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from common.audio import g711
from workers.providers.interfaces import (
    Busy,
    Down,
    EndOfTurn,
    ListenOptions,
    Rejected,
    SpeechEnd,
    SpeechStart,
    SpeechToText,
    SttEvent,
    SttStream,
    VoiceOptions,
)
from workers.stt.engines.catalog import speech_to_text
from workers.stt.engines.local_whisper import PREROLL_MS, WhisperStream
from workers.stt.engines.whisper_decoder import believable
from workers.stt.vad.endpointing import WINDOW_MS
from workers.tts.engines.catalog import text_to_speech

pytestmark = [pytest.mark.engines, pytest.mark.anyio]

ROOT = Path(__file__).parents[2]
EARS = ["local/whisper-tiny.en"]
PATIENCE_S = 20.0
HOURS = "Hello, what are your opening hours?"
BOOKING = "I would like to book an appointment."


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the module: models are loaded once."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module", params=EARS)
async def ears(request: pytest.FixtureRequest) -> AsyncIterator[SpeechToText]:
    provider = speech_to_text(request.param, {})
    await provider.warm()
    yield provider
    await provider.aclose()


@pytest.fixture(scope="module")
async def spoken(anyio_backend: object) -> dict[str, bytes]:
    """What callers say, as mu-law."""
    voice = text_to_speech("local/piper", {})
    speech: dict[str, bytes] = {}
    for text in (HOURS, BOOKING, "for tomorrow at three in the afternoon."):
        async with aclosing(voice.say(text, VoiceOptions())) as audio:  # type: ignore[type-var]
            speech[text] = b"".join([chunk async for chunk in audio])
    await voice.aclose()
    return speech


def silence(ms: int) -> bytes:
    return g711.SILENCE * (ms * g711.BYTES_PER_MS)


def phone(ear: SttStream, audio: bytes, position_ms: int = 0) -> int:
    """Feed audio in frames of 20 ms, as fast as it goes; returns the position after it."""
    for start in range(0, len(audio), g711.FRAME_BYTES):
        ear.feed(position_ms, audio[start : start + g711.FRAME_BYTES])
        position_ms += g711.FRAME_MS
    return position_ms


async def heard_until(ear: SttStream, last: Callable[[SttEvent], bool]) -> list[SttEvent]:
    heard: list[SttEvent] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in ear:
            heard.append(event)
            if last(event):
                break
    return heard


def is_utterance(event: SttEvent) -> bool:
    return isinstance(event, EndOfTurn)


def words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower().replace("three", "3")).split()


# --- every ear ----------------------------------------------------------------------------------------------------


async def test_a_sentence_is_understood(ears: SpeechToText, spoken: dict[str, bytes]):
    async with ears.listen(ListenOptions()) as ear:
        phone(ear, silence(500) + spoken[HOURS] + silence(1000))
        heard = await heard_until(ear, is_utterance)
    onset, offset, utterance = heard[0], heard[-2], heard[-1]
    assert isinstance(onset, SpeechStart) and 400 <= onset.position_ms <= 800
    assert isinstance(offset, SpeechEnd) and 0 <= 500 + len(spoken[HOURS]) // 8 - offset.position_ms <= 400
    assert isinstance(utterance, EndOfTurn)
    assert words(utterance.text) == words(HOURS)
    assert (utterance.start_ms, utterance.end_ms) == (onset.position_ms, offset.position_ms)


async def test_two_turns_come_in_order_with_alternating_onsets_and_offsets(
    ears: SpeechToText, spoken: dict[str, bytes]
):
    async with ears.listen(ListenOptions()) as ear:
        phone(ear, spoken[HOURS] + silence(1000) + spoken[BOOKING] + silence(1000))
        heard = await heard_until(ear, lambda e: is_utterance(e) and "book" in e.text)  # type: ignore[union-attr]
    assert [words(e.text) for e in heard if isinstance(e, EndOfTurn)] == [words(HOURS), words(BOOKING)]
    edges = [type(e) for e in heard if not isinstance(e, EndOfTurn)]
    assert edges == [SpeechStart, SpeechEnd] * (len(edges) // 2)


async def test_a_breath_between_two_halves_does_not_end_the_turn(ears: SpeechToText, spoken: dict[str, bytes]):
    rest = "for tomorrow at three in the afternoon."
    async with ears.listen(ListenOptions(endpointing_ms=900)) as ear:
        phone(ear, spoken[BOOKING] + silence(350) + spoken[rest] + silence(1500))
        utterance = (await heard_until(ear, is_utterance))[-1]
    assert isinstance(utterance, EndOfTurn)
    assert words(utterance.text) == words(BOOKING + " " + rest)


async def test_two_calls_at_once_hear_their_own_words(ears: SpeechToText, spoken: dict[str, bytes]):
    async def call(text: str) -> SttEvent:
        async with ears.listen(ListenOptions()) as ear:
            phone(ear, spoken[text] + silence(1000))
            return (await heard_until(ear, is_utterance))[-1]

    first, second = await asyncio.gather(call(HOURS), call(BOOKING))
    assert isinstance(first, EndOfTurn) and isinstance(second, EndOfTurn)
    assert (words(first.text), words(second.text)) == (words(HOURS), words(BOOKING))


async def test_a_replay_that_overlaps_and_has_a_hole_is_still_one_call(ears: SpeechToText, spoken: dict[str, bytes]):
    async with ears.listen(ListenOptions()) as ear:
        start_ms = 40_000  # a takeover: the ear begins in the middle of the call
        end_ms = phone(ear, spoken[HOURS], start_ms)
        phone(ear, spoken[HOURS], start_ms)  # sent again: skipped
        ear.feed(end_ms + 1500, silence(100))  # the frames between are lost: silence
        heard = await heard_until(ear, is_utterance)
    utterances = [e for e in heard if isinstance(e, EndOfTurn)]
    assert [words(u.text) for u in utterances] == [words(HOURS)]
    assert start_ms <= utterances[0].start_ms < utterances[0].end_ms <= end_ms


async def test_noise_on_the_line_is_not_speech(ears: SpeechToText, spoken: dict[str, bytes]):
    hiss = bytes((0x60 if (n * 2654435761) & 0x10000 else 0xE0) ^ (n * 40503 >> 7 & 0x0F) for n in range(24_000))
    async with ears.listen(ListenOptions()) as ear:
        at_ms = phone(ear, hiss + silence(1000))
        phone(ear, spoken[HOURS] + silence(1000), at_ms)
        heard = await heard_until(ear, is_utterance)
    assert isinstance(heard[0], SpeechStart) and heard[0].position_ms >= at_ms - 100
    assert isinstance(heard[-1], EndOfTurn) and words(heard[-1].text) == words(HOURS)


async def test_leaving_frees_everything_at_once(ears: SpeechToText, spoken: dict[str, bytes]):
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    async with ears.listen(ListenOptions()) as ear:
        phone(ear, spoken[HOURS] + silence(300))
        async with asyncio.timeout(PATIENCE_S):
            async for event in ear:  # the likely end is past: a decode is under way
                if isinstance(event, SpeechEnd):
                    break
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() <= threads + 3  # the detector's and the decoders', which stay for the next call
    ear.feed(0, silence(20))  # late audio is ignored
    async with asyncio.timeout(PATIENCE_S):
        # What was heard may still be read; then the iteration ends, and no Utterance comes.
        assert not any([is_utterance(event) async for event in ear])


async def test_nobody_is_told_that_it_listens(tmp_path: Path):
    """onnxruntime would send usage data to its maker (but not if it finds itself in CI)."""
    environ = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    program = "import os; from workers.stt.vad.silero import SileroVad; SileroVad().load(); " + (
        "assert not [fd for fd in os.scandir('/proc/self/fd') if 'socket' in os.readlink(fd.path)]"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT, env=environ)
    async with asyncio.timeout(PATIENCE_S):
        assert await child.wait() == 0
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - as short as it gets


async def test_a_language_it_does_not_know_is_rejected():
    with pytest.raises(Rejected, match="hi-IN"):
        async with speech_to_text("local/whisper-tiny.en", {}).listen(ListenOptions(language="hi-IN")):
            pass


def test_an_unknown_model_is_refused_with_those_known_before_anything_is_loaded():
    with pytest.raises(ValueError, match=r"no whisper model is named 'enormous'; sizes: tiny\.en, "):
        speech_to_text("local/whisper-enormous", {})


@pytest.mark.parametrize("spec", ["", "whisper", "local/", "local/whisper", "local/whisper-", "nobody/nothing"])
async def test_an_unknown_provider_lists_the_known_ones(spec: str):
    with pytest.raises(ValueError, match=r"known: .*local/whisper-tiny\.en"):
        speech_to_text(spec, {})


# --- the local ear, on a script -----------------------------------------------------------------------------------


class ScriptedVad:
    """A detector that says what the test wants: the sound of a window is its first byte."""

    LOUD, QUIET = b"\x00", b"\xff"

    def open(self, on_window: Callable[[int, float], None], on_failure: Callable[[Down], None]) -> ScriptedVad:
        self.on_window, self.on_failure = on_window, on_failure
        self.windows_dropped, self.closed = 0, False
        return self

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        for start in range(0, len(mulaw), WINDOW_MS * 8):
            if not self.closed:
                self.on_window(position_ms + start // 8, 0.9 if mulaw[start : start + 1] == self.LOUD else 0.1)

    def close(self) -> None:
        self.closed = True


class ScriptedDecoder:
    """Remembers what it is asked; the test answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, asyncio.Future[str]]] = []
        self.busy = False

    def decode(self, mulaw: bytes, language: str) -> asyncio.Future[str]:
        if self.busy:
            raise Busy("full")
        self.asked.append((mulaw, asyncio.get_running_loop().create_future()))
        return self.asked[-1][1]


class Call:
    """A call to a local ear: loud and quiet in windows of 32 ms."""

    def __init__(self, options: ListenOptions | None = None) -> None:
        self.vad, self.decoder = ScriptedVad(), ScriptedDecoder()
        self.ear = WhisperStream(self.vad, self.decoder, options or ListenOptions())  # type: ignore[arg-type]
        self.now_ms = 0

    def sounds(self, strip: str) -> None:
        for sound in strip:
            level = ScriptedVad.LOUD if sound == "#" else ScriptedVad.QUIET
            self.ear.feed(self.now_ms, level * WINDOW_MS * 8)
            self.now_ms += WINDOW_MS

    async def heard(self, count: int) -> list[SttEvent]:
        events: list[SttEvent] = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in self.ear:
                events.append(event)
                if len(events) == count:
                    break
        return events


async def test_the_decode_starts_early_and_is_kept_quiet_until_the_turn_is_over():
    call = Call()
    call.sounds("." * 20 + "#" * 20 + "." * 7)
    ((_, text),) = call.decoder.asked  # 224 ms into the silence
    text.set_result("hello")
    call.sounds("." * 8)
    assert [type(e) for e in await call.heard(2)] == [SpeechStart, SpeechEnd]
    call.sounds("." * 2)
    assert await call.heard(1) == [EndOfTurn("hello", 640, 1280, decided_ms=1792)]
    assert len(call.decoder.asked) == 1


async def test_an_early_decode_is_thrown_away_if_the_caller_goes_on():
    call = Call()
    call.sounds("#" * 20 + "." * 8)
    early = call.decoder.asked[0][1]
    call.sounds("#" * 10)
    assert early.cancelled()
    call.sounds("." * 20)
    whole = call.decoder.asked[1][1]
    whole.set_result("hello there")
    assert (await call.heard(5))[-1] == EndOfTurn("hello there", 0, 38 * WINDOW_MS, decided_ms=54 * WINDOW_MS)


@pytest.mark.parametrize(("first", "told"), [("yes", ["yes"]), ("", [])])
async def test_a_word_that_stood_in_two_early_decodes_is_told_if_the_last_has_none(first: str, told: list[str]):
    call = Call()
    for decode in (first, "yes", ""):
        call.sounds("#" * 10 + "." * 8)
        call.decoder.asked[-1][1].set_result(decode)
        await asyncio.sleep(0)
    call.sounds("." * 20)
    await asyncio.sleep(0)
    call.ear.close()
    assert [event.text async for event in call.ear if isinstance(event, EndOfTurn) and event.unsure] == told


async def test_whisper_gets_the_utterance_with_a_little_before_and_after():
    call = Call()
    call.sounds("." * 100 + "#" * 20 + "." * 20)
    audio = call.decoder.asked[0][0]
    assert audio == b"\xff" * (PREROLL_MS * 8) + b"\x00" * (640 * 8) + b"\xff" * (200 * 8)


async def test_a_long_speech_reaches_whisper_in_pieces_that_neither_overlap_nor_leave_a_gap():
    call = Call(ListenOptions(utterance_ms_max=960))
    call.ear.feed(0, ScriptedVad.LOUD * 2000 * 8)  # a replay: the audio after a cut is already there
    first, second = (audio for audio, _ in call.decoder.asked)
    assert len(first) == len(second) == 960 * 8


async def test_texts_come_in_the_order_in_which_they_were_spoken():
    call = Call()
    call.sounds("#" * 10 + "." * 20 + "#" * 10 + "." * 20)
    first, second = (text for _, text in call.decoder.asked)
    second.set_result("two")
    await asyncio.sleep(0)  # the second text has been seen
    assert [type(e) for e in await call.heard(4)] == [SpeechStart, SpeechEnd] * 2
    first.set_result("one")
    assert [e.text for e in await call.heard(2) if isinstance(e, EndOfTurn)] == ["one", "two"]


async def test_a_sound_without_words_is_no_utterance():
    call = Call()
    call.sounds("#" * 10 + "." * 20 + "#" * 10 + "." * 20)
    first, second = (text for _, text in call.decoder.asked)
    first.set_result("")
    second.set_result("yes")
    assert [e.text for e in await call.heard(5) if isinstance(e, EndOfTurn)] == ["yes"]


async def test_a_busy_decoder_only_matters_when_the_text_is_wanted():
    call = Call()
    call.decoder.busy = True
    call.sounds("#" * 10 + "." * 8)
    assert len(await call.heard(2)) == 2
    call.decoder.busy = False
    call.sounds("." * 10)
    assert len(call.decoder.asked) == 1
    call.decoder.busy = True
    call.sounds("#" * 10 + "." * 20)
    with pytest.raises(Busy):
        await call.heard(9)


async def test_a_broken_decoder_or_detector_ends_the_ear_with_the_reason():
    for break_it in (
        lambda call: call.decoder.asked[0][1].set_exception(Down("whisper failed")),
        lambda call: call.vad.on_failure(Down("whisper failed")),
    ):
        call = Call()
        call.sounds("#" * 10 + "." * 20)
        break_it(call)
        with pytest.raises(Down, match="whisper failed"):
            await call.heard(9)
        assert call.vad.closed


async def test_a_silent_caller_costs_no_memory():
    call = Call()
    call.sounds("." * 10_000)  # over five minutes
    assert len(call.ear._audio) < 2 * g711.SAMPLE_RATE


def test_whispers_dreams_are_not_believed():
    assert believable(no_speech_prob=0.05, avg_logprob=-0.15, compression_ratio=0.7)
    assert not believable(no_speech_prob=0.05, avg_logprob=-1.4, compression_ratio=0.7)
    assert not believable(no_speech_prob=0.8, avg_logprob=-0.8, compression_ratio=0.7)
    assert not believable(no_speech_prob=0.05, avg_logprob=-0.15, compression_ratio=3.0)


def test_the_sizes_of_whisper_are_those_that_the_engine_knows() -> None:
    import faster_whisper

    from workers.stt.engines.catalog import WHISPER_SIZES

    assert list(WHISPER_SIZES) == faster_whisper.available_models()
