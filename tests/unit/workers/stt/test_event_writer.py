"""What one message of a vendor means is written together, and always in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import Message, SpeechEnded, UsageReported, UserTurn
from common.protocol.redis_keys import call_events
from common.store import CallRecord, Claim
from common.store.memory import MemoryCallStore
from workers.runtime.event_session import EventSession, Fenced
from workers.stt.event_writer import WAITING_MAX, EventWriter

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ENDED = SpeechEnded("call-1", 1, 1, 900)
TURN = UserTurn(1, "hello", (0, 0, 0))
USED = UsageReported("stt", "test/ears", (("audio_ms", 900),))


class CountingStore(MemoryCallStore):
    """Records the order of writes; each takes 10 ms."""

    def __init__(self, streams: MemoryStreams) -> None:
        super().__init__(streams)
        self.writes: list[str] = []
        self.silent = False

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        await asyncio.sleep(0.01)
        if self.silent:
            raise TimeoutError
        self.writes.append("+".join(type(message).__name__ for message in messages))
        return await super().append(claim, messages)

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        await asyncio.sleep(0.01)
        self.writes.append(f"checkpoint {checkpoint}")
        return await super().save_checkpoint(claim, checkpoint)


class Owned:
    """One call, its store and its writer at work."""

    def __init__(self, store: CountingStore, streams: MemoryStreams, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.writer = EventWriter(EventSession(claim, MemoryBus(streams), store))
        self.working = asyncio.create_task(self.writer.run())
        self._streams = streams

    @property
    def log(self) -> list[Message]:
        return [message for _, message in self._streams.after(call_events("call-1"), 0)]


@contextlib.asynccontextmanager
async def owned() -> AsyncIterator[Owned]:
    streams = MemoryStreams()
    store = CountingStore(streams)
    await store.create(CallRecord("call-1"))
    await store.start("call-1", "edge-1")
    claim = await store.claim("stt", "call-1", "stt-1")
    assert claim is not None
    call = Owned(store, streams, claim)
    yield call
    call.working.cancel()
    await asyncio.wait([call.working])


async def test_what_comes_together_is_one_append_and_the_checkpoint_follows():
    async with owned() as call:
        call.writer.add(ENDED)
        call.writer.add(TURN, checkpoint="1 7-0")
        call.writer.add(USED)
        await asyncio.sleep(0.1)
        assert call.store.writes == ["SpeechEnded+UserTurn+UsageReported", "checkpoint 1 7-0"]
        assert call.log == [ENDED, TURN, USED]


async def test_what_comes_during_an_append_is_the_next_one():
    async with owned() as call:
        call.writer.add(ENDED)
        await asyncio.sleep(0.005)
        call.writer.add(TURN, checkpoint="1 7-0")
        call.writer.add(USED)
        await asyncio.sleep(0.1)
        assert call.store.writes == ["SpeechEnded", "UserTurn+UsageReported", "checkpoint 1 7-0"]
        assert call.log == [ENDED, TURN, USED]


async def test_a_checkpoint_never_overtakes_the_turn_that_it_skips():
    async with owned() as call:
        call.store.silent = True
        call.writer.add(TURN, checkpoint="1 7-0")
        await asyncio.sleep(0.1)
        assert isinstance(call.working.exception(), ConnectionError)
        assert call.store.writes == [], "the next owner hears the turn again"


async def test_an_owner_that_was_replaced_writes_nothing():
    async with owned() as call:
        await call.store.release(call.claim)
        assert await call.store.claim("stt", "call-1", "stt-2") is not None
        call.writer.add(ENDED, TURN)
        await asyncio.sleep(0.1)
        assert isinstance(call.working.exception(), Fenced)
        assert call.log == []


async def test_a_store_that_is_slow_holds_the_session_up_instead_of_filling_the_memory():
    async with owned() as call:
        call.writer.add(ENDED)
        await asyncio.sleep(0.005)  # its append is under way
        for _ in range(WAITING_MAX):
            await asyncio.wait_for(call.writer.room(), 0.001)
            call.writer.add(ENDED)
        waiting = asyncio.create_task(call.writer.room())
        await asyncio.sleep(0.001)
        assert not waiting.done()
        await asyncio.wait_for(waiting, 1)
        await asyncio.sleep(0.1)
        assert len(call.log) == 1 + WAITING_MAX
