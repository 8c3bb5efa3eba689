"""An edge that goes hands its calls over: the carrier comes back, and no call has ended."""

import pytest

from common.messages import CallEnded, CallStarted
from tests.e2e.loopback_edge import phone, running_edge, start_of

pytestmark = pytest.mark.anyio


async def test_an_edge_whose_time_is_up_closes_the_socket_and_leaves_the_call_alive() -> None:
    async with running_edge() as edge:
        async with edge.call("c-1") as caller:
            await caller.goes_on()
            edge.calls.hand_over()
            assert await caller.until_closed() == 1012
            await edge.calls.drained()
        record = await edge.ledger.read("c-1")
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
        after = await edge.http.post("/after-stream", data={"CallUUID": "c-1"})
        assert "<Speak>" in after.text
