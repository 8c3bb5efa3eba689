"""An edge that goes hands its calls over: the carrier comes back, and no call has ended."""

import asyncio

import pytest

from common.protocol.messages import AudioIn, CallEnded, CallStarted, SpeechEnded, SpeechStarted
from common.protocol.redis_keys import edge_priority
from edge.session.call import Call
from edge.session.reconnect_silence import GAP_MS
from tests.e2e.loopback_edge import EDGE, SECONDS, Edge, given, phone, running_edge, start_of

pytestmark = [pytest.mark.processes, pytest.mark.anyio]


async def test_an_edge_whose_time_is_up_closes_the_socket_and_leaves_the_call_alive() -> None:
    async with running_edge() as edge:
        async with edge.call("c-1") as caller:
            await caller.goes_on()
            edge.calls.hand_over()
            assert await caller.until_closed() == 1012
            await edge.calls.drained()
        record = await edge.store.read("c-1")
        assert record is not None
        assert (record.status, record.epoch) == ("live", 1)

        async with phone(caller.url) as again:  # with the same token, as the carrier does
            again.take(edge, "c-1")
            await again.send(start_of("c-1"))
            assert [begun.epoch for begun in await again.events.until(CallStarted, 2)] == [1, 2]
            again.epoch = 2
            await again.goes_on()
            assert not [event for event in again.events.got if isinstance(event, CallEnded)]


async def test_a_call_that_is_being_ended_is_not_handed_over() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        call = edge.calls.get("c-1")
        assert call is not None
        call.stop("agent hung up")
        edge.calls.hand_over()
        assert (await caller.until("stop"))["event"] == "stop"
        await caller.socket.close()
        assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["agent hung up"]


async def test_a_call_that_is_given_up_for_an_error_says_so_to_the_caller() -> None:
    async with running_edge() as edge:
        async with edge.call("c-1") as caller:
            call = edge.calls.get("c-1")
            assert call is not None
            call.stop("error")
            await caller.until("stop")
        after = await edge.http.post(given("/after-stream", "c-1"), data={"CallUUID": "c-1"})
        assert "<Speak>" in after.text


async def fall_silent(edge: Edge, call_id: str) -> Call:
    """The caller has just said something, as the ears tell it."""
    call = edge.calls.get(call_id)
    assert call is not None
    edge.workers.publish(edge_priority(EDGE), SpeechStarted(call_id, 1, 1, 0))
    edge.workers.publish(edge_priority(EDGE), SpeechEnded(call_id, 1, 1, 0))
    async with asyncio.timeout(SECONDS):
        while not call.turn.between:
            await asyncio.sleep(0)
    return call


async def test_the_ears_hear_silence_until_the_carrier_is_back() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        await caller.say(b"\x10" * 160)
        await caller.audio.until(AudioIn)
        call = await fall_silent(edge, "c-1")
        call.hand_over()
        first, *silence = await caller.audio.until(AudioIn, 4)
        assert [frame.position_ms for frame in silence] == [20, 40, 60]
        assert {frame.mulaw for frame in silence} == {b"\xff" * 160}
        assert first.mulaw == b"\x10" * 160


async def test_a_connection_that_breaks_between_two_turns_is_bridged_until_it_is_replaced() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        call = await fall_silent(edge, "c-1")
        caller.socket.transport.abort()
        await caller.audio.until(AudioIn, 3)
        async with phone(caller.url) as again:
            again.take(edge, "c-1")
            await again.send(start_of("c-1"))
            await again.events.until(CallStarted, 2)
            await asyncio.wait_for(call.reaches(), SECONDS)
            again.epoch = 2
            await again.goes_on()
            frames = [message for message in again.audio.got if isinstance(message, AudioIn)]
            last = max(frame.position_ms for frame in frames if frame.epoch == 1)
            (position_ms,) = (frame.position_ms for frame in frames if frame.epoch == 2)
            assert last < position_ms <= last + 20 + GAP_MS
