"""The webhook that is asked when a call comes in: what it gets, what it may answer, and what happens if it does not."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from common.agents.model import Agent, Agents, OnCall
from common.agents.variables import CallBeginning
from common.telemetry import metrics
from edge.agents.call_agent import agent_of_inbound
from edge.agents.on_call import ANSWER_BYTES_MAX, OnCallClient, signature

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

SECRET = b"a secret of the operator"
URL = "https://shop.example.com/on-call"
ASKED = OnCall(URL, headers={"X-Shop": "7"})
DESK = Agent("desk", "Hello {{name|dear guest}}.", "Be kind.", numbers=("+91 12345 67890",), on_call=ASKED)
BILLING = Agent("billing", "Billing for {{name}}.", "Be kind.", on_call=OnCall("https://shop.example.com/never"))
AGENTS = Agents({"desk": DESK, "billing": BILLING})
CALL = CallBeginning("call-1", "911234567891", "911234567890")

Shop = Callable[[httpx.Request], Awaitable[httpx.Response]]


async def greeting(shop: Shop, secret: bytes = SECRET, agents: Agents = AGENTS) -> str:
    """What the caller hears at first."""
    async with OnCallClient(secret, httpx.MockTransport(shop)) as client:
        agent = await agent_of_inbound(agents, CALL, client)
    assert agent is not None
    return agent.greeting


def answers(status: int = 200, **body: Any) -> Shop:
    async def shop(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body)

    return shop


def count(outcome: str) -> float:
    return float(metrics.ON_CALLS.labels(outcome)._value.get())


async def test_the_webhook_gets_a_signed_request_and_its_answer_is_spoken() -> None:
    async def shop(request: httpx.Request) -> httpx.Response:
        body, headers = request.content, request.headers
        assert (request.method, str(request.url), headers["x-shop"]) == ("POST", URL, "7")
        assert headers["x-voice-signature"] == signature(SECRET, headers["x-voice-timestamp"], body)
        assert signature(b"another secret......", headers["x-voice-timestamp"], body) != headers["x-voice-signature"]
        assert json.loads(body) == {
            "call_id": "call-1",
            "from": "+911234567891",
            "to": "+911234567890",
            "direction": "inbound",
            "agent": "desk",
        }
        return httpx.Response(200, json={"variables": {"name": "Asha", "room": 12}})

    answered = count("answered")
    assert await greeting(shop) == "Hello Asha."
    assert count("answered") == answered + 1


async def test_it_may_choose_another_agent_whose_own_webhook_is_not_asked() -> None:
    assert await greeting(answers(agent="billing", variables={"name": "Asha"})) == "Billing for Asha."
    assert await greeting(answers(agent="nobody", variables={"name": "Asha"})) == "Hello Asha."


@pytest.mark.parametrize(
    ("shop", "outcome"),
    [
        (answers(500, variables={"name": "Asha"}), "bad answer"),
        (answers(307, variables={"name": "Asha"}), "bad answer"),
        (answers(variables={"my name": "Asha"}), "bad answer"),
        (answers(variables={"name": ["Asha"]}), "bad answer"),
        (answers(variables={"name": "x" * 1_001}), "bad answer"),
        (answers(variables={f"n{number}": "x" for number in range(51)}), "bad answer"),
        (answers(variables={"name": "Asha"}, more="x" * ANSWER_BYTES_MAX), "bad answer"),
        (answers(204), "answered"),
    ],
)
async def test_a_bad_answer_is_none(shop: Shop, outcome: str, caplog: pytest.LogCaptureFixture) -> None:
    before = count(outcome)
    assert await greeting(shop) == "Hello dear guest."
    assert count(outcome) == before + 1
    assert "Asha" not in caplog.text and "67891" not in caplog.text


async def test_a_webhook_that_is_late_or_away_does_not_keep_the_caller() -> None:
    loop = asyncio.get_running_loop()

    async def hangs(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(200)

    async def is_away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to +911234567891")

    agents = Agents({"desk": Agent("desk", "Hello.", "x", on_call=OnCall(URL, timeout_ms=100))})
    began, late, failed = loop.time(), count("late"), count("failed")
    assert await greeting(hangs, agents=agents) == "Hello."
    assert loop.time() - began < 1 and count("late") == late + 1
    assert await greeting(is_away) == "Hello dear guest."
    assert count("failed") == failed + 1


async def test_without_a_secret_or_room_for_the_call_it_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    async def shop(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    caplog.set_level(logging.WARNING)
    assert await greeting(shop, b"") == "Hello dear guest."
    assert "ON_CALL_SECRET is not set" in caplog.text
    agent = await agent_of_inbound(AGENTS, CALL, None)
    assert agent is not None and agent.greeting == "Hello dear guest."
