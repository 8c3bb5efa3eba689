"""Simulates Sarvam as documented: `/speech-to-text/ws` and `/text-to-speech/ws`."""

import asyncio
import base64
import json
import struct
from array import array
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.providers.faults import Faults
from simulators.providers.faulty_socket import FaultySocket

KEY = "test-key-of-sarvam"
MS_PER_CHARACTER = 66
TONE = bytes([0x9F, 0x8F, 0x8A, 0x8F, 0x1F, 0x0F, 0x0A, 0x0F])
"""A millisecond of 1 kHz in mu-law."""
WAV_HEADER = (
    b"RIFF\xff\xff\xff\xffWAVE" + b"fmt \x10\0\0\0" + struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 8)
    + b"data\xff\xff\xff\xff"
)  # fmt: skip
"""WAV header of mu-law at 8 kHz of unknown length."""
CHUNK_MS = 200
LOUD = 500
"""Mean magnitude from which a window is speech; full scale is 32,767."""
STARTS_MS, ENDS_MS = 100, 500
"""Durations of speech and silence after which the detector decides, at high sensitivity."""


@dataclass
class SarvamStandin:
    """Transcribes each speech as the next line of `script`; synthesizes tones."""

    script: list[str] = field(default_factory=list)
    final_after_ms: int = 20
    first_byte_ms: int = 10
    chunk_after_ms: int = 0
    empty: int = 0
    """Number of clauses that end normally but without audio."""
    wav: bool = False
    """Put a WAV header before the first chunk of a clause."""
    lose_end: bool = False
    """Never say END_SPEECH."""
    faults: Faults = field(default_factory=Faults)
    key: str = KEY

    def __post_init__(self) -> None:
        self.routes = [
            WebSocketRoute("/speech-to-text/ws", self.listen),
            WebSocketRoute("/text-to-speech/ws", self.speak),
        ]
        self.finals = 0
        self.open = 0
        self.sockets_ever = 0
        self.queries: list[dict[str, str]] = []
        self.pcm_bytes = 0
        self.commands: list[str] = []
        self.texts: list[str] = []
        self.configs: list[dict[str, Any]] = []

    def _refusal(self, websocket: WebSocket, models: tuple[str, ...]) -> int:
        if websocket.headers.get("api-subscription-key") != self.key:
            return 403
        return 0 if websocket.query_params.get("model") in models else 400

    # --- speech to text ---

    async def listen(self, websocket: WebSocket) -> None:
        """Serve one speech-to-text socket."""
        faulty = FaultySocket(websocket, self.faults.next())
        query = dict(websocket.query_params)
        self.queries.append(query)
        expected = {"sample_rate": "8000", "input_audio_codec": "pcm_s16le", "vad_signals": "true"}
        asked = expected.items() <= query.items() and query.get("language-code", "").endswith(("-IN", "unknown"))
        refusal = self._refusal(websocket, ("saarika:v2.5", "saaras:v3"))
        if not await faulty.open(refusal or (0 if asked else 400)):
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
        speaking, voice_ms, silence_ms = False, 0.0, 0.0
        while True:
            message = json.loads(await faulty.receive())
            if message.get("type") == "flush":
                self.commands.append("flush")
                if speaking:
                    speaking, voice_ms, silence_ms = False, 0.0, 0.0
                    await self._final(faulty)
                continue
            audio = message["audio"]
            if audio["sample_rate"] != "8000" or audio["encoding"] != "audio/wav":
                await faulty.send({"type": "error", "data": {"code": "unprocessable_entity_error", "message": "?"}})
                continue
            samples = array("h", base64.b64decode(audio["data"]))
            self.pcm_bytes += 2 * len(samples)
            for at in range(0, len(samples), 160):
                frame = samples[at : at + 160]
                if sum(map(abs, frame)) / len(frame) >= LOUD:
                    voice_ms, silence_ms = voice_ms + 20, 0.0
                    if not speaking and voice_ms >= STARTS_MS:
                        speaking = True
                        await faulty.send(_signal("START_SPEECH"))
                else:
                    silence_ms += 20
                    if silence_ms >= ENDS_MS:
                        if speaking and not self.lose_end:
                            speaking = False
                            await faulty.send(_signal("END_SPEECH"))
                            await self._final(faulty)
                        voice_ms = 0.0

    async def _final(self, faulty: FaultySocket) -> None:
        await asyncio.sleep(self.final_after_ms / 1000)
        if faulty.kind == "no final":
            return
        text = self.script[self.finals % len(self.script)]
        self.finals += faulty.kind == ""
        await faulty.send({"type": "data", "data": {"request_id": "r", "transcript": text, "language_code": "hi-IN"}})

    # --- text to speech ---

    async def speak(self, websocket: WebSocket) -> None:
        """Serve one text-to-speech socket, one clause after the other."""
        faulty = FaultySocket(websocket, self.faults.next())
        refusal = self._refusal(websocket, ("bulbul:v2", "bulbul:v3"))
        if not await faulty.open(refusal or (0 if websocket.query_params.get("send_completion_event") else 400)):
            return
        self.open += 1
        self.sockets_ever += 1
        try:
            await self._read_aloud(faulty)
        except WebSocketDisconnect:
            pass  # the client cancelled the clause
        finally:
            self.open -= 1

    async def _read_aloud(self, faulty: FaultySocket) -> None:
        configured, text = False, ""
        while True:
            message = json.loads(await faulty.receive())
            match message["type"]:
                case "config":
                    self.configs.append(message["data"])
                    configured = True
                    if (message["data"]["speech_sample_rate"], message["data"]["output_audio_codec"]) != (
                        8000,
                        "mulaw",
                    ):
                        await faulty.send({"type": "error", "data": {"code": 422, "message": "?"}})
                case "text" if configured:
                    text += message["data"]["text"]
                case "flush" if configured:
                    self.texts.append(text)
                    await self._tone(faulty, text)
                    text = ""
                case "ping":
                    self.commands.append("ping")
                case _:
                    await faulty.send({"type": "error", "data": {"code": 422, "message": "no config"}})

    async def _tone(self, faulty: FaultySocket, text: str) -> None:
        await asyncio.sleep(self.first_byte_ms / 1000)
        audio = (WAV_HEADER if self.wav else b"") + TONE * (0 if self.empty else len(text) * MS_PER_CHARACTER)
        self.empty = max(0, self.empty - 1)
        for at in range(0, len(audio), CHUNK_MS * 8):
            data = base64.b64encode(audio[at : at + CHUNK_MS * 8]).decode()
            await faulty.send({"type": "audio", "data": {"content_type": "audio/mulaw", "audio": data}})
            await asyncio.sleep(self.chunk_after_ms / 1000)
        if faulty.kind != "no final":
            await faulty.send({"type": "event", "data": {"event_type": "final"}})


def _signal(kind: str) -> dict[str, Any]:
    return {"type": "events", "data": {"event_type": "vad", "signal_type": kind, "occured_at": 0.0}}
