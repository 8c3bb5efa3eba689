"""Both buses keep the promises of common/bus/__init__.py."""

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from common.bus import Bus
from common.bus.memory import MemoryBus, MemoryStreams
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.protocol.messages import AudioIn, DtmfReceived, HangUp, Message
from common.protocol.redis_keys import call_audio, call_events, edge_priority
from tests.conftest import server_url
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

EVENTS = call_events("c-1")


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
def buses(request: pytest.FixtureRequest):
    """Makes connected buses that share one server, as separate processes would."""
    if request.param == "memory":
        streams = MemoryStreams()

        @asynccontextmanager
        async def connect(name: str):
            yield MemoryBus(streams)

        return connect
    url = server_url(request)

    @asynccontextmanager
    async def connect_redis(name: str):
        async with connect_bus(BusOptions(url, name)) as bus:
            async with asyncio.timeout(WAIT_S):
                while bus.away_s("c-1") or bus.away_s("c-2"):
                    await asyncio.sleep(0.001)
            yield bus

    return connect_redis


@dataclass
class Reader:
    """Notes what it receives and lets a test wait for the n-th message."""

    got: list[Message] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self, entry_id: str, message: Message) -> None:
        self.ids.append(entry_id)
        self.got.append(message)
        self._news.set()

    async def until(self, count: int) -> list[Message]:
        async with asyncio.timeout(WAIT_S):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        return self.got


def listen(bus: Bus, stream: str, after: str = "0-0") -> Reader:
    reader = Reader()
    bus.subscribe(stream, reader.receive, reader.errors.append, after)
    return reader


async def test_messages_arrive_whole_and_in_order(buses):
    async with buses("writer") as writer, buses("reader") as bus:
        reader = listen(bus, EVENTS)
        said = [DtmfReceived(str(number % 10), number) for number in range(300)]
        for message in said:
            writer.publish(EVENTS, message)
        assert await reader.until(300) == said


async def test_a_late_reader_starts_at_the_beginning_or_where_it_left_off(buses):
    async with buses("writer") as writer, buses("reader") as bus, buses("later") as later:
        writer.publish(EVENTS, DtmfReceived("1", 1))
        writer.publish(EVENTS, DtmfReceived("2", 2))
        first = listen(bus, EVENTS)
        assert await first.until(2) == [DtmfReceived("1", 1), DtmfReceived("2", 2)]
        second = listen(later, EVENTS, after=first.ids[0])
        assert await second.until(1) == [DtmfReceived("2", 2)]


async def test_a_stream_subscribed_while_the_read_is_blocked_is_heard_at_once(buses):
    async with buses("writer") as writer, buses("reader") as bus:
        one = listen(bus, EVENTS)
        writer.publish(EVENTS, DtmfReceived("1", 1))
        await one.until(1)  # from here on the reader blocks at the server
        two = listen(bus, call_events("c-2"))
        writer.publish(call_events("c-2"), DtmfReceived("2", 2))
        async with asyncio.timeout(1.8):  # less than the 2 s for which it blocks
            assert await two.until(1) == [DtmfReceived("2", 2)]


async def test_one_readers_error_ends_its_own_subscription_only(buses):
    async with buses("writer") as writer, buses("reader") as bus:
        failures: list[Exception] = []

        def receive(entry_id: str, message: Message) -> None:
            raise ValueError("this call is broken")

        bus.subscribe(EVENTS, receive, failures.append)
        healthy = listen(bus, call_events("c-2"))
        writer.publish(EVENTS, DtmfReceived("1", 1))
        writer.publish(EVENTS, DtmfReceived("2", 2))
        writer.publish(call_events("c-2"), DtmfReceived("3", 3))
        assert await healthy.until(1) == [DtmfReceived("3", 3)]
        assert [str(error) for error in failures] == ["this call is broken"]


async def test_after_close_nothing_arrives_even_from_the_same_batch(buses):
    async with buses("writer") as writer, buses("reader") as bus:
        got: list[Message] = []

        def receive(entry_id: str, message: Message) -> None:
            got.append(message)
            subscription.close()

        subscription = bus.subscribe(EVENTS, receive, lambda error: None)
        marker = listen(bus, call_events("c-2"))
        for number in range(3):
            writer.publish(EVENTS, DtmfReceived("1", number))
        writer.publish(call_events("c-2"), DtmfReceived("2", 0))
        await marker.until(1)
        assert got == [DtmfReceived("1", 0)]


async def test_a_subscriber_that_leaves_takes_no_other_with_it(buses):
    """A -> B -> A: the older session of a call still says goodbye to its vendor when the newer one listens."""
    async with buses("writer") as writer, buses("reader") as bus:
        older = Reader()
        its = bus.subscribe(EVENTS, older.receive, older.errors.append)
        writer.publish(EVENTS, DtmfReceived("1", 1))
        await older.until(1)
        newer = listen(bus, EVENTS)
        await newer.until(1)
        its.close()
        its.close()
        writer.publish(EVENTS, DtmfReceived("2", 2))
        assert await newer.until(2) == [DtmfReceived("1", 1), DtmfReceived("2", 2)]
        assert older.got == [DtmfReceived("1", 1)]


