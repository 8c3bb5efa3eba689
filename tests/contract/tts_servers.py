"""Every mouth for sale and its stand-in: one line each in `LABS`, and test_tts_vendors.py tries it with every fault."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from simulators.loopback_server import LoopbackServer
from simulators.providers.aura import AuraStandin
from simulators.providers.elevenlabs import ElevenLabsStandin
from simulators.providers.faults import Faults, Kind
from simulators.providers.openai_speech import OpenAISpeechStandin
from simulators.providers.voices import Speaking, VoicePace
from tests.contract.deadlines import PATIENT_TTS
from tests.deadlines import WAIT_S
from workers.providers.deadlines import SpeechDeadlines
from workers.providers.interfaces import Down, ProviderError, Rejected, Sound, TextToSpeech, VoiceOptions
from workers.tts.engines.deepgram_aura import Aura
from workers.tts.engines.elevenlabs import ElevenLabs, ElevenLabsHttp
from workers.tts.engines.openai_speech import OpenAISpeech


class VoiceStandin(Protocol):
    """What the tests ask of a stand-in."""

    pace: VoicePace
    faults: Faults
    speaking: Speaking
    texts: Sequence[str]

    @property
    def routes(self) -> Sequence[BaseRoute]: ...


@dataclass(frozen=True, slots=True)
class Lab:
    """One vendor's way to speak.  `speak(url, key, deadlines)` builds the adapter."""

    standin: Callable[[], Any]
    speak: Callable[[str, str, SpeechDeadlines], TextToSpeech]
    exact: bool = True
    """Does the audio arrive byte for byte as it was made (mu-law), or is it resampled?"""
    harmless: frozenset[Kind] = frozenset()
    """Faults that the caller does not hear of."""
    malformed: type[ProviderError] = Rejected
    """What a web page instead of audio is; a message that is no JSON is a broken wire."""
    unseen: frozenset[Kind] = frozenset()
    """Faults that nobody can see on this wire; the adapter's docstring says so."""


LABS: dict[str, Lab] = {
    "elevenlabs": Lab(
        ElevenLabsStandin,
        lambda url, key, deadlines: ElevenLabs("eleven_flash_v2_5", key=key, url=url, deadlines=deadlines),
        harmless=frozenset({"no final"}),
        malformed=Down,
    ),
    "elevenlabs-http": Lab(
        ElevenLabsStandin,
        lambda url, key, deadlines: ElevenLabsHttp("eleven_flash_v2_5", key=key, url=url, deadlines=deadlines),
        unseen=frozenset({"wrong rate"}),
    ),
    "openai": Lab(
        OpenAISpeechStandin,
        lambda url, key, deadlines: OpenAISpeech("gpt-4o-mini-tts", key=key, url=f"{url}/v1", deadlines=deadlines),
        exact=False,
        unseen=frozenset({"wrong rate"}),
    ),
    "aura": Lab(
        AuraStandin,
        lambda url, key, deadlines: Aura("aura-2-thalia-en", key=key, url=url, deadlines=deadlines),
    ),
}


class Stage:
    """One server for many tests, since to end one takes 100 ms.  Each test puts its own stand-in on it."""

    def __init__(self) -> None:
        self.app: Any = Starlette()
        self.server = LoopbackServer(self, ws="websockets-sansio")

    async def __aenter__(self) -> Stage:
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.server.__aexit__(*error)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@contextlib.asynccontextmanager
async def open_lab(
    stage: Stage, lab: Lab, key: str | None = None, deadlines: SpeechDeadlines = PATIENT_TTS
) -> AsyncIterator[tuple[Any, TextToSpeech]]:
    """The stand-in on loopback, and the adapter in front of it; `key` instead of the right one.

    Fails if the adapter, once closed, leaves a task behind: a reader, or a clause.
    """
    before = asyncio.all_tasks()
    standin = lab.standin()
    models = [standin.models_route] if hasattr(standin, "models_route") else []
    stage.app = Starlette(routes=[*standin.routes, *models])
    mouth = lab.speak(stage.server.url, standin.key if key is None else key, deadlines)
    try:
        yield standin, mouth
    finally:
        await mouth.aclose()
    async with asyncio.timeout(WAIT_S):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)


async def sounds(mouth: TextToSpeech, text: str, options: VoiceOptions | None = None) -> list[Sound]:
    async with asyncio.timeout(WAIT_S), aclosing(mouth.say(text, options or VoiceOptions())) as stream:  # type: ignore[type-var]
        return [sound async for sound in stream]


async def said(mouth: TextToSpeech, text: str) -> bytes:
    return b"".join(sound for sound in await sounds(mouth, text) if isinstance(sound, bytes))
