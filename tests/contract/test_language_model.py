"""What every language model owes the call: words in order, a cancel that frees the line at once, three errors.

The first part runs on every implementation; the second plays faults of the wire to the OpenAI adapter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest

from simulators.openai_standin import (
    CLOSE,
    PAUSE,
    PAUSE_S,
    STALL,
    OpenAIStandin,
    chunk,
    standing_in,
    stop,
    text,
    tool_piece,
)
from tests.contract.deadlines import BRIEF_LLM, PATIENT_LLM
from tests.deadlines import SOON_S
from workers.llm.engines.catalog import VENDORS, language_model
from workers.llm.engines.openai_chat import ChatOptions, OpenAIChat
from workers.providers.interfaces import (
    Busy,
    Down,
    LanguageModel,
    ProviderError,
    Rejected,
    TextComplete,
    TokensUsed,
    ToolCall,
)

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

KEY = "sk-test-not-a-real-key"
END_CALL = {"type": "function", "function": {"name": "end_call", "description": "Hang up.", "parameters": {}}}
HOURS = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "What are your opening hours?"}]
GOODBYE = [{"role": "user", "content": "Thank you, goodbye."}]
FAREWELL = [*text("Good", "bye", "!"), tool_piece(0, "", id="call_1", name="end_call"), tool_piece(0, "{}")]


@contextlib.asynccontextmanager
async def openai(
    options: ChatOptions = PATIENT_LLM, *, known: bool = True
) -> AsyncIterator[tuple[OpenAIStandin, OpenAIChat]]:
    """The adapter in front of a server.  `known`: which has given a whole reply before."""
    async with standing_in() as server:
        model = OpenAIChat("gpt-4o-mini", key=KEY, url=server.url, options=options)
        if known:
            server.will(*text("Yes."), *stop())
            assert await everything(model, HOURS) == ["Yes."]
            server.requests.clear()
            server.asked.clear()
        try:
            yield server, model
        finally:
            await model.aclose()


@contextlib.asynccontextmanager
async def receptionist_model() -> AsyncIterator[LanguageModel]:
    model = language_model("local/receptionist", {})
    yield model
    await model.aclose()


@contextlib.asynccontextmanager
async def openai_model() -> AsyncIterator[LanguageModel]:
    """The adapter as a process builds it, in front of a server that says what the tests below expect."""
    async with standing_in() as server:
        server.will_refuse(404, '{"error": {"message": "no models here"}}')  # warming up looks for them,
        server.will(*text("Yes."), *stop())  # and has the model answer once
        server.will(*text("We are open", " from nine", " to six."), *stop())
        server.will(*FAREWELL, *stop("tool_calls"))
        model = language_model("openai/gpt-4o-mini", {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY})
        yield model
        await model.aclose()


EVERY_MODEL = pytest.mark.parametrize("build", [receptionist_model, openai_model])


async def everything(model: LanguageModel, dialogue: list[dict[str, Any]], *tools: dict[str, Any]) -> list[Any]:
    """The words and the tool calls of a reply."""
    return [piece async for piece in model.reply(dialogue, tools) if isinstance(piece, str | ToolCall)]


async def only_these_are_left(tasks: set[asyncio.Task[Any]]) -> None:
    """The HTTP client leaves its inner generators to the collector, which closes them a turn of the loop later."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


