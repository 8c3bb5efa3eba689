"""Simulates ElevenLabs' text to speech: the multi-context socket and the streamed POST.

    WS   /v1/text-to-speech/{voice}/multi-stream-input
    POST /v1/text-to-speech/{voice}/stream
    GET  /v1/models                                      by which adapters check a key

As at the vendor (API reference, guide, and users' reports: pipecat-ai/pipecat#4041 and #4126,
bolna-ai/bolna#790): a flush alone is not answered by `isFinal`; a closed context that was flushed is spoken to its
end, and counts until its `isFinal`; a sixth context ends the socket with 1008, and so does too long a silence.
Flushing or closing an unknown context opens a phantom context there; here it is an error, for tests to see.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.providers.faults import RETRY_AFTER_S, SLOW_S, Fault, Faults
from simulators.providers.voices import MS_PER_CHAR, Speaking, VoiceBody, VoicePace, mulaw, pieces

CONTEXTS_MAX = 5
INACTIVITY_S_MAX = 180
CHARS_PER_MESSAGE = 3
TEXTS_KEPT = 1_000
WITH_LANGUAGE = frozenset({"eleven_flash_v2_5", "eleven_turbo_v2_5"})
_STATUS = {401: "invalid_api_key", 429: "too_many_concurrent_requests", 503: "system_busy", 400: "invalid_parameters"}
_MIDWAY = {"unauthorised": "quota_exceeded", "busy": "too_many_concurrent_requests", "broken": "internal_server_error"}


@dataclass(slots=True)
class ElevenLabsStandin:
    """The stand-in: mount `routes` in an application.  `texts` holds the spoken texts, the newest last."""

    pace: VoicePace = field(default_factory=VoicePace)
    key: str = "xi-fake"
    idle_s: float | None = None
    """Time without text after which a socket is closed; None: the time that the client requested."""
    hasty: bool = False
    """As the vendor under load: a context that is closed before its first audio ends at once, without audio."""
    faults: Faults = field(default_factory=Faults)
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    languages: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    """The `language_code` of every socket and request, in order."""
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    """Mistakes of the clients."""
    speaking: Speaking = field(default_factory=Speaking)
    sockets: int = 0
    sockets_opened: int = 0
    contexts: int = 0
    contexts_most: int = 0
    """Most contexts of one socket at once."""

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            WebSocketRoute("/v1/text-to-speech/{voice}/multi-stream-input", self._listen),
            Route("/v1/text-to-speech/{voice}/stream", self._stream, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
        ]

    async def _models(self, request: Request) -> Any:
        return JSONResponse([{"model_id": "eleven_flash_v2_5"}]) if self._has_key(request) else _error(401)

    async def _stream(self, request: Request) -> Any:
        fault = self.faults.next()
        if not self._has_key(request):
            return _error(401)
        if fault is not None and fault.status:
            return _error(fault.status)
        try:
            asked = json.loads(await request.body())
            text, model = asked["text"], asked["model_id"]
        except (ValueError, KeyError, TypeError):
            return _error(400)
        code = asked.get("language_code", "")
        if request.query_params.get("output_format") != "ulaw_8000" or (code and model not in WITH_LANGUAGE):
            return _error(400)
        self.texts.append(text)
        self.languages.append(code)
        rate = 16_000 if fault is not None and fault.kind == "wrong rate" else 8_000
        chunks = list(pieces(mulaw(text, rate), 100 * rate // 1000))
        return VoiceBody(chunks, 100, "audio/basic", self.pace, fault, self.speaking)

    async def _listen(self, socket: WebSocket) -> None:
        fault = self.faults.next()
        query = socket.query_params
        status = 0 if self._has_key(socket) else 401
        if fault is not None and fault.status and not fault.after:
            status = fault.status
        inactivity = query.get("inactivity_timeout", "20")
        known = query.get("output_format") == "ulaw_8000" and query.get("sync_alignment") == "true"
        code = query.get("language_code", "")
        known = known and 0 < int(inactivity) <= INACTIVITY_S_MAX
        if not status and (not known or (code and query.get("model_id") not in WITH_LANGUAGE)):
            status = 400
        if status:
            await socket.send_denial_response(_error(status))
            return
        await socket.accept()
        self.languages.append(code)
        self.sockets += 1
        self.sockets_opened += 1
        try:
            await _SpeakSocket(self, socket, fault, self.idle_s or float(inactivity)).run()
        finally:
            self.sockets -= 1

    def _has_key(self, request: Request | WebSocket) -> bool:
        return request.headers.get("xi-api-key") == self.key


@dataclass(slots=True)
class _Context:
    text: str = ""
    flushed: bool = False
    closing: bool = False
    speaks: bool = False
    task: asyncio.Task[None] | None = None


class _SpeakSocket:
    """One socket."""

    def __init__(self, standin: ElevenLabsStandin, socket: WebSocket, fault: Fault | None, idle_s: float) -> None:
        self._standin = standin
        self._socket = socket
        self._fault = fault
        self._idle_s = idle_s
        self._contexts: dict[str, _Context] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._sent = 0
        self._over = asyncio.Event()
        self._unresponsive = False

    async def run(self) -> None:
        reading = asyncio.create_task(self._read(), name="an ElevenLabs stand-in reads")
        over = asyncio.create_task(self._over.wait(), name="an ElevenLabs stand-in ends")
        try:
            await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [reading, over, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._standin.contexts -= len(self._contexts)

    async def _read(self) -> None:
        try:
            while not self._unresponsive:
                try:
                    async with asyncio.timeout(self._idle_s):
                        raw = await self._socket.receive_text()
                except TimeoutError:
                    if self._contexts:
                        continue
                    await self._refuse("input_timeout_exceeded")
                if not self._unresponsive:
                    await self._understand(json.loads(raw))
            await asyncio.Event().wait()  # half-dead: the stand-in reads no more
        except (WebSocketDisconnect, RuntimeError):
            return  # the client has disconnected

    async def _understand(self, message: dict[str, Any]) -> None:
        context_id = message.get("context_id", "default")
        context = self._contexts.get(context_id)
        if message.get("close_socket"):
            self._over.set()
        elif context is None:
            if message.get("text") != " ":
                await self._refuse("context_does_not_exist")
            elif len(self._contexts) >= CONTEXTS_MAX:
                await self._refuse("max_active_conversations")
            else:
                self._contexts[context_id] = _Context()
                self._standin.contexts += 1
                self._standin.contexts_most = max(self._standin.contexts_most, len(self._contexts))
        elif context.closing:
            await self._refuse("text_after_close")
        elif message.get("close_context"):
            context.closing = True
            if context.task is not None and self._standin.hasty and not context.speaks:
                context.task.cancel()
                context.task = None
            if context.task is None:
                await self._final(context_id)
        else:
            context.text += message.get("text", "")
            if message.get("flush") and context.task is None:
                self._standin.texts.append(context.text)
                context.task = asyncio.create_task(self._speak(context_id, context), name="an ElevenLabs context")
                self._tasks = [task for task in self._tasks if not task.done()] + [context.task]

    async def _speak(self, context_id: str, context: _Context) -> None:
        standin = self._standin
        standin.speaking.begin()
        whole = False
        try:
            await asyncio.sleep(standin.pace.first_ms / 1000)
            now = asyncio.get_running_loop().time
            began = now()
            rate = 16_000 if self._fault is not None and self._fault.kind == "wrong rate" else 8_000
            spoken = context.text.removesuffix(" ")
            size = CHARS_PER_MESSAGE * MS_PER_CHAR * rate // 1000
            chunks = list(pieces(mulaw(spoken, rate), size))
            for number, audio in enumerate(chunks):
                chunk_s = number * CHARS_PER_MESSAGE * MS_PER_CHAR / 1000
                await asyncio.sleep(max(0.0, began + chunk_s * standin.pace.s_per_s - now()))
                letters = spoken[number * CHARS_PER_MESSAGE :][:CHARS_PER_MESSAGE]
                context.speaks = True
                await self._send(_audio(context_id, audio, letters))
            whole = True
            while not context.closing:
                await asyncio.sleep(0.01)
            await self._final(context_id)
        except (WebSocketDisconnect, RuntimeError):
            return  # the client has disconnected
        finally:
            standin.speaking.end(whole)

    async def _final(self, context_id: str) -> None:
        if self._fault is not None and self._fault.kind == "no final":
            return
        del self._contexts[context_id]
        self._standin.contexts -= 1
        await self._send({"isFinal": True, "contextId": context_id})

    async def _send(self, message: dict[str, Any]) -> None:
        fault = self._fault
        if fault is not None and self._sent >= fault.after:
            match fault.kind:
                case "close":
                    await self._end(1011, "")
                case "unauthorised" | "busy" | "broken":
                    await self._refuse(_MIDWAY[fault.kind])
                case "stall" | "half-dead":
                    self._unresponsive = fault.kind == "half-dead"
                    await asyncio.Event().wait()
                case "malformed":
                    await self._socket.send_text("{no JSON")
                case "slow":
                    await asyncio.sleep(SLOW_S)
        self._sent += 1
        await self._socket.send_text(json.dumps(message))

    async def _refuse(self, error: str) -> None:
        self._standin.errors.append(error)
        message = f"a scripted refusal: {error}"
        await self._socket.send_text(json.dumps({"message": message, "error": error, "code": 1008}))
        await self._end(1008, message)

    async def _end(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)
        self._over.set()
        await asyncio.Event().wait()  # until the socket's tasks are cancelled


def _audio(context_id: str, audio: bytes, letters: str) -> dict[str, Any]:
    """Return the character timings, relative to the message's own audio."""
    starts = [MS_PER_CHAR * n for n in range(len(letters))]
    alignment = {"chars": list(letters), "charStartTimesMs": starts, "charDurationsMs": [MS_PER_CHAR] * len(letters)}
    normalized = {**alignment, "chars": list(letters.upper())}  # adapters must not read them
    return {
        "audio": base64.b64encode(audio).decode(),
        "isFinal": None,
        "contextId": context_id,
        "alignment": alignment,
        "normalizedAlignment": normalized,
    }


def _error(status: int) -> JSONResponse:
    headers = {"retry-after": str(RETRY_AFTER_S)} if status == 429 else None
    detail = {"status": _STATUS.get(status, "server_error"), "message": "a scripted refusal"}
    return JSONResponse({"detail": detail}, status, headers)
