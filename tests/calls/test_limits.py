"""The limits of a call are the call's: a connection, an edge or a break more does not begin them anew."""

import asyncio

import pytest

from common.agents.model import Limits
from edge.session.call import Call
from tests.calls.carrier import CALL, Carrier, carrier

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def connections(one: Carrier, seconds: float, edges: bool, speaking: bool = False) -> float:
    """The carrier connects anew every 3 s, for so long; returns when the call was told to end."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    token = await one.asks()
    while loop.time() - began < seconds:
        socket = await one.connects(token)
        call = one.calls.get(CALL)
        if call is None:
            break
        if speaking:
            press_a_key(call)
        await one.is_silent(socket, 3)
        if call.lifecycle.stopped:
            break
        socket.close(False)
        if edges:
            one.edge()
    return loop.time() - began


def press_a_key(call: Call) -> None:
    call.limits.active(call._ticker.now_ms())


@pytest.mark.parametrize("edges", [False, True], ids=["one edge", "another edge each time"])
async def test_the_longest_call_is_counted_over_its_connections(edges: bool):
    async with carrier(Limits(call_s=20, silence_s=600)) as one:
        assert await connections(one, 60, edges) == pytest.approx(21, abs=4)
        await asyncio.sleep(6)
        assert (await one.state())[:2] == ("ended", "too long")


@pytest.mark.parametrize("edges", [False, True], ids=["one edge", "another edge each time"])
async def test_the_longest_silence_is_counted_over_its_connections(edges: bool):
    async with carrier(Limits(call_s=600, silence_s=20)) as one:
        assert await connections(one, 60, edges) == pytest.approx(21, abs=4)
        await asyncio.sleep(6)
        assert (await one.state())[:2] == ("ended", "silence")


async def test_a_caller_who_speaks_in_each_connection_is_not_silent():
    async with carrier(Limits(call_s=600, silence_s=10)) as one:
        assert await connections(one, 60, edges=True, speaking=True) > 59
        assert (await one.state())[0] == "live"


async def test_the_wait_for_the_carrier_is_silence_too():
    async with carrier(Limits(call_s=600, silence_s=10)) as one:
        token = await one.asks()
        socket = await one.connects(token)
        await one.is_silent(socket, 4)
        socket.close(False)
        await asyncio.sleep(5)
        socket = await one.connects(token)
        await one.is_silent(socket, 3)
        assert (await one.state())[1] == "silence"


async def test_the_time_with_a_person_is_not_the_agents():
    async with carrier(Limits(call_s=60, silence_s=10)) as one:
        (await one.connects(await one.asks())).close(True)
        await asyncio.sleep(3600)
        socket = await one.connects(await one.asks(Event="Redirect"))
        await one.is_silent(socket, 3)
        assert (await one.state())[0] == "live"
        await one.is_silent(socket, 9)
        assert (await one.state())[1] == "silence"
