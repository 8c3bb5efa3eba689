"""Section 2.7, on a virtual clock: the connection breaks (1006), and the carrier does not come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.websockets import WebSocket

from common.agents.model import Agents
from common.bus.memory import MemoryBus
from common.bus.memory import MemoryStreams as Entries
from common.protocol.messages import CallEnded
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.media.stream_token import mint
from edge.media.ticker import Ticker
from edge.media.websocket import EXTENSION
from edge.session.calls import Calls
from edge.session.media_streams import COME_BACK_SECONDS, START_SECONDS, MediaStreams
from tests.clock import VirtualLoop
from tests.e2e.loopback_edge import ANY_AGENT, SECRET

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

START = b'{"event":"start","start":{"callId":"c-1","streamId":"s-1"}}'


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


class Socket:
    """The edge's end of a socket, without a network."""

    unsent_bytes = 0
    closed: int | None = None

    def attach(self, text: Callable[[bytes], None], binary: Callable[[], None], close: Callable[[bool], None]) -> None:
        self.text, self.close = text, close

    def send_texts(self, messages: list[bytes]) -> None:
        """Nobody listens."""

    def end(self, code: int = 1000) -> None:
        self.closed = code


class Line:
    """A call that is about to begin: `serve` it, then play the carrier on `socket`."""

    def __init__(self, agents: Agents = ANY_AGENT) -> None:
        self.entries = Entries()
        self.store = MemoryCallStore(self.entries)
        bus = MemoryBus(self.entries)
        self.calls = Calls("edge-a", bus, self.store, 10)
        ticker = Ticker(asyncio.get_running_loop())
        self.streams = MediaStreams(self.calls, self.store, bus, ticker, agents, SECRET, 200)
        self.socket = Socket()

    async def begin(self) -> asyncio.Task[None]:
        """The stream is accepted and its readers are attached."""
        await self.store.create(CallRecord("c-1", {"name": "desk", "greeting": "Hello.", "instructions": "Be brief."}))
        scope = {"type": "websocket", "subprotocols": [], "headers": [], "extensions": {EXTENSION: self.socket}}
        websocket = WebSocket(scope, _connected, _sent)
        serving = asyncio.create_task(self.streams.serve(websocket, mint(SECRET, "c-1", 4_000_000_000)))
        await asyncio.sleep(0.1)
        return serving

    @property
    def ends(self) -> list[str]:
        told = self.entries.after(call_events("c-1"), 0)
        return [message.reason for _, message in told if isinstance(message, CallEnded)]


async def _connected() -> dict[str, Any]:
    return {"type": "websocket.connect"}


async def _sent(message: Any) -> None:
    assert message["type"] == "websocket.accept"


async def test_a_call_whose_carrier_does_not_come_back_ends_after_a_while() -> None:
    """2.7 close 1006 without coming back"""
    line = Line()
    serving = await line.begin()
    line.socket.text(START)
    await asyncio.sleep(0.1)
    broke_s = asyncio.get_running_loop().time()
    line.socket.close(False)
    await asyncio.sleep(COME_BACK_SECONDS - 1)
    assert line.ends == []
    assert await line.store.live() == ["c-1"]
    await serving
    assert asyncio.get_running_loop().time() - broke_s == pytest.approx(COME_BACK_SECONDS, abs=0.1)
    assert line.ends == ["carrier"]
    record = await line.store.read("c-1")
    assert record is not None
    assert (record.status, record.ended_because) == ("ended", "carrier")
    assert line.calls.get("c-1") is None


async def test_a_hangup_while_we_wait_ends_it_at_once() -> None:
    line = Line()
    serving = await line.begin()
    line.socket.text(START)
    await asyncio.sleep(0.1)
    line.socket.close(False)
    await asyncio.sleep(1)
    call = line.calls.get("c-1")
    assert call is not None
    call.end("caller hung up")
    await asyncio.wait_for(serving, 0.5)
    assert line.ends == ["caller hung up"]


async def test_a_socket_that_never_starts_is_closed() -> None:
    line = Line()
    serving = await line.begin()
    await asyncio.sleep(START_SECONDS - 1)
    assert line.socket.closed is None
    await serving
    assert line.socket.closed == 1008
    assert line.calls.refusal() == ""
