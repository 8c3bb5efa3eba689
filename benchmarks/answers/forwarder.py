"""The plain program for comparison: one process, a task per job, no bus, no pacing, no recovery.

    socket ──▶ recogniser ──final──▶ model ──clause──▶ voice ──▶ socket

It keeps one socket per call and vendor, forwards each frame on arrival, and sends synthesized audio without pacing.
Clauses are cut by the rule of the stack, so both wait for the same tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.answers.cores import pin
from benchmarks.children import receive
from common.process.node import run_process
from simulators.providers.cast import KEY
from workers.llm.text.clauses import Clauses

RUN_SECONDS_MAX = 1_000.0
VOICE_SECONDS = 5.0
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


class _Call:
    """One caller; `run` runs until the end of the socket."""

    def __init__(self, line: ServerConnection, chat: httpx.AsyncClient, plan: ForwarderPlan) -> None:
        self._line = line
        self._chat = chat
        self._url = "ws" + plan.vendors_url.removeprefix("http")
        self._endpoint_ms = plan.endpoint_ms
        self._greeting = plan.greeting
        self._dialogue: list[dict[str, str]] = [{"role": "system", "content": "You answer the telephone."}]
        self._reply: asyncio.Task[None] | None = None
        self._context = 0
        self._stream_id = ""

    async def run(self) -> None:
        listen = self._url + LISTEN.format(ms=self._endpoint_ms)
        async with (
            connect(listen, additional_headers={"Authorization": f"Token {KEY}"}, compression=None) as recogniser,
            connect(self._url + SPEAK, additional_headers={"xi-api-key": KEY}, compression=None) as voice,
            asyncio.TaskGroup() as tasks,
        ):
            jobs = [tasks.create_task(self._hear(recogniser, voice, tasks)), tasks.create_task(self._speak(voice))]
            with suppress(ConnectionClosed):
                await self._started()
                if self._greeting:
                    self._reply = tasks.create_task(self._say(voice, self._greeting))
                await self._listen(recogniser)
            for job in (*jobs, self._reply):
                if job is not None:
                    job.cancel()

    async def _started(self) -> None:
        message = json.loads(await self._line.recv())
        self._stream_id = message["start"]["streamId"]

    async def _listen(self, recogniser: ClientConnection) -> None:
        async for text in self._line:
            message = json.loads(text)
            if message["event"] == "media":
                await recogniser.send(a2b_base64(message["media"]["payload"]))

    async def _hear(self, recogniser: ClientConnection, voice: ClientConnection, tasks: asyncio.TaskGroup) -> None:
        async for text in recogniser:
            message = json.loads(text)
            if message["type"] == "SpeechStarted":
                await self._interrupt()
            elif message["type"] == "Results" and message.get("speech_final"):
                transcript = message["channel"]["alternatives"][0]["transcript"]
                if transcript:
                    await self._interrupt()
                    self._dialogue.append({"role": "user", "content": transcript})
                    self._reply = tasks.create_task(self._answer(voice))

    async def _interrupt(self) -> None:
        """Stop the present reply and clear the carrier's buffer; audio that still arrives for it is not sent."""
        if self._reply is not None:
            self._reply.cancel()
            self._reply = None
            self._context += 1
            await self._line.send(json.dumps({"event": "clearAudio", "streamId": self._stream_id}))

    async def _answer(self, voice: ClientConnection) -> None:
        clauses = Clauses()
        answer = ""
        body = {"model": "gpt-4o-mini", "stream": True, "messages": self._dialogue}
        async with self._chat.stream("POST", "/openai/v1/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                choices = json.loads(line[6:])["choices"]
                word = choices[0]["delta"].get("content") or "" if choices else ""
                answer += word
                for clause in clauses.feed(word):
                    await self._say(voice, clause)
        for clause in clauses.finish():
            await self._say(voice, clause)
        self._dialogue.append({"role": "assistant", "content": answer})

    async def _say(self, voice: ClientConnection, clause: str) -> None:
        """Synthesize each clause in its own context, one after the other: the frames of two would mix."""
        self._context += 1
        self._spoken = asyncio.get_running_loop().create_future()
        context = f"c{self._context}"
        await voice.send(json.dumps({"text": " ", "context_id": context}))
        await voice.send(json.dumps({"text": clause + " ", "context_id": context, "flush": True}))
        await voice.send(json.dumps({"context_id": context, "close_context": True}))
        async with asyncio.timeout(VOICE_SECONDS):
            await self._spoken

    async def _speak(self, voice: ClientConnection) -> None:
        async for text in voice:
            message = json.loads(text)
            if message.get("contextId") != f"c{self._context}":
                continue
            if audio := message.get("audio"):
                await self._line.send(self._played(audio))
            if message.get("isFinal") and not self._spoken.done():
                self._spoken.set_result(None)

    def _played(self, audio: str) -> str:
        media = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": b64encode(a2b_base64(audio)).decode()}
        return json.dumps({"event": "playAudio", "streamId": self._stream_id, "media": media}, separators=(",", ":"))

    _spoken: asyncio.Future[None]


def forwarder_main(plan: ForwarderPlan, pipe: Connection) -> None:
    """Serve; send the port of the webhooks and the pid; end at the first message on the pipe."""
    pin(plan.core)
    run_process(_serve(plan, pipe))


async def _serve(plan: ForwarderPlan, pipe: Connection) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0)
    headers: Any = {"Authorization": f"Bearer {KEY}"}
    url, tls = plan.vendors_url, ssl.create_default_context()
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, trust_env=False, verify=tls) as chat:

        async def carry(line: ServerConnection) -> None:
            try:
                await _Call(line, chat, plan).run()
            except* ConnectionClosed:
                pass  # the caller hung up during a send

        async with serve(carry, "127.0.0.1", 0, compression=None) as server:
            webhooks = _Webhooks()
            async with await asyncio.start_server(webhooks.serve, "127.0.0.1", 0) as http:
                webhooks.connect(_port(server.sockets), _port(http.sockets))
                pipe.send((_port(http.sockets), os.getpid()))
                await asyncio.to_thread(receive, pipe, RUN_SECONDS_MAX)


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
