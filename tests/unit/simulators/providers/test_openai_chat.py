"""The scripted chat vendor on its wire: pace, words, usage, refusals, and a client that goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from simulators.loopback_server import LoopbackServer
from simulators.providers.bad_minutes import BadMinutes, Plan
from simulators.providers.faults import Fault
from simulators.providers.openai_chat import Answer, ChatTiming, OpenAIChatStandin, tokens
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

QUICK = ChatTiming(first_token_ms=1.0, tokens_per_s=10_000.0)
NEVER = ChatTiming(first_token_ms=1.0, tokens_per_s=0.001)  # the second token is a quarter of an hour away
SECONDS = WAIT_S


@asynccontextmanager
async def serving(standin: OpenAIChatStandin, app: Any = None) -> AsyncIterator[httpx.AsyncClient]:
    async with LoopbackServer(app or Starlette(routes=[*standin.routes])) as server:
        headers = {"authorization": f"Bearer {standin.key}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=SECONDS) as client:
            yield client


def request(*said: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be kind."}]
    for each in said:
        messages += [{"role": "user", "content": each}, {"role": "assistant", "content": "Yes."}]
    return {"model": "gpt-4o-mini", "messages": messages[: len(messages) - bool(said)], "stream": True, **more}


async def asked(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of an answer; the last line must be the end."""
    lines = [line for line in (await client.post("/v1/chat/completions", json=body)).text.splitlines() if line]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"])


async def test_the_same_dialogue_gets_the_same_answer_and_the_next_turn_the_next():
    standin = OpenAIChatStandin((Answer("First: {said}."), Answer("Second.")), QUICK)
    async with serving(standin) as client:
        for _ in range(2):
            assert text_of(await asked(client, request("Good morning"))) == "First: Good morning."
        assert text_of(await asked(client, request("Good morning", "And you?"))) == "Second."
    assert (standin.completed, standin.aborted, standin.open) == (3, 0, 0)


async def test_a_tool_and_the_usage_come_after_the_words():
    standin = OpenAIChatStandin((Answer("Goodbye now.", "end_call"),), QUICK)
    async with serving(standin) as client:
        *_, tool, reason, usage = await asked(client, request("Bye", stream_options={"include_usage": True}))
    assert tool["choices"][0]["delta"]["tool_calls"][0]["function"] == {"name": "end_call", "arguments": "{}"}
    assert reason["choices"][0]["finish_reason"] == "tool_calls"
    assert usage["usage"]["completion_tokens"] == len(tokens("Goodbye now."))
    assert usage["choices"] == []


def test_tokens_joined_are_the_text():
    text = "Yes, of course.  It is at 12 Lake Road,\nopposite the library."
    assert "".join(tokens(text)) == text


def test_the_pace_counts_from_the_request():
    assert ChatTiming(150.0, 60.0).token_s(0) == 0.15
    assert ChatTiming(150.0, 60.0).token_s(60) == 1.15


async def test_a_client_that_goes_away_is_noticed():
    standin = OpenAIChatStandin(pace=NEVER)
    async with serving(standin) as client:
        async with client.stream("POST", "/v1/chat/completions", json=request("Hello")) as response:
            await anext(response.aiter_bytes())
            assert standin.open == 1
        async with asyncio.timeout(SECONDS):
            while standin.open:
                await asyncio.sleep(0)
    assert (standin.completed, standin.aborted) == (0, 1)


@pytest.mark.parametrize(("kind", "status"), [("unauthorised", 401), ("busy", 429), ("broken", 503)])
async def test_refusals(kind: Any, status: int):
    standin = OpenAIChatStandin()
    standin.faults.coming.append(Fault(kind))
    async with serving(standin) as client:
        response = await client.post("/v1/chat/completions", json=request("Hello"))
    assert response.status_code == status
    assert (response.headers.get("retry-after") == "1") is (status == 429)


async def test_a_wrong_key_and_a_body_that_is_no_request_are_refused():
    standin = OpenAIChatStandin()
    async with serving(standin) as client:
        wrong = await client.get("/v1/models", headers={"authorization": "Bearer other"})
        bad = await client.post("/v1/chat/completions", content=b"{")
        good = await client.get("/v1/models")
    assert (wrong.status_code, bad.status_code, good.status_code) == (401, 400, 200)


async def test_a_connection_breaks_in_the_middle_of_an_answer():
    standin = OpenAIChatStandin(pace=QUICK)
    standin.faults.coming.append(Fault("close", after=3))
    async with serving(standin) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/v1/chat/completions", json=request("Hello"))
    assert standin.aborted == 1


async def test_an_answer_without_its_end_and_one_that_is_no_json():
    standin = OpenAIChatStandin((Answer("One two."),), QUICK)
    standin.faults.coming.extend([Fault("no final"), Fault("malformed", after=1)])
    async with serving(standin) as client:
        endless = (await client.post("/v1/chat/completions", json=request("Hello"))).text
        malformed = (await client.post("/v1/chat/completions", json=request("Hello"))).text
    assert "two" in endless
    assert 'finish_reason": "stop' not in endless
    assert "data: {no JSON" in malformed


async def test_a_bad_minute_breaks_what_is_open_and_refuses_what_is_new():
    standin = OpenAIChatStandin(pace=NEVER)
    app = BadMinutes(Starlette(routes=[*standin.routes]), standin.routes, standin.faults, Plan(1.0, 0.5))
    async with serving(standin, app) as client:
        minutes = asyncio.create_task(app.run())
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/v1/chat/completions", json=request("Hello"))
        assert app.bad
        assert app.broke == 1
        assert (await client.get("/v1/models")).status_code == 200  # asks no fault of its own
        assert (await client.post("/v1/chat/completions", json=request("Hello"))).status_code == 503
        async with asyncio.timeout(SECONDS):
            while app.bad:
                await asyncio.sleep(0)
        minutes.cancel()
        await asyncio.wait([minutes])


BOOKING = Answer(
    "Let me see.",
    "book",
    '{"hour": 15}',
    (
        Answer("Booked.", given="done"),
        Answer("Full; the bill, then.", "bill", then=(Answer("It says: {result}."),), given="full"),
        Answer("It failed."),
    ),
)


def dialogue(*results: str, late: str = "") -> list[dict]:
    """The caller asks, and tools return one after the other; `late` comes when the reply was over."""
    messages: list[dict] = [{"role": "user", "content": "Book it."}]
    for result in results:
        call = {"id": "1", "type": "function", "function": {"name": "book", "arguments": "{}"}}
        messages += [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": result}]
    return [*messages, *([{"role": "user", "content": late}] if late else [])]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (dialogue(), "Let me see."),
        (dialogue("done at three"), "Booked."),
        (dialogue("an error"), "It failed."),
        (dialogue("full"), "Full; the bill, then."),
        (dialogue("full", "5 rupees"), "It says: 5 rupees."),
        (dialogue("There is no result yet; it will follow.", late="[book has returned: done]"), "Booked."),
        ([*dialogue("done"), {"role": "user", "content": "Thanks."}], "Bye."),
    ],
)
def test_what_follows_a_tool_is_chosen_by_its_result(messages: list[dict], text: str):
    assert OpenAIChatStandin((BOOKING, Answer("Bye."))).answer(messages).text == text
