"""A real edge on a loopback port, over the bus in memory, and the carrier's end of its streams.

`running_edge` is the edge, `Phone` one stream.  Nothing here waits by the clock: every wait is for an event, with a
deadline.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State
from websockets.typing import Subprotocol

from common.agents.model import Agent, Agents, GreetingAfter
from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import AudioIn, AudioOut, CallStarted, Message
from common.protocol.redis_keys import call_audio, call_events, edge_audio
from common.store.memory import MemoryCallStore
from edge.http.api import Api
from edge.http.app import EdgeApp
from edge.http.limits.rate_limit import Buckets
from edge.http.server import make_server
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.ticker import Ticker
from edge.outbound.destinations import OperatorLimits
from edge.outbound.dialer import Dialer
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.session.url_proof import of_call
from edge.transfer.orders import CallOrders
from edge.vobiz.signatures import Policy
from tests.deadlines import WAIT_S

SECRET = b"the secret of this test"
EDGE = "edge-a"
SECONDS = WAIT_S
FROM, TO = "911234567891", "911234567890"
_DESK = Agent(
    "desk", greeting="Hello.", instructions="Be brief.", numbers=("*",), greeting_after_ms=GreetingAfter(0, 0)
)
ANY_AGENT = Agents({"desk": _DESK})


@dataclass
class Reader:
    """Notes what comes on one stream and lets a test wait for it."""

    got: list[Message] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self, entry_id: str, message: Message) -> None:
        self.got.append(message)
        self._news.set()

    def failed(self, error: Exception) -> None:
        raise AssertionError("a reader that only notes cannot fail") from error

    async def until(self, wanted: type[Message], count: int = 1) -> list[Any]:
        """All messages of this type, once there are `count`."""
        async with asyncio.timeout(SECONDS):
            while len(found := [message for message in self.got if isinstance(message, wanted)]) < count:
                self._news.clear()
                await self._news.wait()
        return found


@dataclass
class Edge:
    """One edge, seen from outside."""

    port: int
    http: httpx.AsyncClient
    calls: Calls
    store: MemoryCallStore
    workers: MemoryBus
    failures: Buckets

    async def answer(self, call_id: str) -> str:
        """What Vobiz does first; returns the URL of the stream."""
        response = await self.http.post("/answer", data={"CallUUID": call_id, "From": FROM, "To": TO})
        stream = ElementTree.fromstring(response.content).find("Stream")
        assert stream is not None, response.text
        assert stream.text
        return stream.text

    def hangup(self, call_id: str) -> None:
        """What Vobiz does last, some seconds after it has closed the socket."""
        if (call := self.calls.get(call_id)) is not None:
            call.end("caller hung up")

    def token_url(self, token: str) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/{token}"

    def follow(self, stream: str) -> Reader:
        reader = Reader()
        self.workers.subscribe(stream, reader.receive, reader.failed)
        return reader

    async def count(self, metric: str, **labels: str) -> float:
        """A counter as /metrics shows it; 0 if it was never counted."""
        shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
        for line in (await self.http.get("/metrics")).text.splitlines():
            if line.startswith(f"{metric}{{{shown}}} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def counted(self, before: float, metric: str, **labels: str) -> float:
        """The counter, once it is above `before`."""
        async with asyncio.timeout(SECONDS):
            while (now := await self.count(metric, **labels)) <= before:
                await asyncio.sleep(0)
        return now

    @asynccontextmanager
    async def call(self, call_id: str, start: dict[str, Any] | None = None) -> AsyncIterator[Phone]:
        """A call that is up: answered, connected, started."""
        async with phone(await self.answer(call_id)) as caller:
            caller.take(self, call_id)
            await caller.send(start or start_of(call_id))
            await caller.events.until(CallStarted)
            yield caller
            if caller.socket.state is State.OPEN and not caller.socket.transport.is_closing():
                await caller.socket.close()
                self.hangup(call_id)


def given(path: str, call_id: str) -> str:
    """The path with the query that the edge gave the carrier for this call."""
    return of_call(SECRET, path, call_id, time.time() + 3600)


class Phone:
    """The carrier's end of one stream."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self.socket = socket
        self.url = url
        self.epoch = 1
        self.seen: list[dict[str, Any]] = []
        self._clause = 0

    def take(self, edge: Edge, call_id: str) -> None:
        self.edge, self.call_id = edge, call_id
        self.events, self.audio = edge.follow(call_events(call_id)), edge.follow(call_audio(call_id))

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def say(self, payload: bytes) -> None:
        await self.send(
            {"event": "media", "media": {"track": "inbound", "payload": base64.b64encode(payload).decode()}}
        )

    async def until(self, event: str) -> dict[str, Any]:
        """Take messages until one is an `event`."""
        async with asyncio.timeout(SECONDS):
            while True:
                message = json.loads(await self.socket.recv())
                self.seen.append(message)
                if message["event"] == event:
                    return dict(message)

    async def until_closed(self) -> int:
        """Take messages until the socket is closed; returns the code."""
        async with asyncio.timeout(SECONDS):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

    async def goes_on(self) -> None:
        """The agent is heard, and so is the caller."""
        frame = bytes([16 + self._clause % 200]) * 160
        message = AudioOut(self.call_id, self.epoch, 1, 1, self._clause, 0, frame, last=True)
        self.edge.workers.publish(edge_audio(EDGE), message)
        played = await self.until("playAudio")
        assert base64.b64decode(played["media"]["payload"]) == frame
        assert (await self.until("checkpoint"))["name"] == f"{self.epoch}.1.{self._clause}"
        self._clause += 1
        frames = len([message for message in self.audio.got if isinstance(message, AudioIn)])
        await self.say(frame)
        while (last := (await self.audio.until(AudioIn, frames + 1))[-1]).mulaw != frame:
            frames += 1
        assert last.epoch == self.epoch