async def test_the_bill_comes_last_and_a_reply_that_was_begun_elsewhere_is_gone_on_with() -> None:
    async with openai() as (server, model):
        usage = {"prompt_tokens": 90, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
        server.will(*text("at nine."), chunk({}, "stop"), chunk(usage=usage), "data: [DONE]\n\n")
        pieces = [piece async for piece in model.reply(HOURS, (), "We open")]
        assert pieces == ["at nine.", TextComplete("stop"), TokensUsed(90, 64, 3)]
        begun, order = server.requests[-1].body["messages"][-2:]
        assert begun == {"role": "assistant", "content": "We open"}
        assert order["role"] == "user" and "Do not repeat" in order["content"], (
            "templates take a system message first only"
        )


async def test_the_receptionist_goes_on_after_what_was_said() -> None:
    async with receptionist_model() as model:
        whole = "".join(await everything(model, HOURS))
        said, rest = whole[: whole.index(". ") + 1], whole[whole.index(". ") + 2 :]
        assert "".join([p async for p in model.reply(HOURS, (), said) if isinstance(p, str)]) == rest


# --- every model ----------------------------------------------------------------------------------------------------


@EVERY_MODEL
async def test_words_stream_in_order_and_the_farewell_calls_the_tool(build: Any) -> None:
    before = asyncio.all_tasks()
    async with build() as model:
        await model.warm()
        hours = await everything(model, HOURS, END_CALL)
        assert len(hours) > 1 and all(isinstance(piece, str) for piece in hours)
        assert "".join(hours).startswith("We are open from ")

        *words, call = await everything(model, GOODBYE, END_CALL)
        assert "".join(words).endswith("Goodbye!")
        assert isinstance(call, ToolCall) and (call.name, call.arguments) == ("end_call", "{}") and call.call_id
    await only_these_are_left(before)


@EVERY_MODEL
async def test_an_interrupted_reply_can_be_closed_and_the_next_one_comes(build: Any) -> None:
    async with build() as model:
        await model.warm()
        reply = cast("AsyncGenerator[str | ToolCall]", model.reply(HOURS, [END_CALL]))
        assert isinstance(await anext(reply), str)
        await reply.aclose()
        assert [piece async for piece in reply] == []
        assert await everything(model, GOODBYE, END_CALL)


@pytest.mark.parametrize("spec", ["openai", "openai/", "nobody/x", "local/parrot", "", "/"])
def test_an_unknown_model_is_answered_with_the_known_ones(spec: str) -> None:
    with pytest.raises(ValueError, match="language model") as caught:
        language_model(spec, {"OPENAI_API_KEY": KEY})
    assert all(vendor.specs in str(caught.value) for vendor in VENDORS.values())


def test_a_missing_key_is_named_before_any_call_comes() -> None:
    with pytest.raises(ValueError, match="set OPENAI_API_KEY"):
        language_model("openai/gpt-4o-mini", {})


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:8000/v1/chat/completions", "write http://127.0.0.1:8000/v1$"),
        ("http://127.0.0.1:11434/api/chat/", "write http://127.0.0.1:11434/v1$"),
        ("http://127.0.0.1:port/v1", "is no URL"), ("http://[::1/v1", "is no URL"), ("127.0.0.1:8000/v1", "is no URL"),
        ("ws://127.0.0.1/v1", "is no URL"), ("http:///v1", "is no URL"), ("http://a host/v1", "is no URL"),
        ("https://host/v1?api-version=1", "only the address"),
        ("http://user:pass@127.0.0.1/v1/models", "write http://127.0.0.1/v1$"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_told_before_any_call_comes(url: str, told: str) -> None:
    with pytest.raises(ValueError, match="OPENAI_BASE_URL") as caught:
        language_model("openai/gpt-4o-mini", {"OPENAI_BASE_URL": url})
    sentence = str(caught.value).partition("; known:")[0]
    assert re.search(told, sentence) and "pass" not in sentence


async def test_the_script_says_in_the_log_that_it_is_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with receptionist_model() as model:
        await model.warm()
    assert "a script, no language model" in caplog.text


# --- OpenAI's wire --------------------------------------------------------------------------------------------------


async def test_the_request_is_what_the_vendor_documents() -> None:
    async with openai(replace(PATIENT_LLM, temperature=0.3, tokens_max=50)) as (server, model):
        server.will(*text("Hi."), *stop())
        assert await everything(model, HOURS, END_CALL) == ["Hi."]
        (request,) = server.requests
        assert request.path == "/v1/chat/completions" and request.headers["authorization"] == f"Bearer {KEY}"
        assert request.body == {
            "model": "gpt-4o-mini",
            "messages": HOURS,
            "stream": True,
            "stream_options": {"include_usage": True},
            "tools": [END_CALL],
            "temperature": 0.3,
            "max_tokens": 50,
        }


async def test_the_first_words_arrive_while_the_rest_is_still_being_written() -> None:
    async with openai() as (server, model):
        server.will(*text("Hel", "lo"), STALL)
        reply = cast("AsyncGenerator[str | ToolCall]", model.reply(HOURS))
        assert [await anext(reply), await anext(reply)] == ["Hel", "lo"]
        await reply.aclose()


async def test_turns_share_one_connection() -> None:
    async with openai() as (server, model):
        for _ in range(3):
            server.will(*text("Hi."), *stop())
            assert await everything(model, HOURS) == ["Hi."]
        assert server.connections == 1


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7])
async def test_letters_split_between_packets_stay_whole(cut: int) -> None:
    raw = "".join([*text("नमस्ते, ", "आप कैसे हैं?"), *stop()]).encode()
    async with openai() as (server, model):
        server.will(*(raw[start : start + cut] for start in range(0, len(raw), cut)))
        assert await everything(model, HOURS) == ["नमस्ते, ", "आप कैसे हैं?"]


async def test_tool_calls_come_whole_and_in_order_however_they_were_sent() -> None:
    async with openai() as (server, model):
        server.will(
            chunk({"role": "assistant", "content": None}),
            tool_piece(0, "", id="call_a", name="look_up"),
            tool_piece(0, '{"day":'),
            tool_piece(1, "", id="call_b", name="end_call"),
            tool_piece(0, ' "Friday"}'),
            *stop("tool_calls"),
        )
        assert await everything(model, HOURS, END_CALL) == [
            ToolCall("call_a", "look_up", '{"day": "Friday"}'),
            ToolCall("call_b", "end_call", "{}"),
        ]


async def test_closing_the_reply_closes_the_socket_at_once() -> None:
    before = asyncio.all_tasks()
    async with openai() as (server, model):
        server.will(*text("Hel"), STALL)
        reply = cast("AsyncGenerator[str | ToolCall]", model.reply(HOURS))
        assert await anext(reply) == "Hel"
        started = time.monotonic()
        await reply.aclose()
        await server.closed()
        assert time.monotonic() - started < SOON_S
    await only_these_are_left(before)


