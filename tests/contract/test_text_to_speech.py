"""Every mouth: it is understood, it falls silent when told, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from common.audio import g711
from tests.programs import program
from workers.providers.interfaces import Busy, Down, EndOfTurn, ListenOptions, Rejected, TextToSpeech, VoiceOptions
from workers.providers.packaged_models import model_path
from workers.stt.engines.catalog import speech_to_text
from workers.tts.audio.resample import PcmToMulaw
from workers.tts.engines.catalog import text_to_speech
from workers.tts.engines.local_espeak import LocalEspeak
from workers.tts.engines.local_piper import JOE, LocalPiper
from workers.tts.engines.piper_child import REQUESTS_MAX, Deadlines

pytestmark = [pytest.mark.engines, pytest.mark.anyio]

MOUTHS = ["local/piper", "local/espeak"]
PATIENCE_S = 20.0
GREETING = "Good morning, how can I help you?"
LONG = "We are open from Monday to Friday. " * 40


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the module: voices are loaded once."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module", params=MOUTHS)
async def mouth(request: pytest.FixtureRequest) -> AsyncIterator[TextToSpeech]:
    if request.param == "local/espeak":
        program("espeak-ng")
    provider = text_to_speech(request.param, {})
    await provider.warm()
    yield provider
    await provider.aclose()


@pytest.fixture
async def piper() -> AsyncIterator[LocalPiper]:
    """A piper of the test's own, to be ill-treated."""
    provider = LocalPiper(deadlines=Deadlines(silent_s=1.0))
    await provider.warm()
    yield provider
    await provider.aclose()


async def said(mouth: TextToSpeech, text: str, options: VoiceOptions | None = None) -> bytes:
    async with asyncio.timeout(PATIENCE_S), aclosing(mouth.say(text, options or VoiceOptions())) as audio:  # type: ignore[type-var]
        return b"".join([chunk async for chunk in audio])


async def cut_short(mouth: TextToSpeech, text: str) -> None:
    """Close after the first chunk, as a barge-in does."""
    async with asyncio.timeout(PATIENCE_S), aclosing(mouth.say(text, VoiceOptions())) as audio:  # type: ignore[type-var]
        async for _ in audio:
            break


def level(mulaw: bytes) -> float:
    """Root mean square on the 16-bit scale."""
    return float(sum(g711.LINEAR_OF_MULAW[code] ** 2 for code in mulaw) / len(mulaw)) ** 0.5


# --- every mouth --------------------------------------------------------------------------------------------------


async def test_what_is_said_can_be_understood(mouth: TextToSpeech):
    ears = speech_to_text("local/whisper-tiny.en", {})
    audio = await said(mouth, GREETING)
    async with ears.listen(ListenOptions()) as ear, asyncio.timeout(PATIENCE_S):
        ear.feed(0, g711.SILENCE * 4000 + audio + g711.SILENCE * 8000)
        understood = [event.text async for event in _first_utterance(ear)]
    await ears.aclose()
    assert "good morning" in understood[0].lower() and "help" in understood[0].lower()


async def _first_utterance(ear: object) -> AsyncIterator[EndOfTurn]:
    async for event in ear:  # type: ignore[attr-defined]
        if isinstance(event, EndOfTurn):
            yield event
            return


async def test_the_line_gets_telephone_audio_of_the_right_length_and_level(mouth: TextToSpeech):
    audio = await said(mouth, GREETING)
    assert 1000 <= len(audio) / g711.BYTES_PER_MS <= 4000
    assert 500 < level(audio) < 12_000  # between -36 and -9 dBFS


async def test_speed_is_obeyed(mouth: TextToSpeech):
    slow, fast = [len(await said(mouth, GREETING, VoiceOptions(speed=speed))) for speed in (0.7, 1.5)]
    assert slow > 1.5 * fast


async def test_nothing_to_say_is_said_by_silence(mouth: TextToSpeech):
    for text in ("", "  ", "...", "—"):
        assert await said(mouth, text) == b""


async def test_a_clause_without_end_is_rejected(mouth: TextToSpeech):
    with pytest.raises(Rejected, match="at most 2000"):
        await said(mouth, "word " * 1000)


