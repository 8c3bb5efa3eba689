"""Simulates Deepgram's live transcription: /v1/listen (Nova) and /v2/listen (Flux).

    silence, then sound -> SpeechStarted, interims ... silence again -> the script's next text, final

It recognises no words: it detects loud mu-law, and each connection returns the texts of the script from the first,
in a loop.  Each speech (Flux: each turn) gets one text.  Source: the vendor's references of both sockets, and
its pages on endpointing, interim results, utterance end, keep-alive, Finalize and Flux's state machine.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.providers.deepgram_speech import FluxSpeech, NovaSpeech, Outgoing, Pace
from simulators.providers.faults import RETRY_AFTER_S, SLOW_S, Fault, Faults

NO_AUDIO = 1011
CONNECTIONS_KEPT = 1_000
_NUMBERS = {
    "endpointing": (0, 10_000),
    "utterance_end_ms": (1000, 5000),
    "eot_timeout_ms": (500, 60_000),
    "eot_threshold": (0.5, 1.0),
    "eager_eot_threshold": (0.3, 0.9),
}
_KNOWN = {
    "/v1/listen": {
        *("model", "language", "encoding", "sample_rate", "channels", "keyterm", "keywords", "smart_format"),
        *("punctuate", "interim_results", "endpointing", "utterance_end_ms", "vad_events"),
    },
    "/v2/listen": {
        *("model", "language_hint", "encoding", "sample_rate", "keyterm"),
        *("eot_threshold", "eager_eot_threshold", "eot_timeout_ms"),
    },
}


class Speech(Protocol):
    """A model's interpretation of the audio: messages, each with its delay in ms."""

    withholds: bool
    """It never sends a final result."""

    def hear(self, mulaw: bytes) -> list[Outgoing]: ...

    def command(self, kind: str) -> list[Outgoing]: ...


@dataclass(slots=True)
class Connection:
    """Record of one socket."""

    path: str
    query: list[tuple[str, str]]
    audio: bytearray = field(default_factory=bytearray)
    texts: list[str] = field(default_factory=list)
    """Types of the control messages received."""
    messages: int = 0
    """Number of binary messages received."""
    sent: int = 0
    open: bool = True


@dataclass(slots=True, kw_only=True)
class Options:
    """Behaviour of the stand-in, beside its `Pace`."""

    key: str = "fake-deepgram-key"
    idle_ms: float = 10_000
    """Time without audio and KeepAlive after which /v1 is closed, as the vendor does."""
    unread_ms: float = 5_000
    """Time for which a half-dead socket is not read; afterwards the stand-in waits for its end only."""
    slow_ms: float = SLOW_S * 1000
    keep_audio: bool = True


class DeepgramStandin:
    """The stand-in: mount `routes` in an application.  The options are the fields of `Pace` and `Options`."""

    def __init__(self, script: Sequence[str], **options: Any) -> None:
        behaviour = {name: options.pop(name) for name in list(options) if name in Options.__dataclass_fields__}
        self.script = list(script)
        self.pace = Pace(**options)
        self.options = Options(**behaviour)
        self.faults = Faults()
        self.open = 0
        self.connections: deque[Connection] = deque(maxlen=CONNECTIONS_KEPT)

    @property
    def routes(self) -> list[WebSocketRoute]:
        return [WebSocketRoute("/v1/listen", self._listen), WebSocketRoute("/v2/listen", self._listen)]

    async def _listen(self, websocket: WebSocket) -> None:
        fault = self.faults.next()
        status, reason = self._refusal(websocket, fault)
        if status:
            headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 429 else {}
            await websocket.send_denial_response(PlainTextResponse(reason, status, headers))
            return
        if fault is not None and fault.kind == "slow" and fault.after == 0:
            await asyncio.sleep(self.options.slow_ms / 1000)
        await websocket.accept()
        query = list(websocket.query_params.multi_items())
        connection = Connection(websocket.url.path, query)
        self.connections.append(connection)
        self.open += 1
        try:
            await _ListenSocket(
                websocket, connection, fault, self._speech(connection.path, dict(query)), self.options
            ).serve()
        finally:
            self.open -= 1
            connection.open = False

    def _speech(self, path: str, query: dict[str, str]) -> Speech:
        if path == "/v2/listen":
            return FluxSpeech(self.script, self.pace, query)
        return NovaSpeech(self.script, self.pace, query)

    def _refusal(self, websocket: WebSocket, fault: Fault | None) -> tuple[int, str]:
        """Return (HTTP status, reason) of a refusal; status 0 accepts the connection."""
        if fault is not None and fault.status:
            return fault.status, "a scripted fault"
        if websocket.headers.get("authorization") != f"Token {self.options.key}":
            return 401, "INVALID_AUTH"
        query = dict(websocket.query_params.multi_items())
        path = websocket.url.path
        if unknown := set(query) - _KNOWN[path]:
            return 400, f"unknown: {', '.join(sorted(unknown))}"
        if query.get("encoding") != "mulaw" or query.get("sample_rate") != "8000":
            return 400, "only mulaw at 8000 Hz is played here"
        if query.get("model", "").startswith("flux-") != (path == "/v2/listen"):
            return 400, "this model is not served here"
        if "utterance_end_ms" in query and query.get("interim_results") != "true":
            return 400, "utterance_end_ms needs interim_results"
        for name, (least, most) in _NUMBERS.items():
            try:
                if name in query and not least <= float(query[name]) <= most:
                    return 400, f"{name} is out of range"
            except ValueError:
                return 400, f"{name} is no number"
        return 0, ""


