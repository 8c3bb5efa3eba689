"""Every mouth for sale, with everything that can go wrong at its vendor: the caller hears the clause, or another mouth
is told in time to speak it.  Runs against stand-ins on loopback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise

import pytest

from common.audio import g711
from simulators.providers.faults import Fault, Kind
from simulators.providers.voices import VoicePace, length_ms, mulaw, pitch_hz
from tests.contract.deadlines import BRIEF_TTS
from tests.contract.tts_servers import LABS, Lab, Stage, open_lab, said, sounds, until
from tests.deadlines import SOON_S, WAIT_S
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected, TextToSpeech, VoiceOptions
from workers.tts.engines.catalog import text_to_speech

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

HELLO = "Good morning, how can I help you?"
HOURS = "We are open from nine to six, Monday to Friday."
LONG = "Let me read that back to you, so that we both have it right. It is the fourth of May, at half past nine."
STEADY = VoicePace(first_ms=10.0, s_per_s=0.05)
SAME = {("slow", 0), ("no final", 4), ("wrong rate", 4)}
"""As another one, or as with the other number."""
KINDS: dict[Kind, type[ProviderError]] = {
    "close": Down,
    "unauthorised": Rejected,
    "busy": Busy,
    "broken": Down,
    "stall": Down,
    "half-dead": Down,
    "malformed": Down,  # or as the lab says
    "slow": Down,
    "no final": Down,
    "wrong rate": Down,
}
FAULTS = [(kind, after) for kind in KINDS for after in (0, 4) if (kind, after) not in SAME]
SECRETS = ("fake", "wrong-key", "Good morning", "127.0.0.1")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the module, and one server."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as stage:
        yield stage


@pytest.fixture(params=LABS)
def lab(request: pytest.FixtureRequest) -> Lab:
    return LABS[request.param]


async def heard_before(error: type[ProviderError], mouth: TextToSpeech, text: str) -> tuple[bytes, str]:
    """What was heard before the error, and how it is told."""
    heard = b""
    with pytest.raises(error) as caught:
        async with asyncio.timeout(WAIT_S), aclosing(mouth.say(text, VoiceOptions())) as stream:  # type: ignore[type-var]
            async for sound in stream:
                heard += sound if isinstance(sound, bytes) else b""
    return heard, str(caught.value)


def check(lab: Lab, text: str, audio: bytes) -> None:
    """Is this the text, whole, and nothing but it?"""
    if lab.exact:
        assert audio == mulaw(text)
        return
    assert abs(len(audio) / g711.BYTES_PER_MS - length_ms(text)) <= 1
    samples = [g711.LINEAR_OF_MULAW[code] for code in audio[800:-800]]
    crossings = sum(a < 0 <= b for a, b in pairwise(samples))
    assert abs(crossings * g711.SAMPLE_RATE / len(samples) - pitch_hz(text)) < 10


# --- when all is well -----------------------------------------------------------------------------------------------


async def test_a_clause_arrives_whole(stage: Stage, lab: Lab) -> None:
    async with open_lab(stage, lab) as (standin, mouth):
        await mouth.warm()
        check(lab, HELLO, await said(mouth, HELLO))
        assert [text.strip() for text in standin.texts] == [HELLO]
        await until(lambda: standin.speaking.whole == 1)


async def test_the_first_audio_does_not_wait_for_the_last(stage: Stage, lab: Lab) -> None:
    async with open_lab(stage, lab) as (standin, mouth):
        standin.pace = STEADY
        async with aclosing(mouth.say(LONG, VoiceOptions())) as stream:  # type: ignore[type-var]
            async for sound in stream:
                if isinstance(sound, bytes):
                    assert standin.speaking.now == 1 and standin.speaking.whole == 0
                    break


async def test_clauses_of_several_calls_do_not_mix(stage: Stage, lab: Lab) -> None:
    texts = [f"Caller number {number}, please hold the line." for number in range(12)]
    async with open_lab(stage, lab) as (standin, mouth):
        standin.pace = STEADY
        spoken = await asyncio.gather(*(said(mouth, text) for text in texts))
        for text, audio in zip(texts, spoken, strict=True):
            check(lab, text, audio)
        assert standin.speaking.most > 3


async def test_a_barge_in_frees_the_mouth_at_once(stage: Stage, lab: Lab) -> None:
    async with open_lab(stage, lab) as (standin, mouth):
        standin.pace = STEADY
        for _ in range(7):  # more often than one socket has places
            async with aclosing(mouth.say(HELLO, VoiceOptions())) as stream:  # type: ignore[type-var]
                async for sound in stream:
                    if isinstance(sound, bytes):
                        break
        check(lab, HOURS, await said(mouth, HOURS))
        await until(lambda: standin.speaking.now == 0)


async def test_a_clause_cancelled_before_its_first_sound_leaves_nothing(stage: Stage, lab: Lab) -> None:
    async with open_lab(stage, lab) as (standin, mouth):
        standin.pace = VoicePace(first_ms=50.0)
        speaking = asyncio.create_task(said(mouth, HELLO))
        await until(lambda: standin.speaking.now == 1)
        speaking.cancel()
        await asyncio.wait([speaking], timeout=WAIT_S)
        assert speaking.cancelled()
        check(lab, HOURS, await said(mouth, HOURS))
        await until(lambda: standin.speaking.now == 0)


async def test_nothing_to_say_is_said_by_silence_and_too_much_is_rejected(stage: Stage, lab: Lab) -> None:
    async with open_lab(stage, lab) as (standin, mouth):
        for text in ("", "  ", "...", "—"):
            assert await sounds(mouth, text) == []
        with pytest.raises(Rejected, match="at most 2000"):
            await said(mouth, "word " * 1000)
        assert not standin.texts


async def test_a_voice_of_another_vendor_is_not_asked_for(stage: Stage, lab: Lab) -> None:
    """After a failover `options.voice` may be anybody's."""
    async with open_lab(stage, lab) as (_, mouth):
        audio = await sounds(mouth, HELLO, VoiceOptions(voice="en_US-somebody-medium"))
        check(lab, HELLO, b"".join(sound for sound in audio if isinstance(sound, bytes)))


