"""When the agent's frames leave: the first ones with the bus message that brought them, the rest four at a time."""

import asyncio
import json
from collections.abc import Coroutine

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import AudioOut, SpeechEnded, SpeechStarted
from common.store import CallRecord
from edge.media.ticker import Ticker
from edge.session.call import Call
from edge.session.call_options import CallOptions
from edge.vobiz.stream_protocol import ClearedAudio, Start
from tests.clock import VirtualLoop

pytestmark = pytest.mark.fast

CALL = "call-1"


class Socket:
    """A media socket that notes the events of each write, and when it was."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.writes: list[tuple[int, list[str]]] = []
        self._began = asyncio.get_running_loop().time()

    def send_texts(self, messages: list[bytes]) -> None:
        at_ms = round(1000 * (asyncio.get_running_loop().time() - self._began))
        self.writes.append((at_ms, [json.loads(message)["event"] for message in messages]))

    def took(self) -> list[tuple[int, int]]:
        """(when, frames) of each write of audio since the last look."""
        writes, self.writes = self.writes, []
        return [(at_ms, events.count("playAudio")) for at_ms, events in writes if "playAudio" in events]


def call_on(socket: Socket) -> Call:
    bus, loop = MemoryBus(MemoryStreams()), asyncio.get_running_loop()
    record = CallRecord(CALL, edge="edge-1", epoch=1)
    return Call(record, Start(CALL, "stream-1", None), socket, bus, Ticker(loop), CallOptions())


def audio(turn: int, frames: int, seq: int = 0) -> AudioOut:
    return AudioOut(CALL, 1, 1, turn, 0, seq, bytes(160) * frames, False)


def run(scene: Coroutine[None, None, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(scene)
    finally:
        loop.close()


def test_the_first_frames_leave_before_the_bus_has_delivered_the_next_message() -> None:
    async def scene() -> None:
        socket = Socket()
        call = call_on(socket)
        await asyncio.sleep(0.0013)  # between two slots of the ticker
        call.play(audio(1, 30))
        assert socket.took() == [(1, 10)]
        call.play(audio(1, 30, seq=30))
        assert socket.took() == []
        await asyncio.sleep(0.4)
        writes = socket.took()
        assert [frames for _, frames in writes] == [4, 4, 4, 4]
        assert [at_ms // 10 * 10 for at_ms, _ in writes] == [80, 160, 240, 320]

    run(scene())


def test_a_voice_as_fast_as_real_time_is_not_held_back() -> None:
    async def scene() -> None:
        socket = Socket()
        call = call_on(socket)
        for number in range(10):
            call.play(audio(1, 1, seq=number))
            await asyncio.sleep(0.02)
        assert [frames for _, frames in socket.took()] == [1] * 10

    run(scene())


def test_what_waited_for_the_carrier_or_the_caller_leaves_with_their_word() -> None:
    async def scene() -> None:
        socket = Socket()
        call = call_on(socket)
        call.play(audio(1, 100))
        await asyncio.sleep(0.05)
        call.speech_started(SpeechStarted(CALL, 1, 1, 1000))
        assert socket.writes[-1] == (50, ["clearAudio"])
        call.play(audio(2, 20))
        await asyncio.sleep(0.1)
        call.speech_ended(SpeechEnded(CALL, 1, 1, 1100))
        assert [frames for _, frames in socket.took()] == [10], "the carrier has not answered: it may drop what comes"
        call.receive(ClearedAudio())
        assert socket.took() == [(150, 10)]

    run(scene())


def test_a_call_that_is_over_sends_nothing() -> None:
    async def scene() -> None:
        socket = Socket()
        call = call_on(socket)
        call.disconnected(clean=False)
        call.play(audio(1, 20))
        await asyncio.sleep(1)
        assert socket.writes == []

    run(scene())
