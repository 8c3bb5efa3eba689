"""Simulates Cartesia as documented: Ink (`/stt/websocket`) and Sonic (`/tts/websocket`)."""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.providers.faults import Faults
from simulators.providers.faulty_socket import FaultySocket

KEY = "test-key-of-cartesia"
MS_PER_CHARACTER = 66
TONE = bytes([0x9F, 0x8F, 0x8A, 0x8F, 0x1F, 0x0F, 0x0A, 0x0F])
"""A millisecond of 1 kHz in mu-law."""
CHUNK_MS = 200
INTERIM_MS = 200
WORDS_MS_MIN = 100
"""Shorter speech has no words."""


@dataclass
class CartesiaStandin:
    """Transcribes each finalised stretch of speech as the next line of `script`; synthesizes tones."""

    script: list[str] = field(default_factory=list)
    final_after_ms: int = 20
    first_byte_ms: int = 10
    chunk_after_ms: int = 0
    empty: int = 0
    """Number of clauses that end normally but without audio."""
    faults: Faults = field(default_factory=Faults)
    key: str = KEY

    def __post_init__(self) -> None:
        self.routes = [
            WebSocketRoute("/stt/websocket", self.listen),
            WebSocketRoute("/tts/websocket", self.speak),
        ]
        self.finals = 0
        self.open = 0
        self.sockets_ever = 0
        self.audio = bytearray()
        self.messages: list[int] = []
        """Bytes of each audio message."""
        self.commands: list[str] = []
        self.texts: list[str] = []
        self.cancelled: list[str] = []
        self.requests: list[dict[str, Any]] = []

    def _refusal(self, websocket: WebSocket) -> int:
        if websocket.headers.get("x-api-key") != self.key:
            return 401
        return 0 if websocket.headers.get("cartesia-version") else 400

    # --- speech to text ---

    async def listen(self, websocket: WebSocket) -> None:
        """Serve one speech-to-text socket."""
        faulty = FaultySocket(websocket, self.faults.next())
        query = websocket.query_params
        known = query.get("model") == "ink-whisper" and query.get("language") in ("en", "hi", "ta")
        asked = (query.get("encoding"), query.get("sample_rate")) == ("pcm_mulaw", "8000")
        if not await faulty.open(self._refusal(websocket) or (0 if known and asked else 400)):
            return
        self.open += 1
        self.sockets_ever += 1
        try:
            await self._hear(faulty)
        except WebSocketDisconnect:
            pass  # the call is over
        finally:
            self.open -= 1

    async def _hear(self, faulty: FaultySocket) -> None:
        voice_ms = interim_ms = 0.0
        while True:
            message = await faulty.receive()
            if isinstance(message, bytes):
                self.audio += message
                self.messages.append(len(message))
                voice_ms += sum(code & 0x7F < 0x50 for code in message) / 8
                if voice_ms - interim_ms >= INTERIM_MS:
                    interim_ms = voice_ms
                    await faulty.send(_transcript(self._line(voice_ms), is_final=False))
                continue
            self.commands.append(message)
            if message == "done":
                await faulty.send({"type": "done", "request_id": "r"})
                continue
            assert message == "finalize", message
            await asyncio.sleep(self.final_after_ms / 1000)
            if faulty.kind == "no final":
                continue
            if voice_ms >= WORDS_MS_MIN:
                await faulty.send(_transcript(self._line(), is_final=True))
                self.finals += faulty.kind == ""
            voice_ms = interim_ms = 0.0
            await faulty.send({"type": "flush_done", "request_id": "r"})

    def _line(self, voice_ms: float | None = None) -> str:
        """Return the present line of the script: all of it, or as many words as fit into `voice_ms`."""
        words = self.script[self.finals % len(self.script)].split()
        return " ".join(words if voice_ms is None else words[: 1 + int(voice_ms // 300)])

    # --- text to speech ---

    async def speak(self, websocket: WebSocket) -> None:
        """Serve one text-to-speech socket."""
        faulty = FaultySocket(websocket, self.faults.next())
        if not await faulty.open(self._refusal(websocket)):
            return
        self.open += 1
        self.sockets_ever += 1
        contexts: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                request = json.loads(await faulty.receive())
                number = request["context_id"]
                if request.get("cancel"):
                    self.cancelled.append(number)
                    contexts[number].cancel()
                    continue
                self.requests.append(request)
                if problem := _problem(request):
                    await faulty.send({"type": "error", "context_id": number, "done": True, **problem})
                    continue
                self.texts.append(request["transcript"])
                contexts[number] = asyncio.create_task(self._tone(faulty, number, request["transcript"]))
        except WebSocketDisconnect:
            pass  # the client has disconnected
        finally:
            self.open -= 1
            for task in contexts.values():
                task.cancel()
            await asyncio.gather(*contexts.values(), return_exceptions=True)

    async def _tone(self, faulty: FaultySocket, number: str, text: str) -> None:
        await asyncio.sleep(self.first_byte_ms / 1000)
        words = text.split()
        starts = [sum(len(word) + 1 for word in words[:n]) * MS_PER_CHARACTER / 1000 for n in range(len(words))]
        times = {"words": words, "start": starts, "end": [start + 0.1 for start in starts]}
        audio = TONE * (0 if self.empty else len(text) * MS_PER_CHARACTER)
        self.empty = max(0, self.empty - 1)
        for turn, at in zip(count(), range(0, len(audio), CHUNK_MS * 8), strict=False):
            data = base64.b64encode(audio[at : at + CHUNK_MS * 8]).decode()
            await faulty.send({"type": "chunk", "data": data, "done": False, "status_code": 206, "context_id": number})
            if turn == 0:
                await faulty.send({"type": "timestamps", "context_id": number, "done": False, "word_timestamps": times})
            await asyncio.sleep(self.chunk_after_ms / 1000)
        if faulty.kind != "no final":
            await faulty.send({"type": "done", "done": True, "status_code": 200, "context_id": number})


def _transcript(text: str, is_final: bool) -> dict[str, Any]:
    return {"type": "transcript", "is_final": is_final, "request_id": "r", "text": text, "duration": 1.0}


def _problem(request: dict[str, Any]) -> dict[str, Any] | None:
    expected = {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000}
    if request.get("output_format") != expected or request.get("continue") is not False:
        return {"status_code": 400, "title": "Invalid format"}
    if not request.get("model_id", "").startswith("sonic") or not request.get("voice", {}).get("id"):
        return {"status_code": 404, "title": "No such model or voice"}
    return None