# --- keys and outages -----------------------------------------------------------------------------------------------


async def test_a_wrong_key_is_found_at_the_start_and_not_repeated(stage: Stage, lab: Lab) -> None:
    async with open_lab(stage, lab, key="wrong-key") as (_, mouth):
        for attempt in (mouth.warm(), said(mouth, HELLO)):
            with pytest.raises(Rejected, match="_API_KEY") as caught:
                await attempt
            assert not any(secret in str(caught.value) for secret in SECRETS)


async def test_a_vendor_that_is_down_does_not_keep_the_process_from_starting(stage: Stage, lab: Lab) -> None:
    async with open_lab(stage, lab) as (standin, mouth):
        standin.faults.always = Fault("broken")
        await mouth.warm()
    nobody = lab.speak("http://127.0.0.1:9", "key", BRIEF_TTS)
    await nobody.warm()
    with pytest.raises(Down):
        await said(nobody, HELLO)
    await nobody.aclose()


# --- every fault ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "after"), FAULTS)
async def test_a_fault_is_told_in_time_and_the_next_clause_is_spoken(
    stage: Stage, lab: Lab, kind: Kind, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    if kind in lab.unseen:
        async with open_lab(stage, lab, deadlines=BRIEF_TTS) as (standin, mouth):
            standin.faults.coming.append(Fault(kind, after))
            assert len(await said(mouth, LONG)) > 1.5 * len(mulaw(LONG))  # heard as it came
        return
    loop = asyncio.get_running_loop()
    async with open_lab(stage, lab, deadlines=BRIEF_TTS) as (standin, mouth):
        standin.faults.coming.append(Fault(kind, after))
        began = loop.time()
        if kind in lab.harmless:
            check(lab, LONG, await said(mouth, LONG))
        else:
            error = lab.malformed if kind == "malformed" else KINDS[kind]
            heard, told = await heard_before(error, mouth, LONG)
            assert not any(secret in told for secret in (*SECRETS, LONG[:12]))
            assert heard or not after or kind not in ("close", "stall", "half-dead", "slow")
            assert not lab.exact or kind == "wrong rate" or mulaw(LONG).startswith(heard)
        assert loop.time() - began < BRIEF_TTS.first_audio_s + BRIEF_TTS.gap_s + SOON_S
        check(lab, HOURS, await said(mouth, HOURS))
        await until(lambda: standin.speaking.now == 0)
    assert not [record for record in caplog.records if record.name.startswith("workers") and record.exc_info]


async def test_a_voice_that_trickles_is_given_up(stage: Stage, lab: Lab) -> None:
    """Never silent for long, but slower than speech: the caller would hear stutter."""
    async with open_lab(stage, lab, deadlines=BRIEF_TTS) as (standin, mouth):
        standin.pace = VoicePace(s_per_s=2.0)
        with pytest.raises(Down):
            await said(mouth, LONG)


@pytest.mark.parametrize("voice", ["af_sky", "Rachel", "en-IN/Asha", "af_bella(2)+af_sky(1)"])
async def test_a_compatible_server_is_asked_for_the_agents_voice(stage: Stage, voice: str) -> None:
    async with open_lab(stage, LABS["openai"]) as (standin, mouth):
        standin.names |= {voice}
        await sounds(mouth, HELLO, VoiceOptions(voice=voice))
        await sounds(mouth, HELLO)
        assert list(standin.voices) == [voice, "alloy"]


async def test_a_voice_that_a_compatible_server_does_not_have_is_told_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_lab(stage, LABS["openai"]) as (standin, mouth):
        for _ in range(3):
            await sounds(mouth, HELLO, VoiceOptions(voice="Rachel"))
        assert list(standin.voices) == ["alloy"] * 3 and list(standin.refused) == ["Rachel"]
    told = [record.getMessage() for record in caplog.records if record.name.startswith("workers")]
    assert told == ["openai/gpt-4o-mini-tts has no voice 'Rachel', and speaks with 'alloy' instead"]


async def test_a_request_that_is_refused_in_any_voice_is_not_blamed_on_the_voice(stage: Stage) -> None:
    async with open_lab(stage, LABS["openai"]) as (standin, mouth):
        standin.names = frozenset()
        for _ in range(2):
            with pytest.raises(Rejected, match="refused the request"):
                await sounds(mouth, HELLO, VoiceOptions(voice="af_sky"))
        assert list(standin.refused) == ["af_sky", "alloy"] * 2


# --- the others -----------------------------------------------------------------------------------------------------


async def test_aura_speaks_the_language_of_its_voice_only(stage: Stage) -> None:
    async with open_lab(stage, LABS["aura"]) as (standin, mouth):
        with pytest.raises(Rejected, match="does not speak hi-IN"):
            await sounds(mouth, HELLO, VoiceOptions(language="hi-IN"))
        await sounds(mouth, HELLO, VoiceOptions(language="es", voice="aura-2-celeste-es"))
        assert standin.queries[-1]["model"] == "aura-2-celeste-es"


@pytest.mark.parametrize(
    ("spec", "environ", "kind"),
    [
        ("elevenlabs/eleven_flash_v2_5", {"ELEVENLABS_API_KEY": "k"}, "ElevenLabs"),
        ("elevenlabs/eleven_v3+http", {"ELEVENLABS_API_KEY": "k", "ELEVENLABS_VOICE_ID": "v"}, "ElevenLabsHttp"),
        ("openai/gpt-4o-mini-tts", {"OPENAI_API_KEY": "k"}, "OpenAISpeech"),
        ("deepgram/aura-2-thalia-en", {"DEEPGRAM_API_KEY": "k", "DEEPGRAM_BASE_URL": "wss://api.x.com"}, "Aura"),
    ],
)
async def test_a_spec_names_its_adapter(spec: str, environ: dict[str, str], kind: str) -> None:
    mouth = text_to_speech(spec, environ)
    assert type(mouth).__name__ == kind
    await mouth.aclose()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("elevenlabs/eleven_flash_v2_5", "set ELEVENLABS_API_KEY"),
        ("elevenlabs/eleven_v3", r"write elevenlabs/eleven_v3\+http"),
        ("elevenlabs/x+smtp", "no voice model of ElevenLabs' is named"),
        ("openai/gpt-4o-mini-tts", "set OPENAI_API_KEY"),
        ("deepgram/aura-2-thalia-en", "set DEEPGRAM_API_KEY"),
        ("deepgram/nova-3", "is no voice of Deepgram's"),
    ],
)
def test_a_spec_that_cannot_work_says_what_is_missing(spec: str, told: str) -> None:
    environ = {"ELEVENLABS_API_KEY": "k"} if "v3" in spec or "+" in spec else {}
    environ |= {"DEEPGRAM_API_KEY": "k"} if "nova" in spec else {}
    with pytest.raises(ValueError, match=told):
        text_to_speech(spec, environ)


async def test_no_adapter_writes_a_text_to_the_log(stage: Stage, lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "workers")
    async with open_lab(stage, lab) as (_, mouth):
        await mouth.warm()
        await said(mouth, HELLO)
    ours = [record for record in caplog.records if record.name.startswith("workers")]
    assert not any(HELLO in record.getMessage() or "fake" in record.getMessage() for record in ours)
