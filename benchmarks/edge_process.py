"""Runs an edge under load in a separate process: the real server and the real `Call`, past ASGI or through it.

Its bus packs every message as RedisBus does, counts and drops it; the agent's audio arrives as encoded `AudioOut`s of
ten frames.  So the edge is measured without the writes and reads of its Redis connection.
"""

from __future__ import annotations

import asyncio
from array import array
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import monotonic_ns

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.children import receive
from benchmarks.hops import Metronome, cpu_between, until
from benchmarks.lines import STAMP
from benchmarks.report import ROOT
from common.agents.reading import load_agents
from common.bus import START, Failed, Receive
from common.bus.memory import MemoryStreams
from common.bus.redis import FIELD
from common.process.node import run_process
from common.protocol.codec import decode, encode
from common.protocol.messages import AudioIn, AudioOut, CallStarted, Message
from common.protocol.redis_keys import edge_audio, maxlen
from common.redis.connection import pack
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.http.server import make_server
from edge.media.ticker import Ticker
from edge.session.call import Call
from edge.session.call_options import CallOptions
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.vobiz import stream_protocol

EDGE = "edge-bench"
PATHS = ("shortcut", "asgi")
CHUNK_FRAMES = 10
CHUNK_NS = CHUNK_FRAMES * 20_000_000
FRAME_BYTES = 160
QUEUE_MAX = 4000
"""Most messages queued for one ASGI sender: 80 s."""
START_SECONDS = 60.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """One run: `path` is one of `PATHS`."""

    path: str
    port: int
    call_ids: tuple[str, ...]


@dataclass(slots=True)
class EdgeLoad:
    """`cpu_s` within the window; `inward`: ns from the client's send to the publish, of frames sent in the window."""

    cpu_s: float = 0.0
    inward: array[int] = field(default_factory=lambda: array("q"))


class CountingBus:
    """A `common.bus.Bus` that counts and drops messages."""

    connected = True

    def __init__(self, calls: int) -> None:
        self.window = (0, 0)
        self.load = EdgeLoad()
        self.all_started = asyncio.Event()
        self._missing = calls
        self._receivers: dict[str, Receive] = {}

    def away_s(self, call_id: str = "") -> float:
        return 0.0

    def publish(self, stream: str, message: Message) -> None:
        bound = maxlen(stream)
        pack("XADD", stream, *(("MAXLEN", "~", bound) if bound else ()), "*", FIELD, encode(message))
        if isinstance(message, AudioIn):
            (sent,) = STAMP.unpack_from(message.mulaw)
            if self.window[0] <= sent < self.window[1]:
                self.load.inward.append(monotonic_ns() - sent)
        elif isinstance(message, CallStarted):
            self._missing -= 1
            if not self._missing:
                self.all_started.set()

    def deliver(self, stream: str, raw: bytes) -> None:
        """Pass an entry to the subscriber of its stream."""
        self._receivers[stream]("1-0", decode(raw))

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> CountingBus:
        self._receivers[stream] = receive
        return self

    def close(self) -> None:
        """Do nothing: the edge never closes its subscriptions here."""

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        return []


class AgentAudio:
    """Feeds every call ten frames every 200 ms, the calls spread over the 200 ms, always 400 ms ahead."""

    def __init__(self, bus: CountingBus, call_ids: tuple[str, ...]) -> None:
        self._bus = bus
        self._call_ids = call_ids
        self._fed = 0
        for _ in range(2 * len(call_ids)):
            self.feed(0)

    def feed(self, due_ns: int) -> None:
        """Deliver ten frames to the next call."""
        chunk, caller = divmod(self._fed, len(self._call_ids))
        self._fed += 1
        mulaw = bytes([chunk % 128]) * (CHUNK_FRAMES * FRAME_BYTES)
        audio = AudioOut(self._call_ids[caller], 1, 1, 1, 0, chunk * CHUNK_FRAMES, mulaw)
        self._bus.deliver(edge_audio(EDGE), encode(audio))


class AsgiSocket:
    """An `edge.session.media_socket.MediaSocket` over ASGI: a queue, and a task that awaits each send."""

    unsent_bytes = 0

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MAX)

    def send_texts(self, messages: list[bytes]) -> None:
        for message in messages:
            self._queue.put_nowait(message)

    async def send_forever(self) -> None:
        """Send queued messages until cancelled or the socket is closed."""
        while True:
            await self._websocket.send_text((await self._queue.get()).decode())


@dataclass(frozen=True, slots=True)
class ThroughAsgi:
    """The media path without edge/media/websocket.py: one await per message, in and out."""

    calls: Calls
    bus: CountingBus
    ticker: Ticker

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one socket to its end."""
        await websocket.accept()
        async with asyncio.timeout(START_SECONDS):
            start = stream_protocol.parse(await websocket.receive_text())
        assert isinstance(start, stream_protocol.Start)
        socket = AsgiSocket(websocket)
        record = CallRecord(start.call_id, edge=EDGE, epoch=1)
        call = Call(record, start, socket, self.bus, self.ticker, CallOptions())
        self.calls.add(call)
        sending = asyncio.create_task(socket.send_forever(), name="sender")
        try:
            while True:
                call.receive(stream_protocol.parse(await websocket.receive_text()))
        except WebSocketDisconnect:
            call.closed()
        finally:
            self.calls.remove(call)
            sending.cancel()
            await asyncio.wait([sending], timeout=STOP_SECONDS)


def edge_main(plan: EdgePlan, pipe: Connection) -> None:
    """Serve; report when the server and all calls are up; measure the given window; send the result."""
    run_process(_edge(plan, pipe))


async def _edge(plan: EdgePlan, pipe: Connection) -> None:
    bus = CountingBus(len(plan.call_ids))
    store = MemoryCallStore(MemoryStreams())
    calls = Calls(EDGE, bus, store, len(plan.call_ids))
    ticker = Ticker(asyncio.get_running_loop())
    calls.listen()
    if plan.path == "asgi":
        serve = ThroughAsgi(calls, bus, ticker).serve
    else:
        streams = MediaStreams(calls, store, bus, ticker, load_agents(ROOT / "agents"), None, 200)

        async def serve(websocket: WebSocket) -> None:
            await streams.serve(websocket, "")

    server = make_server(Starlette(routes=[WebSocketRoute("/ws", serve)]), "127.0.0.1", plan.port)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(), name="server")
        house = tasks.create_task(calls.housekeeping(), name="housekeeping")
        async with asyncio.timeout(START_SECONDS):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            pipe.send("up")
            await bus.all_started.wait()
        await _carry(plan, bus, pipe)
        async with asyncio.timeout(STOP_SECONDS):
            await calls.drained()
        server.should_exit = True
        await serving
        house.cancel()
    ticker.close()


async def _carry(plan: EdgePlan, bus: CountingBus, pipe: Connection) -> None:
    """Once all callers are connected, let the agent speak, and measure."""
    pipe.send("all started")
    start_ns, *window = await asyncio.to_thread(receive, pipe, START_SECONDS)
    bus.window = (window[0], window[1])
    await until(start_ns)
    agent_audio = AgentAudio(bus, plan.call_ids)
    Metronome(agent_audio.feed, start_ns, CHUNK_NS / len(plan.call_ids), window[1])
    bus.load.cpu_s = await cpu_between(bus.window)
    pipe.send(bus.load)
