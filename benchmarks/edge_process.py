"""An edge under load, in a process of its own: the real server and the real `Call`, once past ASGI, once through it.

Its bus packs every message as RedisBus does, counts it and throws it away; the agent's audio is fed in as encoded
`AudioOut`s of ten frames.  So what is measured is the edge without the writes and reads of its Redis connection.
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
from common.agents.model import load_agents
from common.bus import START, Failed, Receive
from common.bus.memory import MediaStreams as MemoryStreams
from common.bus.redis import FIELD
from common.process.node import run_process
from common.protocol.codec import decode, encode
from common.protocol.messages import AudioIn, AudioOut, CallStarted, Message
from common.protocol.redis_keys import edge_audio, maxlen
from common.redis.connection import pack
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.http.server import make_server
from edge.media.stream import MediaStreams
from edge.media.ticker import Ticker
from edge.session.call import Call, CallOptions
from edge.session.calls import Calls
from edge.vobiz import stream_protocol

EDGE = "edge-bench"
PATHS = ("shortcut", "asgi")
CHUNK_FRAMES = 10
CHUNK_NS = CHUNK_FRAMES * 20_000_000
FRAME_BYTES = 160
QUEUE_MAX = 4000
"""Messages that wait for one ASGI sender: 80 s."""
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
    """See the module; a `common.bus.Bus`."""

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
        """An entry has come in."""
        self._receivers[stream]("1-0", decode(raw))

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> CountingBus:
        self._receivers[stream] = receive
        return self

    def close(self) -> None:
        """The edge's own subscriptions are never closed."""

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        return []


class Mouths:
    """Feeds every call ten frames every 200 ms, the calls spread over the 200 ms, always 400 ms ahead."""

    def __init__(self, bus: CountingBus, call_ids: tuple[str, ...]) -> None:
        self._bus = bus
        self._call_ids = call_ids
        self._fed = 0
        for _ in range(2 * len(call_ids)):
            self.feed(0)

    def feed(self, due_ns: int) -> None:
        """The next call's ten frames."""
        chunk, caller = divmod(self._fed, len(self._call_ids))
        self._fed += 1
        mulaw = bytes([chunk % 128]) * (CHUNK_FRAMES * FRAME_BYTES)
        audio = AudioOut(self._call_ids[caller], 1, 1, 1, 0, chunk * CHUNK_FRAMES, mulaw)
        self._bus.deliver(edge_audio(EDGE), encode(audio))


class AsgiLine:
    """An `edge.session.media_socket.MediaSocket` as ASGI would have it: a queue, and a task that awaits each send."""

    unsent_bytes = 0

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MAX)

    def send_texts(self, messages: list[bytes]) -> None:
        for message in messages:
            self._queue.put_nowait(message)

    async def send_forever(self) -> None:
        """Until cancelled, or the socket is gone."""
        while True:
            await self._websocket.send_text((await self._queue.get()).decode())


@dataclass(frozen=True, slots=True)
class ThroughAsgi:
    """The media path without edge/media/websocket.py: one await per message, in and out."""

    calls: Calls
    bus: CountingBus
    ticker: Ticker

    async def serve(self, websocket: WebSocket) -> None:
        """Carry one socket to its end."""
        await websocket.accept()
        async with asyncio.timeout(START_SECONDS):
            start = stream_protocol.parse(await websocket.receive_text())
        assert isinstance(start, stream_protocol.Start)
        line = AsgiLine(websocket)
        record = CallRecord(start.call_id, edge=EDGE, epoch=1)
        call = Call(record, start, line, self.bus, self.ticker, CallOptions())
        self.calls.add(call)
        sending = asyncio.create_task(line.send_forever(), name="sender")
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
    """Serve; say when the server is up and when all calls are; measure the window we are given; tell."""
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
            while not server.started:  # noqa: ASYNC110 - uvicorn tells its state, not its changes
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
    """All callers are on the line: let the agent speak, and measure."""
    pipe.send("all started")
    start_ns, *window = await asyncio.to_thread(receive, pipe, START_SECONDS)
    bus.window = (window[0], window[1])
    await until(start_ns)
    mouths = Mouths(bus, plan.call_ids)
    Metronome(mouths.feed, start_ns, CHUNK_NS / len(plan.call_ids), window[1])
    bus.load.cpu_s = await cpu_between(bus.window)
    pipe.send(bus.load)
