"""Cartesia's and Sarvam's mouths against stand-ins on the real wire, on good days and on bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from simulators.providers import cartesia, sarvam
from simulators.providers.cartesia import CartesiaStandin
from simulators.providers.faults import Fault
from simulators.providers.sarvam import SarvamStandin
from tests.contract.deadlines import BRIEF_TTS, PATIENT_TTS
from tests.contract.test_cartesia_and_sarvam_stt import PATIENCE_S, Standin, served, until
from tests.deadlines import SOON_S
from workers.providers.deadlines import SpeechDeadlines
from workers.providers.interfaces import Busy, CharTimings, Down, IncompleteAudio, Rejected, TextToSpeech, VoiceOptions
from workers.tts.engines.cartesia_sonic import CartesiaSonic
from workers.tts.engines.sarvam_bulbul import SarvamBulbul

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

MOUTHS: dict[str, tuple[Callable[[], Standin], Callable[[str, str, SpeechDeadlines], TextToSpeech], str]] = {
    "cartesia": (
        CartesiaStandin,
        lambda url, key, deadlines: CartesiaSonic("sonic-3", key, url, deadlines=deadlines),
        cartesia.KEY,
    ),
    "sarvam": (
        SarvamStandin,
        lambda url, key, deadlines: SarvamBulbul("bulbul:v2", key, url, deadlines),
        sarvam.KEY,
    ),
}


@asynccontextmanager
async def opened(name: str, deadlines: SpeechDeadlines) -> AsyncIterator[tuple[Standin, TextToSpeech]]:
    make, adapt, key = MOUTHS[name]
    standin = make()
    async with served(standin) as url:
        mouth = adapt(url, key, deadlines)
        yield standin, mouth
        await mouth.aclose()
        assert not [task.get_name() for task in asyncio.all_tasks() if "reader" in task.get_name()]


@pytest.fixture(params=MOUTHS)
async def booth(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Standin, TextToSpeech]]:
    async with opened(request.param, PATIENT_TTS) as both:
        yield both


@pytest.fixture(params=MOUTHS)
async def brief_booth(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Standin, TextToSpeech]]:
    """For tests that wait until a deadline passes."""
    async with opened(request.param, BRIEF_TTS) as both:
        yield both


async def said(mouth: TextToSpeech, text: str, options: VoiceOptions | None = None) -> tuple[bytes, list[CharTimings]]:
    audio, spelled = b"", []
    async with asyncio.timeout(PATIENCE_S), aclosing(mouth.say(text, options or VoiceOptions())) as sounds:
        async for sound in sounds:
            if isinstance(sound, CharTimings):
                spelled.append(sound)
            else:
                audio += sound
    return audio, spelled


GREETING = "Good morning, how can I help you?"


def tone(text: str) -> bytes:
    return cartesia.TONE * (len(text) * cartesia.MS_PER_CHARACTER)


async def test_clauses_one_after_the_other_take_one_socket(booth):
    standin, mouth = booth
    await mouth.warm()
    for text in (GREETING, "We open at nine.", GREETING):
        assert (await said(mouth, text))[0] == tone(text)
    assert standin.sockets_ever == 1 and standin.texts == [GREETING, "We open at nine.", GREETING]


async def test_clauses_at_once_do_not_mix(booth):
    standin, mouth = booth
    standin.chunk_after_ms = 2
    texts = [f"Clause number {n} of many." + "!" * n for n in range(12)]
    spoken = await asyncio.gather(*(said(mouth, text) for text in texts))
    assert [audio for audio, _ in spoken] == [tone(text) for text in texts]
    if isinstance(standin, CartesiaStandin):
        assert standin.sockets_ever == 1


async def test_cartesia_tells_when_each_word_is_heard():
    standin = CartesiaStandin()
    async with served(standin) as url:
        mouth = CartesiaSonic("sonic-3", cartesia.KEY, url, deadlines=PATIENT_TTS)
        _, (spelled,) = await said(mouth, "Yes, we are  open.")
        await mouth.aclose()
    assert [at for at, _ in spelled.marks] == [0, 5, 8, 13]
    assert [ms for _, ms in spelled.marks] == [0, 330, 528, 792]


async def test_nothing_to_say_asks_nobody(booth):
    standin, mouth = booth
    for text in ("", "  ", "..."):
        assert await said(mouth, text) == (b"", [])
    assert standin.sockets_ever == 0
    with pytest.raises(Rejected, match="at most 2000"):
        await said(mouth, "word " * 1000)


async def test_a_clause_that_is_cut_short_stops_the_vendor_and_the_next_one_is_whole(booth):
    standin, mouth = booth
    standin.chunk_after_ms = 30
    async with aclosing(mouth.say(GREETING * 10, VoiceOptions())) as sounds:
        async for _ in sounds:
            break
    if isinstance(standin, CartesiaStandin):
        await until(lambda: len(standin.cancelled) == 1)
    else:
        await until(lambda: standin.open == 0)
    standin.chunk_after_ms = 0
    assert (await said(mouth, "Yes."))[0] == tone("Yes.")


@pytest.mark.parametrize(("fault", "error"), [("unauthorised", Rejected), ("busy", Busy), ("broken", Down)])
async def test_a_mouth_that_is_refused_says_why(booth, fault, error):
    standin, mouth = booth
    standin.faults.coming.append(Fault(fault))
    with pytest.raises(error) as refused:
        await said(mouth, GREETING)
    assert "test-key" not in str(refused.value)
    assert (await said(mouth, GREETING))[0] == tone(GREETING)


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("kind", ["close", "stall", "half-dead", "malformed", "slow", "no final"])
async def test_a_mouth_that_fails_is_down_in_time_and_speaks_again(brief_booth, kind, after):
    standin, mouth = brief_booth
    standin.faults.coming.append(Fault(kind, after))
    started = asyncio.get_running_loop().time()
    with pytest.raises(Down):
        await said(mouth, GREETING)
    assert asyncio.get_running_loop().time() - started < SOON_S
    assert (await said(mouth, GREETING))[0] == tone(GREETING)


async def test_a_voice_that_trickles_is_given_up(brief_booth):
    standin, mouth = brief_booth
    standin.chunk_after_ms = 300  # for 200 ms of speech
    with pytest.raises(Down):
        await said(mouth, GREETING * 3)


async def test_a_voice_of_another_vendor_is_not_asked_for(booth):
    standin, mouth = booth
    await said(mouth, GREETING, VoiceOptions(voice="en_US-somebody-medium"))
    asked = standin.requests if isinstance(standin, CartesiaStandin) else standin.configs
    assert "somebody" not in str(asked)


async def test_a_socket_that_went_while_idle_costs_no_clause(booth):
    standin, mouth = booth
    standin.faults.coming.append(Fault("close", 10**6))
    assert (await said(mouth, "One."))[0] == tone("One.")
    first = standin.sockets_ever
    await standin_closes(mouth)
    assert (await said(mouth, "Two."))[0] == tone("Two.")
    assert standin.sockets_ever == first + 1


async def standin_closes(mouth: TextToSpeech) -> None:
    """The idle connection breaks, as a vendor's time-out breaks it."""
    line = mouth._socket if isinstance(mouth, CartesiaSonic) else mouth._idle[-1]
    line.connection.abort()


