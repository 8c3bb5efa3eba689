"""An agent is answered by every server that speaks OpenAI's chat completions, whatever its accent (`llm_dialects.py`).

A refusal must be met once in the life of a process, and one line of the log must say what is different.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulators.openai_standin import Reply
from tests.contract.llm_dialects import (
    DIALECTS,
    END_CALL,
    GREETED,
    failure,
    has_system,
    openai_error,
    serving,
    speaking,
    words_of,
)
from workers.providers.interfaces import Rejected, ToolCall

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

every_dialect = pytest.mark.parametrize("rules", DIALECTS.values(), ids=DIALECTS)


@every_dialect
async def test_every_server_answers_an_agent_that_has_greeted(rules: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(speaking(rules)) as (server, chat):
        await chat.warm()
        met = len(server.requests)
        lines = [record.message for record in caplog.records]
        assert [await words_of(chat), await words_of(chat)] == ["At nine."] * 2
        assert len(server.requests) == met + 2, "what it refused was met while warming up, and never again"
        assert [record.message for record in caplog.records] == lines
        # The look-up, the request that was accepted, and one for each line of the log.
        assert met == 2 + len(lines)


@every_dialect
async def test_a_server_that_was_away_at_the_start_is_learnt_in_its_first_reply(rules: Any) -> None:
    async with serving(speaking(rules)) as (server, chat):
        assert await words_of(chat) == "At nine."
        met = len(server.requests)
        assert await words_of(chat) == "At nine."
        assert len(server.requests) == met + 1


@every_dialect
async def test_a_reply_that_broke_off_is_gone_on_with_at_every_server(rules: Any) -> None:
    async with serving(speaking(rules, ("at nine.",))) as (server, chat):
        assert await words_of(chat, "We open") == "at nine."
        messages = server.requests[-1].body["messages"]
        assert messages[-2] == {"role": "assistant", "content": "We open"}
        assert "You work for a clinic." in messages[0]["content"], "the instructions are there, wherever they stand"


async def test_a_model_without_tools_is_told_of_them_and_can_still_hang_up() -> None:
    words = ("Goodbye!", '\n<tool_call>{"name": "end_call", "arguments": {}}</tool_call>')
    async with serving(speaking(DIALECTS["Ollama without tools"], words)) as (server, chat):
        pieces = [piece async for piece in chat.reply(GREETED, [END_CALL])]
        assert "end_call" in server.requests[-1].body["messages"][0]["content"]
        assert [piece.name for piece in pieces if isinstance(piece, ToolCall)] == ["end_call"]


async def test_what_the_caller_said_is_no_refusal_of_a_field() -> None:
    """Some servers quote the request in their refusals."""
    quoted = {
        "detail": [{"loc": ["body", "messages"], "msg": "bad", "input": "which tools? what temperature? max_tokens?"}]
    }
    async with serving(lambda request: Reply(status=422, body=json.dumps(quoted))) as (server, chat):
        assert isinstance(await failure(chat), Rejected)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        openai_error(400, "This model's maximum context length is 4096 tokens.", code="context_length_exceeded"),
        openai_error(400, "The response was filtered due to the prompt triggering Azure's content management policy."),
        openai_error(400, "something else"),
        openai_error(500, "CUDA error"),
    ],
)
async def test_what_is_the_dialogues_fault_changes_nothing(reply: Reply) -> None:
    async with serving(lambda request: reply) as (server, chat):
        await failure(chat)
        assert len(server.requests) == 1
        server.rule = speaking([])
        assert await words_of(chat) == "At nine."
        body = server.requests[-1].body
        assert {"tools", "stream_options", "max_tokens", "temperature"} <= set(body) and has_system(body)
