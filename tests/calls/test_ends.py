"""The end of a call is told once, with its reason, even when Redis is away just then.  Found by the simulation."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from starlette.websockets import WebSocket

from common.agents.model import Agent, Agents, to_document
from common.bus.memory import MemoryBus, MemoryStreams
from common.process.clock import wall_ms
from common.process.tasks import cancel
from common.protocol.messages import CallEnded, CallStarted, Message
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.media.stream_token import mint
from edge.media.ticker import Ticker
from edge.media.websocket import EXTENSION
from edge.session import media_streams
from edge.session.abandoned_calls import SECOND_LOOK_MS
from edge.session.calls import Calls

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

SECRET = b"secret"


class Socket:
    """The carrier's end of one media stream."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"subprotocols": [], "extensions": {EXTENSION: self}}

    async def accept(self, subprotocol: str | None = None) -> None:
        media = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
        start = {"event": "start", "start": {"callId": "call-1", "streamId": "stream-1", "mediaFormat": media}}
        asyncio.get_running_loop().call_soon(lambda: self.text(json.dumps(start).encode()))

    def attach(
        self, on_text: Callable[[bytes], None], on_binary: Callable[[], None], on_close: Callable[[bool], None]
    ) -> None:
        self.text, self.close = on_text, on_close

    def stop(self) -> None:
        """The carrier says that the stream is over."""
        self.text(b'{"event":"stop","streamId":"stream-1","reason":"call_ended"}')

    def send_texts(self, messages: list[bytes]) -> None:
        """Nobody listens."""

    def end(self, code: int = 1000) -> None:
        """Nobody minds."""


class FailingLedger(MemoryCallStore):
    """Cannot be told of an end while `away`; with `deaf` it was told, and its answer is lost."""

    away = deaf = False
    gone: tuple[str, ...] = ()

    async def end(self, call_id: str, reason: str, epoch: int | None = None) -> bool:
        if self.away:
            raise ConnectionError("away")
        ended = await super().end(call_id, reason, epoch)
        if self.deaf:
            self.deaf = False
            raise TimeoutError("no answer")
        return ended

    async def abandoned(self) -> dict[str, int]:
        return dict.fromkeys(self.gone, 1)


class Edge:
    """One edge with one call; `told` is its story."""

    def __init__(self) -> None:
        self.streams = MemoryStreams()
        self.store = FailingLedger(self.streams)
        self.bus = MemoryBus(self.streams)
        self.socket = Socket()

    @property
    def told(self) -> list[Message]:
        return [message for _, message in self.streams.after(call_events("call-1"), 0)]

    async def ending(self) -> tuple[str, str]:
        record = await self.store.read("call-1")
        assert record is not None
        return record.status, record.ended_because


@contextlib.asynccontextmanager
async def call_under_way() -> AsyncIterator[Edge]:
    edge = Edge()
    await edge.store.create(CallRecord("call-1", to_document(Agent("test", "Hello.", "Be brief."))))
    ticker = Ticker(asyncio.get_running_loop())
    calls = Calls("edge-1", edge.bus, edge.store, calls_max=1)
    streams = media_streams.MediaStreams(calls, edge.store, edge.bus, ticker, Agents({}), SECRET, lead_ms=200)
    serving = asyncio.create_task(streams.serve(cast(WebSocket, edge.socket), mint(SECRET, "call-1", 2e9)))
    await asyncio.sleep(0.5)
    assert (await edge.ending())[0] == "live"
    yield edge
    await asyncio.wait_for(serving, 100)
    ticker.close()


async def test_an_end_that_redis_did_not_take_is_told_again():
    async with call_under_way() as edge:
        edge.store.away = True
        edge.socket.stop()
        await asyncio.sleep(5)
        edge.store.away = False
        await asyncio.sleep(1.5)
        assert await edge.ending() == ("ended", "caller hung up")


async def test_an_end_that_redis_took_without_a_word_is_not_taken_for_another_ones():
    async with call_under_way() as edge:
        edge.store.deaf = True
        edge.socket.close(False)
        await asyncio.sleep(media_streams.COME_BACK_SECONDS + 3)
        assert await edge.ending() == ("ended", "carrier")
        assert [message.reason for message in edge.told if isinstance(message, CallEnded)] == ["carrier"]


@pytest.mark.parametrize(("epochs", "reason"), [([1], "agent hung up"), ([1, 2], "carrier")])
async def test_a_call_whose_edge_died_at_its_end_is_buried_with_its_own_reason(epochs: list[int], reason: str):
    edge = Edge()
    await edge.store.create(CallRecord("call-1"))
    for epoch in epochs:
        await edge.store.start("call-1", f"edge-{epoch}")
        edge.bus.publish(call_events("call-1"), CallStarted(epoch, f"edge-{epoch}", wall_ms()))
        if epoch == 1:
            edge.bus.publish(call_events("call-1"), CallEnded(1, "agent hung up", wall_ms()))
    edge.store.gone = ("call-1",)
    house = asyncio.create_task(Calls("edge-3", edge.bus, edge.store, calls_max=1).housekeeping())
    await asyncio.sleep(6 + SECOND_LOOK_MS / 1000)
    await cancel(house)
    assert await edge.ending() == ("ended", reason)
    told = [message.reason for message in edge.told if isinstance(message, CallEnded)]
    assert told == (["agent hung up"] if epochs == [1] else ["agent hung up", "carrier"])