async def test_markup_and_options_in_the_text_are_only_text(mouth: TextToSpeech):
    for text in (
        "--version please",
        "[[h@'loU]] there",
        '<speak><break time="9s"/></speak> hello',
        '{"cancel": 1}\nhello',
    ):
        assert 400 < len(await said(mouth, text)) / g711.BYTES_PER_MS < 8000, text


async def test_a_barge_in_frees_the_mouth_at_once(mouth: TextToSpeech):
    tasks = asyncio.all_tasks()
    await cut_short(mouth, LONG)
    assert asyncio.all_tasks() == tasks
    assert len(await said(mouth, GREETING)) > 8000


async def test_a_cancelled_speaker_leaves_nothing_behind(mouth: TextToSpeech):
    tasks = asyncio.all_tasks()
    speaking = asyncio.create_task(said(mouth, LONG))
    await said(mouth, "Hello.")  # meanwhile the long one has begun
    speaking.cancel()
    await asyncio.wait([speaking], timeout=PATIENCE_S)
    assert asyncio.all_tasks() == tasks
    assert len(await said(mouth, GREETING)) > 8000


async def test_two_calls_speak_at_once_each_with_its_own_words(mouth: TextToSpeech):
    alone = len(await said(mouth, GREETING)), len(await said(mouth, LONG[:140]))
    together = await asyncio.gather(said(mouth, GREETING), said(mouth, LONG[:140]))
    for one, other in zip(alone, map(len, together), strict=True):
        assert other == pytest.approx(one, rel=0.15)  # piper varies its rhythm


