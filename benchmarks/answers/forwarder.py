"""The plain program for comparison: one process, callbacks on bare sockets, no bus, no pacing, no recovery.

    socket ──▶ recogniser ──final──▶ model ──clause──▶ voice ──▶ socket

It is about the least that a Python process can do for a call: it keeps one connection per call and vendor, forwards
each frame on arrival, and sends synthesised audio in frames of 20 ms, as the carrier asks, without pacing.  Clauses are
cut by the rule of the stack, so both wait for the same tokens.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from binascii import b2a_base64
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.answers.bare_protocol import BINARY, TEXT, BareEvents, BareWebSocket, Received, client_request
from benchmarks.answers.cores import pin
from benchmarks.bare_socket import FRAME_BYTES
from benchmarks.children import receive
from common.process.node import run_process
from simulators.providers.cast import KEY
from workers.llm.text.clauses import Clauses

RUN_SECONDS_MAX = 1_000.0
CONNECT_SECONDS = 5.0
WEBHOOK_SECONDS = 5.0
LISTEN = (
    "/deepgram/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000&interim_results=true&vad_events=true"
    "&endpointing={ms}"
)
SPEAK = (
    "/elevenlabs/v1/text-to-speech/voice/multi-stream-input?model_id=eleven_flash_v2_5&output_format=ulaw_8000"
    "&inactivity_timeout=180&sync_alignment=true"
)


@dataclass(frozen=True, slots=True)
class ForwarderPlan:
    """URLs of the vendors, silence that ends a speech, the core to run on (None: any), and the agent's first words."""

    vendors_url: str
    endpoint_ms: int
    core: int | None
    greeting: str = ""


class _Media(msgspec.Struct):
    payload: bytes  # decoded from base64


class _Start(msgspec.Struct):
    streamId: str


class _CallerMessage(msgspec.Struct):
    event: str
    media: _Media | None = None
    start: _Start | None = None


class _VoiceMessage(msgspec.Struct):
    contextId: str = ""
    audio: bytes | None = None  # decoded from base64
    isFinal: bool | None = None


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_caller_message = msgspec.json.Decoder(_CallerMessage).decode
_voice_message = msgspec.json.Decoder(_VoiceMessage).decode
_chunk = msgspec.json.Decoder(_Chunk).decode


