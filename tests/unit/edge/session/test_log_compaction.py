"""The edges shorten ended calls: some time after the end, each call once, whoever dies or errs meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.bus.expiries import Expiries
from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import Clause, Message, ReplyStarted
from common.protocol.redis_keys import EXPIRE_AGAIN_SECONDS, call_audio, call_events, edge_priority, expiry, pool_calls
from common.store import CallRecord
from common.store.ended_calls import COMPACT_AFTER_SECONDS, COMPACT_SECONDS
from common.store.memory import MemoryCallStore
from edge.session.log_compaction import LOOK_SECONDS, LogCompaction
from tests.clock import VirtualLoop

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

SAID: list[Message] = [ReplyStarted(1, 0), Clause(1, 0, "Hello.", (1, 2, 3))]
SHORT: list[Message] = [ReplyStarted(1, 0), Clause(1, 0, "Hello.")]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


class Broken(MemoryBus):
    """A log that cannot be read at one edge, by an error of ours."""

    async def read(self, stream: str, after: str = "0-0") -> list[tuple[str, Message]]:
        if stream == call_events("c-broken"):
            raise ValueError("an entry of a kind that nobody thought of")
        return await super().read(stream, after)


class Deployment:
    """One server, and calls that have ended on it."""

    def __init__(self) -> None:
        self.streams = MemoryStreams()
        self.store, self.bus = MemoryCallStore(self.streams), MemoryBus(self.streams)

    async def ended(self, call_id: str) -> None:
        await self.store.create(CallRecord(call_id, {"name": "desk"}))
        await self.store.start(call_id, "edge-a")
        for message in SAID:
            self.bus.publish(call_events(call_id), message)
        await self.store.end(call_id, "agent hung up")

    async def log(self, call_id: str) -> list[Message]:
        return [message for _, message in await self.bus.read(call_events(call_id))]

    @contextlib.asynccontextmanager
    async def edge(self, bus: MemoryBus | None = None) -> AsyncIterator[None]:
        running = asyncio.create_task(LogCompaction(bus or self.bus, self.store).run())
        yield
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled(), running.exception()


async def test_a_call_is_shortened_once_nobody_follows_it_any_more() -> None:
    deployment = Deployment()
    for number in range(50):
        await deployment.ended(f"c-{number}")
    async with deployment.edge(), deployment.edge():
        await asyncio.sleep(COMPACT_AFTER_SECONDS - 1)
        assert await deployment.log("c-7") == SAID
        await asyncio.sleep(LOOK_SECONDS + 1)
        assert [await deployment.log(f"c-{number}") for number in range(50)] == [SHORT] * 50


async def test_an_edge_that_dies_before_the_last_step_leaves_the_log_whole_and_another_shortens_it() -> None:
    deployment = Deployment()
    await deployment.ended("c-1")
    await asyncio.sleep(COMPACT_AFTER_SECONDS)
    assert await deployment.store.ended_calls.take() == ["c-1"]  # and no more is heard of that edge
    async with deployment.edge():
        await asyncio.sleep(COMPACT_SECONDS - 1)
        assert await deployment.log("c-1") == SAID
        await asyncio.sleep(LOOK_SECONDS + 1)
        assert await deployment.log("c-1") == SHORT


async def test_a_log_that_breaks_it_stays_whole_and_hurts_no_other() -> None:
    deployment = Deployment()
    for call_id in ("c-1", "c-broken", "c-2"):
        await deployment.ended(call_id)
    async with deployment.edge(Broken(deployment.streams)):
        await asyncio.sleep(COMPACT_AFTER_SECONDS + LOOK_SECONDS)
        assert [await deployment.log(name) for name in ("c-1", "c-broken", "c-2")] == [SHORT, SAID, SHORT]


def test_a_stream_is_told_when_it_expires_at_first_and_again_before_it_does() -> None:
    now = 1000.0
    expiries = Expiries(lambda: now)
    assert [expiries.due("a"), expiries.due("a"), expiries.due("b")] == [True, False, True]
    now += EXPIRE_AGAIN_SECONDS
    assert [expiries.due("a"), expiries.due("a")] == [True, False]
    expiries.forget()  # the server may have lost it
    assert expiries.due("a")
    for stream in (call_audio("c-1"), call_events("c-1"), edge_priority("edge-a")):
        assert int(expiry(stream)[0]) > 2 * EXPIRE_AGAIN_SECONDS
    assert expiry(pool_calls("stt")) == ()


def test_streams_that_nobody_writes_to_are_not_remembered_for_ever() -> None:
    now = 0.0
    expiries = Expiries(lambda: now)
    for number in range(10_000):
        now = number / 10
        expiries.due(f"call:{number}")
    assert len(expiries._again) < 1000
