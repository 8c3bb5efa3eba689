"""Simulates Deepgram's text to speech: POST /v1/speak, and GET /v1/auth/token, which checks a key.

Source: the vendor's API reference, "Single Text Request", and its limit of 2000 characters (413).
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from simulators.providers.faults import RETRY_AFTER_S, Faults
from simulators.providers.voices import Speaking, VoiceBody, VoicePace, mulaw, pieces

CHUNK_MS = 100
TEXTS_KEPT = 1_000
_ERRORS = {400: "INVALID_QUERY_PARAMETER", 401: "INVALID_AUTH", 413: "INPUT_TOO_LONG", 429: "TOO_MANY_REQUESTS"}


@dataclass(slots=True)
class AuraStandin:
    """The stand-in: mount `routes` in an application.  `texts` holds the requested texts, the newest last."""

    pace: VoicePace = field(default_factory=VoicePace)
    key: str = "dg-fake"
    faults: Faults = field(default_factory=Faults)
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    queries: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    speaking: Speaking = field(default_factory=Speaking)

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/v1/speak", self._speak, methods=["POST"]),
            Route("/v1/auth/token", self._token, methods=["GET"]),
        ]

    async def _token(self, request: Request) -> Any:
        return JSONResponse({"scopes": ["usage:write"]}) if self._has_key(request) else _error(401)

    async def _speak(self, request: Request) -> Any:
        fault = self.faults.next()
        if not self._has_key(request):
            return _error(401)
        if fault is not None and fault.status:
            return _error(fault.status)
        query = dict(request.query_params)
        try:
            text = json.loads(await request.body())["text"]
        except (ValueError, KeyError, TypeError):
            return _error(400)
        if query.get("encoding") != "mulaw" or query.get("sample_rate") != "8000" or query.get("container") != "none":
            return _error(400)
        if not query.get("model", "").startswith("aura-") or not isinstance(text, str) or not text.strip():
            return _error(400)
        if len(text) > 2000:
            return _error(413)
        self.texts.append(text)
        self.queries.append(query)
        rate = 16_000 if fault is not None and fault.kind == "wrong rate" else 8_000
        chunks = list(pieces(mulaw(text, rate), CHUNK_MS * rate // 1000))
        return VoiceBody(chunks, CHUNK_MS, f"audio/mulaw;rate={rate}", self.pace, fault, self.speaking)

    def _has_key(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Token {self.key}"


def _error(status: int) -> JSONResponse:
    headers = {"retry-after": str(RETRY_AFTER_S)} if status == 429 else None
    body = {"err_code": _ERRORS.get(status, "SERVER_ERROR"), "err_msg": "a scripted refusal", "request_id": "fake"}
    return JSONResponse(body, status, headers)