class _Call:
    """One caller, from its connection to its end; `run` connects to the vendors and waits for the end."""

    def __init__(self, plan: ForwarderPlan, tls: ssl.SSLContext | None) -> None:
        self._plan = plan
        self._tls = tls
        self.line = BareWebSocket(self._hear_caller)
        self._model = BareEvents(self._hear_model)
        self._dialogue: list[dict[str, str]] = [{"role": "system", "content": "You answer the telephone."}]
        self._clauses = Clauses()
        self._answer = ""
        self._answering = False
        self._unspoken: deque[str] = deque()
        self._context = 0
        self._speaking = False
        self._played = (b"", b"")

    async def run(self) -> None:
        """Serve the call; raises nothing when either side goes."""
        url, host = self._plan.vendors_url, urlsplit(self._plan.vendors_url)
        self._head = (
            f"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: {host.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/json\r\n"
        ).encode()
        listen = client_request(url + LISTEN.format(ms=self._plan.endpoint_ms), f"Authorization: Token {KEY}")
        self._recogniser = await self._connect(self._hear_recogniser, listen)
        self._voice = await self._connect(self._hear_voice, client_request(url + SPEAK, f"xi-api-key: {KEY}"))
        self._ready = True
        await self.line.ended
        for each in (self._recogniser, self._voice, self._model):
            each.close()

    async def _connect(self, received: Received, request: bytes) -> BareWebSocket:
        socket = BareWebSocket(received, request)
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._open(lambda: socket)
            await socket.opened
        return socket

    async def _open(self, protocol: Any) -> None:
        host = urlsplit(self._plan.vendors_url)
        loop = asyncio.get_running_loop()
        await loop.create_connection(protocol, host.hostname, host.port, ssl=self._tls)

    def _hear_caller(self, text: bytes) -> None:
        message = _caller_message(text)
        if message.media is not None:
            if self._ready:
                self._recogniser.send(BINARY, message.media.payload)
        elif message.start is not None:
            stream = message.start.streamId
            head = f'{{"event":"playAudio","streamId":"{stream}","media":{{"contentType":"audio/x-mulaw",'
            self._played = (head.encode() + b'"sampleRate":8000,"payload":"', b'"}}')
            self._clear = msgspec.json.encode({"event": "clearAudio", "streamId": stream})
            if self._plan.greeting:
                self._greet()

    def _greet(self) -> None:
        if not self._ready:
            asyncio.get_running_loop().call_later(0.01, self._greet)
            return
        self._unspoken.append(self._plan.greeting)
        self._speak()

    def _hear_recogniser(self, text: bytes) -> None:
        message = msgspec.json.decode(text)
        if message["type"] == "SpeechStarted":
            self._interrupt()
        elif message["type"] == "Results" and message.get("speech_final"):
            transcript = message["channel"]["alternatives"][0]["transcript"]
            if transcript:
                self._interrupt()
                self._dialogue.append({"role": "user", "content": transcript})
                self._ask()

    def _interrupt(self) -> None:
        """Stop the present reply and clear the carrier's buffer; audio that still arrives for it is not sent."""
        if not self._replied:
            return
        self._replied = False
        self._unspoken.clear()
        self._speaking = False
        self._context += 1
        if self._answering:
            self._answering = False
            self._model.close()
        self.line.send(TEXT, self._clear)

    def _ask(self) -> None:
        self._clauses, self._answer, self._answering = Clauses(), "", True
        self._replied = True
        body = {"model": "gpt-4o-mini", "stream": True, "messages": self._dialogue}
        if self._model.closed:  # the vendor closes what is idle
            self._posting = asyncio.ensure_future(self._post(msgspec.json.encode(body)))
        else:
            self._model.post(self._head, msgspec.json.encode(body))

    async def _post(self, body: bytes) -> None:
        await self._open(lambda: self._model)
        self._model.post(self._head, body)

    def _hear_model(self, text: bytes) -> None:
        if text == b"[DONE]":
            self._answering = False
            self._unspoken += self._clauses.finish()
            self._dialogue.append({"role": "assistant", "content": self._answer})
        else:
            choices = _chunk(text).choices
            word = choices[0].delta.content or "" if choices else ""
            self._answer += word
            self._unspoken += self._clauses.feed(word)
        self._speak()

    def _speak(self) -> None:
        """Synthesise each clause in its own context, one after the other: the frames of two would mix."""
        if self._speaking or not self._unspoken:
            return
        self._context += 1
        self._speaking = self._replied = True
        context, clause = f"c{self._context}", self._unspoken.popleft()
        for message in (
            {"text": " ", "context_id": context},
            {"text": clause + " ", "context_id": context, "flush": True},
            {"context_id": context, "close_context": True},
        ):
            self._voice.send(TEXT, msgspec.json.encode(message))

    def _hear_voice(self, text: bytes) -> None:
        message = _voice_message(text)
        if message.contextId != f"c{self._context}":
            return
        if message.audio:
            head, tail = self._played
            for at in range(0, len(message.audio), FRAME_BYTES):
                frame = b2a_base64(message.audio[at : at + FRAME_BYTES], newline=False)
                self.line.send(TEXT, head + frame + tail)
        if message.isFinal:
            self._speaking = False
            self._speak()

    _recogniser: BareWebSocket
    _voice: BareWebSocket
    _head: bytes
    _clear: bytes
    _ready = False
    _replied = False
    _posting: asyncio.Future[None]


def forwarder_main(plan: ForwarderPlan, pipe: Connection) -> None:
    """Serve; send the port of the webhooks and the pid; end at the first message on the pipe."""
    pin(plan.core)
    run_process(_serve(plan, pipe))


async def _serve(plan: ForwarderPlan, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context() if plan.vendors_url.startswith("https") else None
    calls: set[asyncio.Task[None]] = set()

    def answer() -> BareWebSocket:
        call = _Call(plan, tls)
        task = asyncio.create_task(call.run())
        calls.add(task)
        task.add_done_callback(calls.discard)
        return call.line

    async with await loop.create_server(answer, "127.0.0.1", 0) as server:
        webhooks = _Webhooks()
        async with await asyncio.start_server(webhooks.serve, "127.0.0.1", 0) as http:
            webhooks.connect(_port(server.sockets), _port(http.sockets))
            pipe.send((_port(http.sockets), os.getpid()))
            await asyncio.to_thread(receive, pipe, RUN_SECONDS_MAX)
        for call in calls:
            call.cancel()


def _port(sockets: Iterable[Any]) -> int:
    port: int = next(iter(sockets)).getsockname()[1]
    return port


class _Webhooks:
    """Answers every webhook with the XML that connects the call to the media port."""

    _reply = b""

    def connect(self, media_port: int, port: int) -> None:
        """Set both ports: that of the media, and our own."""
        xml = (
            '<Response><Stream bidirectional="true" keepCallAlive="true" contentType="audio/x-mulaw;rate=8000" '
            f'statusCallbackUrl="http://127.0.0.1:{port}/stream-status">ws://127.0.0.1:{media_port}/ws</Stream></Response>'
        )
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(xml)}\r\nConnection: close\r\n\r\n"
        self._reply = (head + xml).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(WEBHOOK_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
            writer.write(self._reply)
            await writer.drain()
        writer.close()