async def test_a_subscriber_that_comes_back_takes_nothing_from_a_newer_one(buses):
    """An older session opens its vendor again, once the newer one listens: both get all that is theirs."""
    async with buses("writer") as writer, buses("reader") as bus:
        for number in range(3):
            writer.publish(EVENTS, DtmfReceived("1", number))
        newer = listen(bus, EVENTS)
        await newer.until(3)
        older = listen(bus, EVENTS, after=newer.ids[1])
        writer.publish(EVENTS, DtmfReceived("1", 3))
        assert await older.until(2) == [DtmfReceived("1", 2), DtmfReceived("1", 3)]
        assert await newer.until(4) == [DtmfReceived("1", number) for number in range(4)]


async def test_a_subscriber_that_fails_takes_no_other_with_it(buses):
    async with buses("writer") as writer, buses("reader") as bus:

        def receive(entry_id: str, message: Message) -> None:
            raise ValueError("this session is broken")

        failures: list[Exception] = []
        bus.subscribe(EVENTS, receive, failures.append)
        healthy = listen(bus, EVENTS)
        for number in range(2):
            writer.publish(EVENTS, DtmfReceived("1", number))
        assert await healthy.until(2) == [DtmfReceived("1", 0), DtmfReceived("1", 1)]
        assert len(failures) == 1


async def test_a_read_that_is_under_way_does_not_move_a_newer_subscriber_on(buses):
    """One subscriber ends and another begins further back, while the server is being read for the first one."""
    async with buses("writer") as writer, buses("reader") as bus:
        writer.publish(EVENTS, DtmfReceived("1", 0))
        older = Reader()
        its = bus.subscribe(EVENTS, older.receive, older.errors.append)
        await older.until(1)
        for number in range(1, 200):
            writer.publish(EVENTS, DtmfReceived("1", number))
            await asyncio.sleep(0.0005)
            its.close()
            reader = Reader()
            its = bus.subscribe(EVENTS, reader.receive, reader.errors.append)
        assert await reader.until(200) == [DtmfReceived("1", number) for number in range(200)]


@pytest.mark.parametrize("stream", [edge_priority("e-1"), EVENTS])
async def test_closing_is_final_on_every_server(buses, stream: str):
    async with buses("writer") as writer, buses("reader") as bus:
        gone = Reader()
        bus.subscribe(stream, gone.receive, gone.errors.append).close()
        stays = listen(bus, stream)
        for number in range(5):
            writer.publish(stream, HangUp(f"c-{number}", "error") if stream != EVENTS else DtmfReceived("1", number))
        await stays.until(5)
        assert gone.got == []


async def test_control_arrives_on_the_priority_stream(buses):
    async with buses("writer") as writer, buses("reader") as bus:
        reader = listen(bus, edge_priority("e-1"))
        said = [HangUp(f"c-{number}", "error") for number in range(5)]  # calls of every shard
        for message in said:
            writer.publish(edge_priority("e-1"), message)
        assert sorted(await reader.until(5), key=repr) == said


async def test_audio_is_bounded_and_the_story_is_not(buses):
    async with buses("writer") as writer, buses("reader") as bus:
        for number in range(2000):
            writer.publish(call_audio("c-1"), AudioIn(1, 20 * number, 0, b"\xff" * 160))
            writer.publish(EVENTS, DtmfReceived("1", number))
        end = listen(bus, call_events("c-2"))
        writer.publish(call_events("c-2"), DtmfReceived("2", 0))
        await end.until(1)
        audio = await bus.read(call_audio("c-1"))
        assert 1500 <= len(audio) < 1700  # Redis trims whole nodes of 100 entries
        assert audio[-1][1] == AudioIn(1, 20 * 1999, 0, b"\xff" * 160)
        assert len(await bus.read(EVENTS)) == 2000


async def test_who_keeps_a_closed_subscription_is_freed_by_its_last_reference(buses):
    class Keeper(Reader):
        subscription = None

    async with buses("writer") as writer, buses("reader") as bus:
        keeper = Keeper()
        keeper.subscription = bus.subscribe(EVENTS, keeper.receive, keeper.errors.append)
        writer.publish(EVENTS, DtmfReceived("1", 1))
        await keeper.until(1)
        keeper.subscription.close()
        await asyncio.sleep(0)
        kept = weakref.ref(keeper)
        gc.disable()
        try:
            del keeper
            async with asyncio.timeout(WAIT_S):
                while kept() is not None:
                    await asyncio.sleep(0.001)
        finally:
            gc.enable()
