"""What is played at once may reach nobody: the greeting waits, counted from the caller's first media."""

import asyncio

import pytest

from common.agents.model import Agent, GreetingAfter
from common.protocol.messages import AudioOut
from edge.session.call_options import FIRST_MEDIA_MS, CallOptions
from tests.calls.carrier import CALL, Carrier
from tests.calls.phone import Phone, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def greeted_after(phone: Phone) -> float:
    """Seconds until the caller hears the first of the greeting."""
    began = phone.call._ticker.now_ms()
    await phone.until(lambda: phone.heard, "the greeting")
    return (phone.call._ticker.now_ms() - began) / 1000


@pytest.mark.parametrize("after_ms", [0, 1000, 2000, 5000])
async def test_the_greeting_is_heard_so_long_after_the_first_media(after_ms: int):
    async with answered_call(options=CallOptions(greeting_after_ms=after_ms)) as phone:
        assert await greeted_after(phone) == pytest.approx(max(after_ms / 1000, 0.15) + 0.06, abs=0.15)
        await phone.hears("Hello.")


async def test_media_that_begin_late_are_what_is_counted_from():
    async with answered_call(options=CallOptions(greeting_after_ms=2000)) as phone:
        phone.muted = True
        await phone.after(0.6)
        phone.muted = False
        assert await greeted_after(phone) == pytest.approx(2.1, abs=0.15)


async def test_a_carrier_that_sends_nothing_before_the_caller_speaks_is_greeted_all_the_same():
    async with answered_call(options=CallOptions(greeting_after_ms=2000)) as phone:
        phone.muted = True
        phone.speech.clear()
        assert await greeted_after(phone) == pytest.approx(FIRST_MEDIA_MS / 1000 + 2.0, abs=1.1)


async def test_a_caller_who_speaks_first_is_there_and_need_not_wait():
    async with answered_call({"is there anybody": "Yes."}, options=CallOptions(greeting_after_ms=10_000)) as phone:
        await phone.after(0.5)
        await phone.says("is there anybody")
        assert await greeted_after(phone) < 1.5
        await phone.hears("Yes.")


async def test_a_second_connection_waits_for_nothing():
    answer = "We are open from Monday to Friday. On Sunday we are closed."
    async with answered_call({"hours": answer}, options=CallOptions(greeting_after_ms=2000)) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("We are open")
        await phone.edge_dies()
        assert await greeted_after(phone) < 0.5


@pytest.mark.parametrize(("direction", "after_ms"), [("inbound", 3000), ("outbound", 500)])
async def test_each_direction_has_its_own(direction: str, after_ms: int):
    one = Carrier(Agent("desk", "Hi.", "Be brief.", numbers=("*",), greeting_after_ms=GreetingAfter(3000, 500)))
    socket = await one.connects(await one.asks(Direction=direction))
    call = one.calls.get(CALL)
    assert call is not None
    call.play(AudioOut(CALL, 1, 1, 1, 0, 0, bytes(160), True))
    await asyncio.sleep((FIRST_MEDIA_MS + after_ms) / 1000 - 0.3)  # 0.2 s have passed
    assert socket.sent == []
    await asyncio.sleep(0.2)
    assert len(socket.sent) == 2, "the frame, and its checkpoint"
    await one.close()
