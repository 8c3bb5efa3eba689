"""Servers that stream in their own way: what is not about the words changes no word, and only words are spoken."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from simulators.openai_standin import CLOSE, END, STALL, USAGE, Reply, chunk, standing_in, stop, text, tool_piece
from tests.contract.deadlines import BRIEF_LLM, PATIENT_LLM
from tests.deadlines import SOON_S
from workers.llm.engines.openai_chat import ChatOptions, OpenAIChat
from workers.providers.interfaces import Busy, Down, Retracted, TextComplete, TokensUsed, ToolCall

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

END_CALL = {"type": "function", "function": {"name": "end_call", "description": "Hang up.", "parameters": {}}}
HOURS = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "When do you open?"}]
CALL = ToolCall("call_1", "end_call", "{}")
DONE = "data: [DONE]\n\n"
BEFORE_BILL_S = 0.7
"""Below the second that the bill is waited for."""


async def replied(
    *events: str | bytes, body: str = "", options: ChatOptions = PATIENT_LLM
) -> tuple[str, list[ToolCall]]:
    """(the words, the tool calls) of a reply with these events, or with this whole document."""
    async with standing_in() as server:
        server.rule = lambda request: Reply(list(events), body=body)
        model = OpenAIChat("some-model", key="", url=server.url, options=options)
        words, calls = "", []
        try:
            async for piece in model.reply(HOURS, [END_CALL]):
                match piece:
                    case str():
                        words += piece
                    case ToolCall():
                        calls.append(piece)
                    case Retracted():
                        words = ""
        finally:
            await model.aclose()
    return words, calls


def raw(**document: Any) -> str:
    return f"data: {json.dumps(document)}\n\n"


def said(content: Any, **choice: Any) -> str:
    """A chunk with nothing but its content."""
    return raw(choices=[{"delta": {"content": content}, **choice}])


COSMETIC = {
    "finish_reason is empty in each chunk": [said("At ", finish_reason=""), said("nine.", finish_reason=""), *stop()],
    "finish_reason is the word null": [said("At ", finish_reason="null"), said("nine.", finish_reason="stop")],
    "finish_reason in each chunk": [said("At ", finish_reason="stop"), said("nine.", finish_reason="stop"), DONE],
    "only [DONE] ends it": [*text("At ", "nine."), DONE],
    "[DONE] without its blank line": [*text("At ", "nine."), "data: [DONE]"],
    "no [DONE]": [*text("At ", "nine."), chunk({}, "stop")],
    "the last event without its blank line": [*text("At "), said("nine.", finish_reason="stop").strip()],
    "blocks of text": [said([{"type": "text", "text": "At "}]), said([{"type": "text", "text": "nine."}]), *stop()],
    "a block of reasoning": [
        said([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]),
        said([{"type": "text", "text": "At nine."}]),
        *stop(),
    ],
    "one block": [said({"type": "text", "text": "At nine."}), *stop()],
    "a list of texts": [said(["At ", "nine."]), *stop()],
    "error: null": [raw(error=None, choices=[{"delta": {"content": "At nine."}}]), *stop()],
    "error: {}": [raw(error={}, choices=[{"delta": {"content": "At nine."}}]), *stop()],
    "choices: null at the head": [raw(choices=None), *text("At nine."), *stop()],
    "no choices at the head": [raw(prompt_filter_results=[{"prompt_index": 0}]), *text("At nine."), *stop()],
    "a choice that is none": [raw(choices=[7]), *text("At nine."), *stop()],
    "delta: null": [raw(choices=[{"delta": None}]), *text("At nine."), *stop()],
    "an index as text": [said("At nine.", index="0"), *stop()],
    "no index, or null": [said("At ", index=None), said("nine."), *stop()],
    "usage with nulls": [chunk({"content": "At nine."}, "stop", usage={"prompt_tokens": None, "total_tokens": "3"})],
    "usage that is none": [chunk({"content": "At nine."}, usage="free"), chunk({}, "stop", usage=[]), DONE],
    "usage with odd details": [chunk({"content": "At nine."}, "stop", usage={**USAGE, "prompt_tokens_details": []})],
    "tool_calls: null": [chunk({"content": "At nine.", "tool_calls": None, "function_call": None}), *stop()],
    "tool_calls: []": [chunk({"content": "At nine.", "tool_calls": []}), *stop()],
    "a tool call that is none": [chunk({"content": "At nine.", "tool_calls": [None, 7, {"function": None}]}), *stop()],
    "a tool call without a name": [*text("At nine."), tool_piece(0, "{}"), *stop("tool_calls")],
    "content: null": [chunk({"role": "assistant", "content": None, "refusal": None}), *text("At nine."), *stop()],
    "reasoning beside the content": [chunk({"content": "", "reasoning_content": "Hm."}), *text("At nine."), *stop()],
    "reasoning in its newer field": [chunk({"content": None, "reasoning": "Hm."}), *text("At nine."), *stop()],
    "events that are no chunks": [
        ": comment\n\n", "event: ping\ndata: {}\n\n", "data: null\n\n", 'data: "ping"\n\n', "data: []\n\n", "data:\n\n",
        "retry: 100\n\n", *text("At nine."), *stop(),
    ],
    "lines that end in CR LF": [each.replace("\n", "\r\n") for each in [*text("At nine."), *stop()]],
    "no blank lines": [each.replace("\n\n", "\n") for each in [*text("At ", "nine."), *stop()]] + ["\n"],
    "no space behind data:": [each.replace("data: ", "data:") for each in [*text("At nine."), *stop()]],
    "a fault behind the end": [*text("At nine."), chunk({}, "stop"), 'data: {"error": {"message": "late"}}\n\n'],
    "nonsense behind the end": [*text("At nine."), chunk({}, "stop"), "data: {oops\n\n"],
    "a connection that breaks behind the end": [*text("At nine."), chunk({}, "stop"), CLOSE],
    "words behind the end": [*text("At "), chunk({}, "stop"), *text("nine."), *END],
}  # fmt: skip


@pytest.mark.parametrize("events", COSMETIC.values(), ids=COSMETIC)
async def test_what_does_not_touch_the_words_changes_none_of_them(events: list[str]) -> None:
    assert await replied(*events) == ("At nine.", [])


TOOLS = {
    "arguments as an object": chunk(
        {"tool_calls": [{"id": "call_1", "function": {"name": "end_call", "arguments": {}}}]}
    ),
    "arguments: null": chunk({"tool_calls": [{"id": "call_1", "function": {"name": "end_call", "arguments": None}}]}),
    "no index": chunk({"tool_calls": [{"id": "call_1", "function": {"name": "end_call", "arguments": "{}"}}]}),
    "an index as text": chunk({"tool_calls": [{"index": "1", "id": "call_1", "function": {"name": "end_call"}}]}),
    "one instead of a list": chunk({"tool_calls": {"index": 0, "id": "call_1", "function": {"name": "end_call"}}}),
    "a leaked token in the name": tool_piece(0, "{}", id="call_1", name="end_call<|channel|>commentary"),
    "a room before the name": tool_piece(0, "{}", id="call_1", name="functions.end_call"),
    "the name outside": chunk({"tool_calls": [{"id": "call_1", "name": "end_call", "arguments": "{}"}]}),
}  # fmt: skip


@pytest.mark.parametrize("event", TOOLS.values(), ids=TOOLS)
async def test_a_tool_call_is_understood_however_it_is_written(event: str) -> None:
    assert await replied(*text("Bye!"), event, *stop("tool_calls")) == ("Bye!", [CALL])


async def test_the_function_call_of_old_is_one_too() -> None:
    event = chunk({"function_call": {"name": "end_call", "arguments": "{}"}})
    words, (call,) = await replied(*text("Bye!"), event, *stop("function_call"))
    assert (words, call.name, call.arguments) == ("Bye!", "end_call", "{}")


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "At nine."}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "At nine."}]}}]},
    ],
)
async def test_a_server_that_does_not_stream_is_understood(document: dict[str, Any]) -> None:
    assert await replied(body=json.dumps(document)) == ("At nine.", [])


@pytest.mark.parametrize(
    "events",
    [
        [*text("At nine"), CLOSE], [*text("At nine"), "data: {oops\n\n"], [*text("At nine"), chunk({"content": 9})],
        [*text("At nine"), raw(error={"message": "overloaded"})], [*text("At nine"), b"data: \xff\n\n"],
        text("At nine"),
        [*text("At nine"), tool_piece(0, "x" * 40_000, id="c", name="n")],
    ],
    ids=["a break", "half a chunk", "words that are none", "an error", "no text", "no end", "endless arguments"],
)  # fmt: skip
async def test_words_that_were_received_come_before_the_fault(events: list[Any]) -> None:
    async with standing_in() as server:
        server.will(*events)
        model = OpenAIChat("some-model", key="", url=server.url, options=PATIENT_LLM)
        words = ""
        with pytest.raises(Down):
            async for piece in model.reply(HOURS):
                words += piece if isinstance(piece, str) else ""
        await model.aclose()
    assert words == "At nine"


# --- the end of the words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [[STALL], [DONE, STALL], [": ping\n\n", STALL]])
async def test_the_end_of_the_words_is_told_at_once_and_not_with_the_bill(tail: list[str]) -> None:
    async with standing_in() as server:
        server.will(*text("We open", " at nine."), chunk({}, "stop"), *tail)
        model = OpenAIChat("some-model", key="", url=server.url, options=PATIENT_LLM)
        pieces = model.reply(HOURS)
        assert [await anext(pieces), await anext(pieces)] == ["We open", " at nine."]
        async with asyncio.timeout(BEFORE_BILL_S):
            assert await anext(pieces) == TextComplete("stop")
        await pieces.aclose()
        await model.aclose()


async def test_a_server_whose_finish_reason_means_nothing_is_not_believed_again() -> None:
    odd = [said("We open ", finish_reason="stop"), said("at nine.", finish_reason="stop"), *END]
    async with standing_in() as server:
        model = OpenAIChat("some-model", key="", url=server.url, options=PATIENT_LLM)
        for turn in range(2):
            server.will(*odd)
            pieces = [piece async for piece in model.reply(HOURS)]
            assert "".join(piece for piece in pieces if isinstance(piece, str)) == "We open at nine."
            assert (TextComplete("stop") in pieces) == (turn == 0)
            assert pieces[-1] == TokensUsed(9, 0, 3)
        await model.aclose()


# --- what is not speech ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["<think>The caller asks.", " I say nine.</think>", "At nine."],
        ["The caller asks. ", "I say nine.\n</th", "ink>\n\n", "At nine."],
        ["<|channel|>", "analysis", "<|message|>", "Hm.<|end|><|start|>assistant<|channel|>final<|message|>At nine."],
        ["At ", "nine.", "<|im_", "end|>"],
        ["At nine.<|eot_id|><|start_header_id|>user<|end_header_id|>", "And on Sunday?"],
    ],
)  # fmt: skip
async def test_only_speech_is_spoken_by_a_server_that_nobody_knows(words: list[str]) -> None:
    said_, calls = await replied(*text(*words), *stop())
    assert (said_.strip(), calls) == ("At nine.", [])


@pytest.mark.parametrize(
    "words",
    [["<function=", "end_call>", "</function>"], ['{"name": "end_', 'call", "parameters": {}}'], ["[end_call", "()]"],
     ["<tool_call>\n", '{"name": "end_call"}', "\n</tool_call>"], ["end", "_call", "()"]],
)  # fmt: skip
async def test_a_known_tool_that_is_written_as_text_is_called(words: list[str]) -> None:
    said_, (call,) = await replied(*text("Goodbye!\n", *words), *stop())
    assert (said_.strip(), call.name, call.arguments) == ("Goodbye!", "end_call", "{}")


async def test_what_is_written_and_called_is_called_once() -> None:
    events = [*text("Goodbye! end_call()"), tool_piece(0, "{}", id="call_1", name="end_call"), *stop("tool_calls")]
    assert await replied(*events) == ("Goodbye! ", [CALL])


async def test_a_server_that_begins_in_its_reasoning_is_known_by_its_first_reply(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with standing_in() as server:
        model = OpenAIChat("some-model", key="", url=server.url)
        server.will_refuse(404)
        server.will(*text("They ask. ", "I say yes.</think>", "Yes."), *stop())
        await model.warm()
        server.will(*text("They ask. ", "I say nine. "), *text("</think>", "At nine."), STALL)
        pieces = model.reply(HOURS)
        assert await anext(pieces) == "At nine.", "nothing of it came before, and nothing waits for the end"
        await pieces.aclose()
        await model.aclose()
    assert sum("begins its replies with reasoning" in record.message for record in caplog.records) == 1


async def test_a_first_reply_that_was_cut_short_says_nothing_of_the_server() -> None:
    async with standing_in() as server:
        model = OpenAIChat("some-model", key="", url=server.url)
        server.will_refuse(404)
        server.will(*text("They ask if I can hear them. Well, "), *stop("length"))
        await model.warm()
        server.will(*text("They ask. I say nine. ", "</think>", "At nine."), *stop())
        assert [piece async for piece in model.reply(HOURS) if isinstance(piece, str)] == ["At nine."]
        await model.aclose()


async def test_a_rate_limit_within_the_stream_is_one() -> None:
    with pytest.raises(Busy):
        await replied(raw(error={"code": 429, "message": "slow down"}))


async def test_an_unknown_server_that_is_slow_is_held_back_for_a_moment_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with standing_in() as server:
        model = OpenAIChat("some-model", key="", url=server.url, options=PATIENT_LLM)
        server.will(*text("At ", "nine."), STALL)
        pieces = model.reply(HOURS)
        async with asyncio.timeout(SOON_S):
            assert [await anext(pieces), await anext(pieces)] == ["At ", "nine."]
        await pieces.aclose()
        await model.aclose()


async def test_a_model_that_only_reasons_is_told_to_be_one() -> None:
    with pytest.raises(Down, match="turn its reasoning off"):
        await replied(*text("<think>", "Hm. "), STALL, options=BRIEF_LLM)
