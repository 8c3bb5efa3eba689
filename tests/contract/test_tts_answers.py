"""What a voice server may answer with 200 instead of the samples that it was asked for: speech is heard, or nothing."""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.providers.voices import mulaw, pcm
from tests.contract.tts_servers import Stage
from workers.providers.interfaces import Rejected, TextToSpeech, VoiceOptions
from workers.tts.engines.cartesia_sonic import CartesiaSonic
from workers.tts.engines.deepgram_aura import Aura
from workers.tts.engines.elevenlabs import ElevenLabs, ElevenLabsHttp
from workers.tts.engines.openai_speech import OpenAISpeech
from workers.tts.engines.sarvam_bulbul import SarvamBulbul

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

TEXT = "Your appointment is on Monday at five."
noise = random.Random(5)
MP3 = b"".join(b"\xff\xfb\x90\x64" + noise.randbytes(413) for _ in range(20))
OGG = b"OggS\0\x02" + bytes(20) + noise.randbytes(8_000)
ERROR = b'{"error": {"message": "no such voice: Your appointment"}}'
PAGE = b"<!DOCTYPE html><title>Sign in</title>" * 10


def wav(rate: int, samples: bytes, tag: int = 1, bits: int = 16) -> bytes:
    fmt = struct.pack("<HHIIHH", tag, 1, rate, rate * bits // 8, bits // 8, bits)
    sizes = b"\xff\xff\xff\xff"
    return b"RIFF" + sizes + b"WAVEfmt \x10\0\0\0" + fmt + b"data" + sizes + samples


def _http(body: bytes, media: str) -> Starlette:
    async def answer(request: Request) -> Response:
        return Response(body, headers={"content-type": media} if media else {})

    return Starlette(routes=[Route("/{path:path}", answer, methods=["POST", "GET"])])


def _socket(messages: Callable[[str, bytes], list[dict[str, Any]]], body: bytes) -> Starlette:
    """Answers the first message that holds the text."""

    async def serve(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                raw = await websocket.receive_text()
                if TEXT[:12] not in raw and '"flush"}' not in raw.replace(" ", ""):
                    continue
                if "data" in json.loads(raw):
                    continue  # Sarvam's text; its flush follows
                for message in messages(json.loads(raw).get("context_id", ""), body):
                    await websocket.send_text(json.dumps(message))
        except WebSocketDisconnect:
            return

    return Starlette(routes=[WebSocketRoute("/{path:path}", serve)])


def _halves(body: bytes) -> list[str]:
    return [base64.b64encode(part).decode() for part in (body[:3_001], body[3_001:]) if part]


def _elevenlabs(context: str, body: bytes) -> list[dict[str, Any]]:
    audio = [{"audio": part, "contextId": context, "alignment": None} for part in _halves(body)]
    return [*audio, {"isFinal": True, "contextId": context}]


def _cartesia(context: str, body: bytes) -> list[dict[str, Any]]:
    audio = [{"type": "chunk", "data": part, "done": False, "context_id": context} for part in _halves(body)]
    return [*audio, {"type": "done", "done": True, "context_id": context}]


def _sarvam(_: str, body: bytes) -> list[dict[str, Any]]:
    audio = [{"type": "audio", "data": {"content_type": "audio/mulaw", "audio": part}} for part in _halves(body)]
    return [*audio, {"type": "event", "data": {"event_type": "final"}}]


VOICES: dict[str, tuple[Callable[[str], TextToSpeech], str]] = {
    "openai": (lambda url: OpenAISpeech("tts-1", key="", url=f"{url}/v1"), "OPENAI_BASE_URL"),
    "aura": (lambda url: Aura("aura-2-thalia-en", key="k", url=url), "DEEPGRAM_BASE_URL"),
    "elevenlabs-http": (lambda url: ElevenLabsHttp("eleven_flash_v2_5", key="k", url=url), "ELEVENLABS_BASE_URL"),
    "elevenlabs": (lambda url: ElevenLabs("eleven_flash_v2_5", key="k", url=url), "ELEVENLABS_BASE_URL"),
    "cartesia": (lambda url: CartesiaSonic("sonic-3", "k", url), "CARTESIA_BASE_URL"),
    "sarvam": (lambda url: SarvamBulbul("bulbul:v2", "k", url), "SARVAM_BASE_URL"),
}
SOCKETS = {"elevenlabs": _elevenlabs, "cartesia": _cartesia, "sarvam": _sarvam}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the module, and one server."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as stage:
        yield stage


async def heard(stage: Stage, name: str, body: bytes, media: str = "") -> tuple[bytes, Rejected | None]:
    """What a caller hears of this answer, and the refusal if it is one."""
    stage.app = _socket(SOCKETS[name], body) if name in SOCKETS else _http(body, media)
    voice = VOICES[name][0](stage.server.url)
    audio = b""
    try:
        async with aclosing(voice.say(TEXT, VoiceOptions())) as sounds:  # type: ignore[type-var]
            async for sound in sounds:
                audio += sound if isinstance(sound, bytes) else b""
    except Rejected as refusal:
        return audio, refusal
    finally:
        await voice.aclose()
    return audio, None


NO_AUDIO = {
    "MP3": (MP3, "audio/mpeg"),
    "MP3 without a label": (MP3, ""),
    "MP3 under a wrong label": (MP3, "audio/pcm"),
    "Ogg": (OGG, "audio/ogg"),
    "Ogg under a wrong label": (OGG, "audio/pcm"),
    "an error": (ERROR, "application/json"),
    "an error under a wrong label": (ERROR, "audio/pcm"),
    "a page": (PAGE, "text/html"),
    "noise": (noise.randbytes(20_000), "application/octet-stream"),
}


@pytest.mark.parametrize("what", NO_AUDIO)
@pytest.mark.parametrize("name", VOICES)
async def test_what_is_no_audio_is_not_heard_and_told_with_its_setting(stage: Stage, name: str, what: str) -> None:
    body, media = NO_AUDIO[what]
    audio, refusal = await heard(stage, name, body, media)
    assert audio == b""
    assert refusal is not None and VOICES[name][1] in str(refusal)
    assert TEXT[:12] not in str(refusal)


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
@pytest.mark.parametrize("name", VOICES)
async def test_a_wav_is_heard_at_its_own_speed(stage: Stage, name: str, rate: int) -> None:
    audio, refusal = await heard(stage, name, wav(rate, pcm(TEXT, rate)), "audio/wav")
    assert refusal is None
    assert abs(len(audio) - len(mulaw(TEXT))) <= 16


@pytest.mark.parametrize("name", VOICES)
async def test_a_wav_of_mulaw_is_heard_without_its_header(stage: Stage, name: str) -> None:
    audio, refusal = await heard(stage, name, wav(8_000, mulaw(TEXT), tag=7, bits=8), "audio/wav")
    assert refusal is None and audio == mulaw(TEXT)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050])
async def test_a_compatible_server_may_name_another_rate(stage: Stage, rate: int) -> None:
    audio, refusal = await heard(stage, "openai", pcm(TEXT, rate), f"audio/pcm;rate={rate}")
    assert refusal is None
    assert abs(len(audio) - len(mulaw(TEXT))) <= 16
