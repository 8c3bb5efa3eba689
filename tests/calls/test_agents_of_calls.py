"""Which agent a call gets, and what it says in this call, asked of the edge as the carrier asks."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from common.agents.model import Agent, Agents, OnCall, from_document
from edge.agents.on_call import OnCallClient
from tests.calls.carrier import CALL, Carrier, carrier

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

DESK = Agent("desk", "Hello {{name|dear caller}} of {{caller}}.", "It is {{now}}.", numbers=("*",))


async def greeting(one: Carrier) -> str:
    """What the call's record says that the caller hears at first."""
    record = await one.store.read(CALL)
    assert record is not None
    return from_document(record.agent).greeting


def shows(one: Carrier, agents: Agents, **more: object) -> None:
    """From now on the edge has these agents."""
    one.hooks = replace(one.hooks, agents=agents, **more)


async def test_a_call_has_its_own_texts_and_its_time_at_the_end_of_the_prompt() -> None:
    async with carrier() as one:
        shows(one, Agents({"desk": DESK}))
        assert await one.asks()
        assert await greeting(one) == "Hello dear caller of +91 12345 67891."
        record = await one.store.read(CALL)
        assert record is not None and record.agent["instructions"].endswith(" (Asia/Kolkata).")


async def test_a_call_keeps_its_agent_although_the_file_changes_and_the_carrier_asks_again() -> None:
    async with carrier() as one:
        shows(one, Agents({"desk": DESK}))
        await one.asks()
        before = await one.store.read(CALL)
        shows(one, Agents({"desk": replace(DESK, greeting="Namaste.", version="")}))
        assert await one.asks()
        after = await one.store.read(CALL)
        assert before is not None and after is not None and before.agent == after.agent
        assert await one.asks(CallUUID="call-2")
        record = await one.store.read("call-2")
        assert record is not None and record.agent["greeting"] == "Namaste."


async def test_the_webhook_is_asked_once_and_its_address_is_not_in_the_record() -> None:
    asked = 0

    async def shop(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(200, json={"variables": {"name": "Asha"}})

    agent = replace(DESK, on_call=OnCall("https://shop.example.com/in", headers={"X-Key": "secret"}), version="")
    async with carrier() as one, OnCallClient(b"0123456789abcdef", httpx.MockTransport(shop)) as client:
        shows(one, Agents({"desk": agent}), on_call=client)
        assert await one.asks() and await one.asks()
        assert asked == 1 and await greeting(one) == "Hello Asha of +91 12345 67891."
        record = await one.store.read(CALL)
        assert record is not None and "on_call" not in record.agent and record.agent["version"] == agent.version
        await one.tells_the_end()
        await one.asks()
        assert asked == 1


@pytest.mark.parametrize("number", ["911234567891", "anonymous"])
async def test_a_caller_meets_the_second_version_again(number: str) -> None:
    canary = replace(DESK, greeting="Namaste.", canary=50, version="")
    heard = {}
    for call_id in ("call-a", "call-b", "call-c", "call-d", "call-e", "call-f"):
        async with carrier() as one:
            shows(one, Agents({"desk": DESK}, {"desk": canary}))
            await one.asks(From=number, CallUUID=call_id)
            record = await one.store.read(call_id)
            assert record is not None
            heard[call_id] = record.agent["version"]
    assert len(set(heard.values())) == (2 if number == "anonymous" else 1)