async def test_sarvams_voice_is_configured_and_a_header_is_cut_off():
    standin = SarvamStandin(wav=True)
    async with served(standin) as url:
        mouth = SarvamBulbul("bulbul:v3", sarvam.KEY, url, PATIENT_TTS)
        audio, _ = await said(mouth, "नमस्ते", VoiceOptions(language="hi-IN", voice="ritu", speed=9.0))
        await said(mouth, "ஆம்", VoiceOptions(language="ta"))
        await mouth.aclose()
    assert audio == tone("नमस्ते")
    assert [config["target_language_code"] for config in standin.configs] == ["hi-IN", "ta-IN"]
    assert (standin.configs[0]["speaker"], standin.configs[0]["pace"]) == ("ritu", 2.0)


@pytest.mark.parametrize("spoken_before", [0, 1])
async def test_a_clause_that_ends_without_audio_is_no_spoken_clause(brief_booth, spoken_before):
    standin, mouth = brief_booth
    for _ in range(spoken_before):
        await said(mouth, GREETING)
    standin.empty = 1
    try:
        audio, _ = await said(mouth, "It is on Monday at five.")
    except IncompleteAudio:
        audio = b""
    assert audio == b""
    assert (await said(mouth, "It is on Monday at five."))[0] == tone("It is on Monday at five.")


async def test_a_language_that_a_mouth_does_not_know_is_rejected(booth):
    for tag in ("xx", "tlh-KX"):
        with pytest.raises(Rejected, match=tag):
            await said(booth[1], "Good morning.", VoiceOptions(language=tag))