@asynccontextmanager
async def phone(url: str, *subprotocols: str) -> AsyncIterator[Phone]:
    offered = [Subprotocol(name) for name in subprotocols] or None
    async with connect(url, subprotocols=offered, compression=None, proxy=None, open_timeout=SECONDS) as socket:
        yield Phone(socket, url)


async def refused(url: str) -> tuple[int, str]:
    """(HTTP status, error code) of a handshake that must not succeed."""
    with pytest.raises(InvalidStatus) as caught:
        async with phone(url):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"")["error"]["code"]


def start_of(call_id: str, encoding: str = "audio/x-mulaw", rate: int = 8000) -> dict[str, Any]:
    body = {
        "callId": call_id,
        "streamId": f"stream-of-{call_id}",
        "accountId": "500025",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": encoding, "sampleRate": rate},
    }
    return {"sequenceNumber": 0, "event": "start", "start": body, "extra_headers": "{}"}


@asynccontextmanager
async def running_edge(
    agents: Agents = ANY_AGENT,
    *,
    calls_max: int = 10,
    public_url: str = "",
    secret: bytes | None = SECRET,
    tokens: tuple[str, ...] = (),
    policy: Policy | None = None,
    proxies: tuple[str, ...] = (),
    dialer: Dialer | None = None,
    port: int = 0,
    when_busy: str = "apology",
    answer_xml: str = "text",
    failures: Buckets | None = None,
    ledgers: type[MemoryCallStore] = MemoryCallStore,
    api_token: str = "",
    limits: OperatorLimits | None = None,
) -> AsyncIterator[Edge]:
    """`policy` is REQUIRED if there are `tokens`, unless it is said; `port` 0 takes a free one."""
    streams = MemoryStreams()
    bus, store = MemoryBus(streams), ledgers(streams)
    calls, ticker = Calls(EDGE, bus, store, calls_max), Ticker(asyncio.get_running_loop())
    media = MediaStreams(calls, store, bus, ticker, agents, secret, 200, dialer)
    gate = WebhookAuth(store, policy or (Policy.REQUIRED if tokens else Policy.OFF), tokens, public_url, proxies)
    choices = (when_busy, answer_xml, limits or OperatorLimits())
    webhooks = Webhooks(calls, store, agents, gate, dialer, public_url, secret, *choices)
    api = Api(agents, store, bus, dialer, api_token, FROM)
    front = EdgeApp(calls, media, webhooks, api, Buckets() if failures is None else failures)
    server = make_server(front.app(), "127.0.0.1", port)
    orders = CallOrders(bus, store, dialer, limits or OperatorLimits())
    calls.order = orders.receive
    calls.listen()
    serving = asyncio.create_task(server.serve(), name="edge")
    try:
        async with asyncio.timeout(SECONDS):
            while not server.started:
                await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        base_url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=SECONDS) as http:
            yield Edge(port, http, calls, store, MemoryBus(streams), front.failures)
    finally:
        calls.hand_over()  # those whose end nobody told
        server.should_exit = True
        async with asyncio.timeout(SECONDS):
            await serving
        await orders.aclose()
        ticker.close()
