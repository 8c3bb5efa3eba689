"""Simulates OpenAI's text to speech: POST /v1/audio/speech, in raw PCM at 24 kHz.

Source: the vendor's API reference, "Create speech".  Its chunks end in the middle of samples, as network chunks do.
Adapters check a key by `GET /v1/models`; mount `models_route` if no other stand-in serves it.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from simulators.providers.faults import Faults
from simulators.providers.openai_chat import refused
from simulators.providers.voices import Speaking, VoiceBody, VoicePace, pcm, pieces

RATE_HZ = 24_000
CHUNK_BYTES = 4_801
"""Bytes of a chunk: a little over 100 ms, and odd."""
TEXTS_KEPT = 1_000
VOICES = frozenset({"alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse"})


@dataclass(slots=True)
class OpenAISpeechStandin:
    """The stand-in: mount `routes` in an application.  `texts` holds the requested texts, the newest last."""

    pace: VoicePace = field(default_factory=VoicePace)
    key: str = "sk-fake"
    faults: Faults = field(default_factory=Faults)
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    speaking: Speaking = field(default_factory=Speaking)
    names: frozenset[str] = VOICES
    """Known voices."""
    voices: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    """The voice of every spoken request."""
    refused: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    """Requested voices that are unknown."""

    @property
    def routes(self) -> list[Route]:
        return [Route("/v1/audio/speech", self._speak, methods=["POST"])]

    @property
    def models_route(self) -> Route:
        return Route("/v1/models", self._models, methods=["GET"])

    async def _models(self, request: Request) -> Any:
        if not self._has_key(request):
            return refused(401)
        return JSONResponse({"object": "list", "data": [{"id": "gpt-4o-mini-tts", "object": "model", "created": 1}]})

    async def _speak(self, request: Request) -> Any:
        fault = self.faults.next()
        if not self._has_key(request):
            return refused(401)
        if fault is not None and fault.status:
            return refused(fault.status)
        try:
            asked = json.loads(await request.body())
            text, voice, form = asked["input"], asked["voice"], asked["response_format"]
        except (ValueError, KeyError, TypeError):
            return refused(400)
        if voice not in self.names:
            self.refused.append(voice)
            return refused(400)
        if not text or len(text) > 4096 or form != "pcm" or "instructions" in asked:
            return refused(400)
        self.texts.append(text)
        self.voices.append(voice)
        rate = 48_000 if fault is not None and fault.kind == "wrong rate" else RATE_HZ
        chunks = list(pieces(pcm(text, rate), CHUNK_BYTES))
        chunk_ms = CHUNK_BYTES / (rate // 1000 * 2)
        return VoiceBody(chunks, chunk_ms, "audio/pcm", self.pace, fault, self.speaking)

    def _has_key(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"