async def test_more_than_it_can_do_is_busy(mouth: TextToSpeech):
    results = await asyncio.gather(*(said(mouth, GREETING) for _ in range(REQUESTS_MAX + 8)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert refused and all(isinstance(error, Busy) for error in refused)
    assert len(await said(mouth, GREETING)) > 8000


@pytest.mark.parametrize("spec", ["", "piper", "local/", "local/pipes", "local/espeak-", "nobody/nothing"])
async def test_an_unknown_provider_lists_the_known_ones(spec: str):
    with pytest.raises(ValueError, match=r"known: .*local/piper"):
        text_to_speech(spec, {})


# --- espeak -------------------------------------------------------------------------------------------------------


async def test_a_missing_program_is_down_and_names_the_package():
    with pytest.raises(Down, match="apt-get install espeak-ng"):
        await LocalEspeak(program="espeak-ng-that-is-not-there").warm()


async def test_an_unknown_voice_is_rejected():
    program("espeak-ng")
    for voice in ("xx", "--version"):
        with pytest.raises(Rejected):
            await LocalEspeak(voice).warm()


async def test_a_program_that_makes_no_sound_or_nonsense_is_no_voice(tmp_path: Path):
    with pytest.raises(Rejected):
        await LocalEspeak(program="false").warm()
    nonsense = tmp_path / "espeak"
    nonsense.write_text("#!/bin/sh\nhead -c 999 /dev/zero\n")
    nonsense.chmod(0o700)
    with pytest.raises(Down, match="something other"):
        await LocalEspeak(program=str(nonsense)).warm()


async def test_it_speaks_the_language_of_the_call():
    program("espeak-ng")
    assert len(await said(LocalEspeak(), "नमस्ते", VoiceOptions(language="hi-IN"))) > 4000


async def test_no_process_outlives_its_clause():
    program("espeak-ng")
    before = children()
    await cut_short(LocalEspeak(), LONG)
    assert children() == before


async def test_a_program_that_never_ends_is_killed_with_its_clause(tmp_path: Path):
    header = (
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0" + struct.pack("<IIHH", 22_050, 44_100, 2, 16) + b"data\0\0\0\0"
    )
    (tmp_path / "header").write_bytes(header)
    endless = tmp_path / "espeak"
    endless.write_text(f"#!/bin/sh\ncat {tmp_path}/header\nexec yes\n")
    endless.chmod(0o700)
    before = children()
    await cut_short(LocalEspeak(program=str(endless)), GREETING)
    assert children() == before


def children() -> set[int]:
    """The processes that this one started and has not reaped."""
    pids = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                pids.add(int(stat.parent.name))
    return pids


# --- piper --------------------------------------------------------------------------------------------------------


async def test_a_barge_in_does_not_cost_the_other_calls_their_voice(piper: LocalPiper):
    child = piper.process_id
    await cut_short(piper, LONG)
    await said(piper, GREETING)
    assert piper.process_id == child


async def test_a_child_that_dies_is_down_and_comes_back(piper: LocalPiper):
    child = piper.process_id
    assert child is not None
    with pytest.raises(Down, match="piper died"):
        async with aclosing(piper.say(LONG, VoiceOptions())) as audio:
            async for _ in audio:
                os.kill(child, signal.SIGKILL)
    assert len(await said(piper, GREETING)) > 8000
    assert piper.process_id != child


async def test_a_child_that_hangs_is_ended_and_comes_back(piper: LocalPiper):
    child = piper.process_id
    assert child is not None
    os.kill(child, signal.SIGSTOP)
    with pytest.raises(Down):
        await said(piper, GREETING)
    assert len(await said(piper, GREETING)) > 8000
    assert piper.process_id != child


async def test_a_child_that_cannot_start_is_not_started_again_and_again():
    piper = LocalPiper(voice="no-such-voice-name")
    with pytest.raises(Rejected, match="no piper voice is named"):
        await piper.warm()
    with pytest.raises(Rejected, match="no piper voice is named"):  # the first time may be bad luck
        await piper.warm()
    with pytest.raises(Down, match="started again in"):
        await piper.warm()
    await piper.aclose()


async def test_a_language_the_voice_does_not_speak_is_rejected(piper: LocalPiper):
    with pytest.raises(Rejected, match="speaks en-us, not hi-IN"):
        await said(piper, "namaste", VoiceOptions(language="hi-IN"))


async def test_closing_ends_the_child():
    piper = LocalPiper()
    await piper.warm()
    child = piper.process_id
    assert child is not None
    await piper.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


async def test_the_child_exits_when_its_parent_is_gone_even_in_mid_sentence(tmp_path: Path):
    root = Path(__file__).parents[2]
    program = [sys.executable, "-m", "workers.tts.piper_process", "--model", str(model_path(JOE))]
    environ = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    child = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, cwd=root, env=environ)
    assert child.stdin is not None and child.stdout is not None
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            kind, request_id, length = struct.unpack(">cII", await child.stdout.readexactly(9))
            assert (kind, request_id) == (b"R", 0)
            await child.stdout.readexactly(length)
            child.send_signal(signal.SIGINT)  # Ctrl-C reaches the whole group; the parent decides
            child.stdin.write(b'{"id": 1, "text": "' + LONG.encode() + b'", "speed": 1.0}\n')
            kind, request_id, _ = struct.unpack(">cII", await child.stdout.readexactly(9))
            assert (kind, request_id) == (b"A", 1)
            child.stdin.close()  # what the death of the parent looks like from here
            await child.communicate()
    finally:
        if child.returncode is None:  # else the loop's own end would wait for it for ever
            child.kill()
    assert child.returncode == 0
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - onnxruntime would keep its telemetry in the home folder


# --- to the telephone's rate --------------------------------------------------------------------------------------


async def test_the_resampler_keeps_every_millisecond_however_the_audio_is_cut():
    pcm = bytes(2 * 22_050)
    for size in (1, 999, 4096, len(pcm)):
        telephone = PcmToMulaw(22_050)
        mulaw = b"".join(telephone.feed(pcm[start : start + size]) for start in range(0, len(pcm), size))
        assert abs(len(mulaw + telephone.finish()) - g711.SAMPLE_RATE) <= 1


async def test_audio_at_the_telephones_own_rate_passes_unchanged():
    mulaw = bytes(range(256))
    telephone = PcmToMulaw(g711.SAMPLE_RATE)
    assert telephone.feed(g711.decode(mulaw)) + telephone.finish() == g711.encode(g711.decode(mulaw))