@pytest.mark.parametrize("events", [[STALL], [*text("Hel"), STALL]], ids=["before the first word", "midway"])
async def test_cancelling_the_call_closes_the_socket_and_stays_a_cancel(events: list[str]) -> None:
    async with openai() as (server, model):
        server.will(*events)
        call = asyncio.create_task(everything(model, HOURS))
        await server.asked.wait()
        await asyncio.sleep(0.01)  # the first words are on their way
        started = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.closed()
        assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Rejected), (401, Rejected), (403, Rejected), (404, Rejected), (422, Rejected), (429, Busy),
        (408, Down), (500, Down), (502, Down), (503, Down), (529, Down),
    ],
)  # fmt: skip
async def test_a_refusal_is_one_of_three_errors_and_is_not_retried(status: int, error: type[ProviderError]) -> None:
    async with openai() as (server, model):
        server.will_refuse(status)
        with pytest.raises(error) as caught:
            await everything(model, HOURS)
        assert len(server.requests) == 1
        told = str(caught.value)
        assert "openai/gpt-4o-mini" in told and "some_code" in told
        assert "secret words" not in told and KEY not in told
        assert ("OPENAI_API_KEY" in told) == (status in (401, 403))
        server.will(*text("Hi."), *stop())  # the next turn finds the model usable
        assert await everything(model, HOURS) == ["Hi."]


@pytest.mark.parametrize(
    ("events", "heard", "told"),
    [
        ([STALL], [], "in time"),
        ([*text("Hel"), STALL], ["Hel"], "in time"),
        ([chunk({"role": "assistant", "content": ""}), STALL], [], "in time"),
        ([*text("Hel"), CLOSE], ["Hel"], "closed the connection"),
        ([CLOSE], [], "closed the connection"),
        ([*text("Hel")], ["Hel"], "ended before the reply did"),
        ([*text("Hel"), "data: {oops\n\n"], ["Hel"], "malformed"),
        ([*text("Hel"), chunk({"content": {"a": 1}})], ["Hel"], "malformed"),
        ([*text("Hel"), b"data: \xff\xfe\n\n"], ["Hel"], "malformed"),
        ([*text("Hel"), 'data: {"error": {"message": "secret words"}}\n\n'], ["Hel"], "malformed"),
        ([tool_piece(0, "x" * 40_000, id="c", name="n")], [], "no end"),
    ],
)  # fmt: skip
async def test_a_broken_stream_is_down_after_what_was_said(events: list[Any], heard: list[str], told: str) -> None:
    before = asyncio.all_tasks()
    said = []
    async with openai(BRIEF_LLM if told == "in time" else PATIENT_LLM) as (server, model):
        server.will(*events)
        with pytest.raises(Down) as caught:
            async for piece in model.reply(HOURS):
                said.append(piece)
        assert said == heard
        assert told in str(caught.value) and "secret words" not in str(caught.value)
        error = caught.value  # a logged traceback must not quote the vendor either
        assert error.__suppress_context__ or error.__context__ is None
    await only_these_are_left(before)


async def test_comments_and_empty_chunks_do_not_keep_a_silent_model_alive() -> None:
    async with openai(BRIEF_LLM) as (server, model):
        server.will(
            *text("Hel"),
            *([": ping\n\n", chunk({"content": ""}), chunk(None), PAUSE] * (4 * round(BRIEF_LLM.gap_s / PAUSE_S))),
        )
        with pytest.raises(Down, match="in time"):  # at its end the stream would be "ended before the reply did"
            await everything(model, HOURS)


@pytest.mark.parametrize("tail", [[STALL], [CLOSE], ["data: {oops\n\n"]])
async def test_a_reply_that_is_complete_is_not_spoilt_by_what_follows(tail: list[str]) -> None:
    async with openai() as (server, model):
        server.will(*text("Hi."), chunk({}, "stop"), *tail)
        assert await everything(model, HOURS) == ["Hi."]


async def test_a_reply_without_end_is_cut() -> None:
    async with openai() as (server, model):
        server.will(*text(*["word " * 100] * 100), STALL)
        said = "".join(await everything(model, HOURS))
        assert 20_000 < len(said) < 21_000


async def test_nobody_listens() -> None:
    async with standing_in() as server:
        url = server.url
    model = OpenAIChat("gpt-4o-mini", key="", url=url, options=BRIEF_LLM)
    with pytest.raises(Down, match="cannot be reached"):
        await everything(model, HOURS)
    await model.warm()  # a vendor that is down does not stop the process from starting
    await model.aclose()


async def test_warming_up_finds_a_bad_key_and_leaves_a_connection() -> None:
    async with openai() as (server, model):
        server.will_refuse(401)
        with pytest.raises(Rejected, match="OPENAI_API_KEY"):
            await model.warm()
        server.will(*text("Yes."), *stop())
        await model.warm()
        opened = server.connections
        server.will(*text("Hi."), *stop())
        assert await everything(model, HOURS) == ["Hi."]
        assert [request.path for request in server.requests][-2:] == ["/v1/chat/completions"] * 2
        assert server.connections == opened, "the first reply uses the connection of the rehearsal"
