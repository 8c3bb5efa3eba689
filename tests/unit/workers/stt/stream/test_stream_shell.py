"""A stream of speech to text on its socket: what leaves when, and what happens if the vendor does not take it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, cast

import pytest

from common.audio import g711
from tests.clock import VirtualLoop
from tests.unit.workers.providers.vendor_end import VendorEnd, frame
from workers.providers.interfaces import Busy, Down, ProviderError, SpeechStart, SttEvent
from workers.providers.vendor_socket import VendorSocket
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.socket_stream import (
    PARTIAL_SECONDS,
    SocketAddress,
    SttSocketStream,
    open_stream,
)
from workers.stt.stream.stt_core import Effect, SocketProfile, SttStreamOptions

pytestmark = pytest.mark.fast

FRAME_S = 0.02
PONG, CLOSE = 10, 8
OPTIONS = SttStreamOptions(send_s=1.0, ping_s=100.0, mute_s=1.0)


class Core:
    """Notes what it is told, and answers what a test lets it."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.fed: list[int] = []
        self.wakes: list[float] = []
        self.on_feed: Callable[[int], Iterable[Effect]] = lambda position_ms: ()
        self.on_wake: Callable[[], Iterable[Effect]] = lambda: ()
        self.idle_s: float | None = None

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> Iterable[Effect]:
        self.fed.append(position_ms)
        if self.idle_s is not None:
            self.deadline = now + self.idle_s
        return self.on_feed(position_ms)

    def receive(self, raw: str | bytes, now: float) -> Iterable[Effect]:
        if raw == "bug":
            raise AssertionError("a fault of ours")
        if raw == "malformed":
            raise KeyError("type")
        return (SpeechStart(int(raw)),)

    def wake(self, now: float) -> Iterable[Effect]:
        self.wakes.append(now)
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
        return self.on_wake()


class Address:
    """In place of `SocketAddress`: the vendor is there already."""

    def __init__(self, vendor: VendorEnd) -> None:
        self.vendor = vendor

    async def open(self, connect_s: float) -> VendorSocket:
        return self.vendor.accept().socket


@contextlib.asynccontextmanager
async def streaming(
    core: Core, options: SttStreamOptions = OPTIONS, **profile: Any
) -> AsyncIterator[tuple[VendorEnd, SttSocketStream]]:
    vendor = VendorEnd()
    address = cast(SocketAddress, Address(vendor))
    feed = AudioFeed(options.backlog_ms_max)
    async with open_stream(address, SocketProfile("vendor/x", **profile), feed, core, options) as stream:
        yield vendor, stream


class CountingLoop(VirtualLoop):
    """Counts the timers that are set."""

    timers = 0

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