class _ListenSocket:
    """One open socket: reads audio and sends due messages, both subject to the fault."""

    def __init__(
        self, websocket: WebSocket, connection: Connection, fault: Fault | None, speech: Speech, options: Options
    ) -> None:
        self._websocket = websocket
        self._connection = connection
        self._fault = fault
        self._speech = speech
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, dict[str, Any] | None]] = deque()
        self._scheduled = asyncio.Event()
        self._fed_at = self._loop.time()

    async def serve(self) -> None:
        sending = asyncio.create_task(self._send(), name="deepgram stand-in, sending")
        watching = asyncio.create_task(self._watch(), name="deepgram stand-in, watching")
        try:
            await self._read()
        except WebSocketDisconnect:
            pass  # the client has disconnected
        finally:
            for task in (sending, watching):
                task.cancel()
            await asyncio.wait((sending, watching))

    def _struck(self, kind: str) -> bool:
        fault = self._fault
        return fault is not None and fault.kind == kind and self._connection.sent >= fault.after

    async def _read(self) -> None:
        self._plan(self._speech.command("open"))
        while True:
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                return
            if self._struck("half-dead"):
                await asyncio.sleep(self._options.unread_ms / 1000)
                self._fault = Fault("stall")
            self._fed_at = self._loop.time()
            self._speech.withholds = self._struck("no final")
            audio = event.get("bytes")
            if audio is not None:
                self._connection.messages += 1
                if self._options.keep_audio:
                    self._connection.audio += audio
                self._plan(self._speech.hear(audio))
            else:
                kind = json.loads(event["text"])["type"]
                self._connection.texts.append(kind)
                self._plan(self._speech.command(kind))

    def _plan(self, outgoing: list[Outgoing]) -> None:
        now = self._loop.time()
        for after_ms, message in outgoing:
            due = now + after_ms / 1000
            self._due.append((max(due, self._due[-1][0]) if self._due else due, message))
            self._scheduled.set()

    async def _send(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # the reader ends by itself, too
            while True:
                while not self._due:
                    self._scheduled.clear()
                    await self._scheduled.wait()
                due, message = self._due[0]
                delay = due - self._loop.time()
                if delay > 0:
                    await asyncio.sleep(delay)
                self._due.popleft()
                if message is None:
                    await self._websocket.close(1000)
                    return
                if not await self._send_one(message):
                    return

    async def _send_one(self, message: dict[str, Any]) -> bool:
        """Send a message, subject to the fault; return False after the last one."""
        if self._struck("stall") or self._struck("half-dead"):
            return False
        if self._struck("close"):
            await self._websocket.close(NO_AUDIO)
            return False
        if self._struck("slow"):
            await asyncio.sleep(self._options.slow_ms / 1000)
        malformed = self._struck("malformed")
        self._connection.sent += 1
        await self._websocket.send_text('{"type": "Resul' if malformed else json.dumps(message, ensure_ascii=False))
        return True

    async def _watch(self) -> None:
        """Close the socket at the vendor's deadline without input."""
        if self._connection.path != "/v1/listen":
            return
        idle_s = self._options.idle_ms / 1000
        while (left := self._fed_at + idle_s - self._loop.time()) > 0:
            await asyncio.sleep(left)
        with suppress(RuntimeError):  # closed already
            await self._websocket.close(NO_AUDIO, "NET-0001")
