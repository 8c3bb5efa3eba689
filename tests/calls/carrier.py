"""The carrier of one call and the edges that it asks, over the memory's ledger and bus, without sockets or workers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from xml.etree import ElementTree

from starlette.requests import Request
from starlette.websockets import WebSocket

from common.agents.model import Agent, Agents, Limits
from common.bus.memory import MemoryBus, MemoryStreams
from common.process.tasks import cancel
from common.protocol.messages import CallEnded
from common.protocol.redis_keys import call_events
from common.store.memory import MemoryCallStore
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.ticker import Ticker
from edge.media.websocket import EXTENSION
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.vobiz.signatures import Policy

SECRET = b"secret"
CALL = "call-1"
FIELDS = {"CallUUID": CALL, "From": "911234567891", "To": "911234567890", "Direction": "inbound"}
SILENCE = json.dumps({"event": "media", "media": {"payload": "/" * 212 + "/w=="}}).encode()


class Socket:
    """The carrier's end of one media stream."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"subprotocols": [], "extensions": {EXTENSION: self}}
        self.refused = False
        self.sent: list[bytes] = []

    async def accept(self, subprotocol: str | None = None) -> None:
        media = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
        start = {"event": "start", "start": {"callId": CALL, "streamId": "stream", "mediaFormat": media}}
        asyncio.get_running_loop().call_soon(lambda: self.text(json.dumps(start).encode()))

    async def send_denial_response(self, response: object) -> None:
        self.refused = True

    def attach(self, text: Callable[[bytes], None], binary: Callable[[], None], close: Callable[..., None]) -> None:
        self.text, self.close = text, close

    def send_texts(self, messages: list[bytes]) -> None:
        self.sent += messages

    def end(self, code: int = 1000) -> None:
        """Nobody minds."""


class Carrier:
    """It asks, connects and tells; `edges` share one ledger."""

    def __init__(self, agent: Agent) -> None:
        self.streams = MemoryStreams()
        self.store = MemoryCallStore(self.streams)
        self.agents = Agents({agent.name: agent})
        self.ticker = Ticker(asyncio.get_running_loop())
        self.tasks: list[asyncio.Task[None]] = []
        self.edge()

    def edge(self) -> None:
        """From now on another edge is asked."""
        bus = MemoryBus(self.streams)
        self.calls = Calls(f"edge-{len(self.tasks)}", bus, self.store, calls_max=3)
        self.calls.listen()
        self.media = MediaStreams(self.calls, self.store, bus, self.ticker, self.agents, SECRET, lead_ms=200)
        gate = WebhookAuth(self.store, Policy.OFF, (), "", ())
        self.hooks = Webhooks(self.calls, self.store, self.agents, gate, None, "https://voice.example.com", SECRET)
        self.tasks.append(asyncio.create_task(self.calls.housekeeping()))

    async def close(self) -> None:
        for task in self.tasks:
            await cancel(task)
        self.ticker.close()

    async def asks(self, **fields: str) -> str:
        """/answer; returns the token of the stream that is offered, "" if none is."""
        request = Request({"type": "http", "method": "POST", "headers": [], "path": "/answer"})
        reply = await self.hooks.answer(request, FIELDS | fields)
        url = ElementTree.fromstring(bytes(reply.body)).findtext("Stream")
        return url.strip().rpartition("/")[2] if url else ""

    async def tells_the_end(self) -> None:
        request = Request({"type": "http", "method": "POST", "headers": [], "path": "/hangup"})
        await self.hooks.hangup(request, FIELDS | {"Event": "Hangup"})
        await asyncio.sleep(0.1)

    async def connects(self, token: str) -> Socket:
        socket = Socket()
        self.tasks.append(asyncio.create_task(self.media.serve(cast(WebSocket, socket), token)))
        await asyncio.sleep(0.2)
        return socket

    async def is_silent(self, socket: Socket, seconds: float) -> None:
        """The line is there, and nobody says anything."""
        for _ in range(round(seconds / 0.02)):
            socket.text(SILENCE)
            await asyncio.sleep(0.02)

    async def state(self) -> tuple[str, str, int]:
        record = await self.store.read(CALL)
        assert record is not None
        return record.status, record.ended_because, record.epoch

    @property
    def ends(self) -> list[str]:
        told = (message for _, message in self.streams.after(call_events(CALL), 0))
        return [message.reason for message in told if isinstance(message, CallEnded)]


@contextlib.asynccontextmanager
async def carrier(limits: Limits | None = None) -> AsyncIterator[Carrier]:
    one = Carrier(Agent("desk", "Hello.", "Be brief.", limits=limits or Limits(), numbers=("*",)))
    try:
        yield one
    finally:
        await one.close()