def phone(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs an async test on the virtual clock."""

    def whole() -> None:
        with asyncio.Runner(loop_factory=CountingLoop) as runner:
            runner.run(test())

    whole.__name__, whole.__doc__ = test.__name__, test.__doc__
    return whole


def audio(position_ms: int) -> bytes:
    """20 ms that say where they were."""
    return (position_ms // 20).to_bytes(2, "big") * 80


def silence(position_ms: int) -> bytes:
    return g711.SILENCE * 160


async def speak(stream: SttSocketStream, from_ms: int, to_ms: int, frames: Callable[[int], bytes] = audio) -> None:
    """Live: a frame each 20 ms."""
    for position_ms in range(from_ms, to_ms, 20):
        stream.feed(position_ms, frames(position_ms))
        await asyncio.sleep(FRAME_S)


async def events_until_the_end(stream: SttSocketStream) -> tuple[list[SttEvent], ProviderError]:
    events = []
    try:
        async for event in stream:
            events.append(event)
    except ProviderError as error:
        return events, error
    raise AssertionError("the stream has not failed")


def joined(vendor: VendorEnd) -> bytes:
    return b"".join(message for message in vendor.received if isinstance(message, bytes))


@phone
async def test_a_live_frame_has_left_when_feed_returns() -> None:
    core = Core()
    async with streaming(core) as (vendor, stream):
        for position_ms in range(0, 1000, 20):
            stream.feed(position_ms, audio(position_ms))
            assert vendor.received[-1] == audio(position_ms)
            assert len(core.wakes) == len(core.fed), "the core is told of each frame that was sent"
            await asyncio.sleep(FRAME_S)
        assert len(vendor.received) == 50


@phone
async def test_a_replay_is_joined_after_its_first_frame_and_in_order() -> None:
    async with streaming(Core()) as (vendor, stream):
        for position_ms in range(0, 10_000, 20):
            stream.feed(position_ms, audio(position_ms))
        await asyncio.sleep(0.001)
        assert [len(message) for message in vendor.received] == [160] + [1600] * 49 + [1440]
        await speak(stream, 10_000, 10_040)
        assert joined(vendor) == b"".join(audio(at_ms) for at_ms in range(0, 10_040, 20))


@phone
async def test_what_the_socket_does_not_take_waits_with_the_texts_behind_it_and_loses_nothing() -> None:
    core = Core()
    core.on_feed = lambda position_ms: ["finalize"] if position_ms == 8_000 else []
    async with streaming(core, SttStreamOptions(send_s=10.0, ping_s=100.0)) as (vendor, stream):
        vendor.reads = False
        await speak(stream, 0, 9_000)
        assert not vendor.socket.writable and vendor.received == []
        assert vendor.socket.unsent_bytes < 34_000, "the rest waits where it is bounded"
        vendor.reads_again()
        assert joined(vendor) == b"".join(audio(at_ms) for at_ms in range(0, 9_000, 20))
        at = vendor.received.index("finalize")
        assert sum(len(message) for message in vendor.received[:at]) == (8_000 + 20) * 8
        await speak(stream, 9_000, 9_020)
        assert vendor.received[-1] == audio(9_000)


@phone
async def test_a_vendor_that_takes_no_more_audio_is_given_up_after_its_time() -> None:
    async with streaming(Core()) as (vendor, stream):
        vendor.reads = False
        reading = asyncio.create_task(events_until_the_end(stream))
        position_ms = 0
        while vendor.socket.writable:
            await speak(stream, position_ms, position_ms + 20)
            position_ms += 20
        began = asyncio.get_running_loop().time()
        while not stream.failed:
            await speak(stream, position_ms, position_ms + 20)
            position_ms += 20
        assert asyncio.get_running_loop().time() - began == pytest.approx(OPTIONS.send_s, abs=0.05)
        _, error = await reading
        assert isinstance(error, Down) and "takes no more audio" in str(error)


@phone
async def test_a_vendor_that_takes_audio_again_in_time_is_kept() -> None:
    async with streaming(Core()) as (vendor, stream):
        position_ms = 0
        for _ in range(5):
            vendor.reads = False
            while vendor.socket.writable:
                await speak(stream, position_ms, position_ms + 20)
                position_ms += 20
            await speak(stream, position_ms, position_ms + 800)
            position_ms += 800
            vendor.reads_again()
        assert not stream.failed and joined(vendor) == b"".join(audio(at_ms) for at_ms in range(0, position_ms, 20))


@phone
async def test_less_than_a_message_waits_for_the_rest_but_not_for_long() -> None:
    async with streaming(Core(), message_ms=100, message_ms_max=100) as (vendor, stream):
        await speak(stream, 0, 240)
        assert [len(message) for message in vendor.received] == [800, 800]
        await asyncio.sleep(PARTIAL_SECONDS)
        assert [len(message) for message in vendor.received] == [800, 800, 320]


@phone
async def test_texts_leave_at_once_and_a_text_in_answer_to_a_message_too() -> None:
    core = Core()
    async with streaming(core, message_ms=100) as (vendor, stream):
        core.on_feed = lambda position_ms: ["finalize"]
        stream.feed(0, audio(0))
        assert vendor.received == [audio(0), "finalize"], "with the audio before it, though it is less than a message"
        core.on_wake = lambda: ["again"] if vendor.received[-1] != "again" else []
        vendor.sends("20")
        await asyncio.sleep(1.0)
        core.deadline = asyncio.get_running_loop().time() + 1.0
        vendor.sends("40")  # any message sets the timer anew
        await asyncio.sleep(1.1)
        assert vendor.received[-1] == "again"


@phone
async def test_a_deadline_that_moves_with_each_frame_sets_few_timers_and_is_kept() -> None:
    loop = cast(CountingLoop, asyncio.get_running_loop())
    core = Core()
    core.idle_s = 0.4
    async with streaming(core) as (_, stream):
        before, sleeps = loop.timers, 500
        await speak(stream, 0, 20 * sleeps)
        assert loop.timers - before - sleeps <= sleeps * FRAME_S / core.idle_s + 2
        core.wakes.clear()
        began = loop.time() - FRAME_S
        await asyncio.sleep(1.0)
        assert core.wakes[-1] - began == pytest.approx(core.idle_s, abs=0.001), "kept to the millisecond"


@phone
async def test_a_silent_vendor_is_pinged_and_kept_if_it_answers_and_given_up_if_not() -> None:
    async with streaming(Core(), answer_ms=500) as (vendor, stream):
        for at_ms in range(0, 10_000, 20):
            await speak(stream, at_ms, at_ms + 20, silence)
            if vendor.pings:
                vendor.bytes(frame(PONG, vendor.pings.pop()))
        assert not stream.failed
        reading = asyncio.create_task(events_until_the_end(stream))
        await speak(stream, 10_000, 15_000, silence)
        _, error = await reading
        assert isinstance(error, Down) and "does not answer" in str(error)


@phone
async def test_the_vendors_last_events_come_before_the_error_of_its_close() -> None:
    async with streaming(Core()) as (vendor, stream):
        vendor.sends("20", "40")
        vendor.bytes(frame(CLOSE, (1013).to_bytes(2, "big")))
        events, error = await events_until_the_end(stream)
        assert events == [SpeechStart(20), SpeechStart(40)] and isinstance(error, Busy)
        stream.feed(0, audio(0))
        assert vendor.received == []


@phone
async def test_a_malformed_message_fails_the_stream_and_a_fault_of_ours_is_raised_on_leaving() -> None:
    async with streaming(Core()) as (vendor, stream):
        vendor.sends("20", "malformed", "40")
        events, error = await events_until_the_end(stream)
        assert events == [SpeechStart(20)] and "malformed" in str(error)
    with pytest.raises(AssertionError, match="a fault of ours"):
        async with streaming(Core()) as (vendor, stream):
            vendor.sends("bug")
            _, error = await events_until_the_end(stream)
            assert "broke" in str(error)


@phone
async def test_leaving_says_goodbye_and_closes() -> None:
    async with streaming(Core(), goodbye="bye") as (vendor, stream):
        await speak(stream, 0, 40)
    assert vendor.received == [audio(0), audio(20), "bye"] and vendor.closed_with == 1000 and vendor.cut
