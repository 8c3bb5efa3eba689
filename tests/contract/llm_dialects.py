"""Servers that speak OpenAI's chat completions with an accent, one row each, as their documents and issues show them.

Each row is what one server refuses, in its own words, and with which answer.  By hand from what was seen on the wire.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from simulators.openai_standin import OpenAIStandin, Reply, Request, standing_in, stop, text
from tests.contract.deadlines import PATIENT_LLM
from workers.llm.engines.openai_chat import ChatOptions, OpenAIChat
from workers.providers.interfaces import ProviderError

Refuses = Callable[[dict[str, Any]], bool]
END_CALL = {"type": "function", "function": {"name": "end_call", "description": "Hang up.", "parameters": {}}}
GREETED = [
    {"role": "system", "content": "You work for a clinic."},
    {"role": "assistant", "content": "Hello, this is the clinic."},
    {"role": "user", "content": "When do you open?"},
]


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def not_in_turns(body: dict[str, Any]) -> bool:
    """Mistral's templates: after an optional system message the user begins, and then it is everybody's turn."""
    turns = roles(body)[1:] if roles(body)[0] == "system" else roles(body)
    return any(role != ("user", "assistant")[place % 2] for place, role in enumerate(turns)) or turns[-1] != "user"


def has_system(body: dict[str, Any]) -> bool:
    return "system" in roles(body)


def sends(*names: str) -> Refuses:
    return lambda body: any(name in body for name in names)


def openai_error(status: int, message: str, **more: Any) -> Reply:
    return Reply(
        status=status, body=json.dumps({"error": {"message": message, "type": "invalid_request_error", **more}})
    )


def vllm_error(message: str) -> Reply:
    return Reply(
        status=400, body=json.dumps({"object": "error", "message": message, "type": "BadRequestError", "code": 400})
    )


def forbidden(*fields: str) -> Reply:
    """Pydantic's refusal, as Mistral's API sends it; it quotes what was sent."""
    detail = [
        {"type": "extra_forbidden", "loc": ["body", field], "msg": "Extra inputs are not permitted", "input": {"a": 1}}
        for field in fields
    ]
    return Reply(status=422, body=json.dumps({"object": "error", "message": {"detail": detail}, "code": "1"}))


MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
AUTO = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
LLAMA_CPP = "After the optional system message, conversation roles must alternate user and assistant roles at row 189"
DIALECTS: dict[str, list[tuple[Refuses, Reply]]] = {
    "OpenAI": [],
    "vLLM with Mistral 7B": [(not_in_turns, vllm_error(ALTERNATE)), (has_system, vllm_error(ALTERNATE))],
    "vLLM with Mistral Small": [(not_in_turns, vllm_error(ALTERNATE))],
    "vLLM with Gemma": [(has_system, vllm_error("System role not supported")), (not_in_turns, vllm_error(ALTERNATE))],
    "vLLM without a tool parser": [(sends("tools"), vllm_error(AUTO))],
    "Azure with gpt-5": [
        (sends("max_tokens"), openai_error(400, MAX_TOKENS, param="max_tokens", code="unsupported_parameter")),
        (
            sends("temperature"),
            openai_error(
                400,
                "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default is supported.",
                param="temperature",
                code="unsupported_value",
            ),
        ),
    ],
    "OpenAI's o1-mini": [
        (sends("max_tokens"), openai_error(400, MAX_TOKENS, param="max_tokens")),
        (
            has_system,
            openai_error(400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        ),
        (sends("tools"), openai_error(400, "Unsupported parameter: 'tools' is not supported with this model.")),
    ],
    "a proxy that knows neither bound": [
        (sends("max_tokens", "max_completion_tokens"), openai_error(400, "Unrecognized request argument: max_tokens")),
    ],
    "OpenAI for an organisation that is not verified": [
        (
            sends("stream"),
            openai_error(400, "Your organization must be verified to stream this model.", param="stream"),
        ),
    ],
    "o1-pro": [
        (sends("stream"), openai_error(400, "Unsupported value: 'stream' does not support true with this model.")),
    ],
    "Mistral's API": [(sends("stream_options"), forbidden("stream_options"))],
    "an older Azure": [
        (sends("stream_options"), openai_error(400, "Unrecognized request argument supplied: stream_options")),
    ],
    "Groq": [(sends("stream_options"), openai_error(400, "property 'stream_options' is unsupported"))],
    "Ollama without tools": [
        (sends("tools"), openai_error(400, "registry.ollama.ai/library/gemma2:2b does not support tools")),
    ],
    "llama.cpp without --jinja": [(sends("tools"), openai_error(500, "tools param requires --jinja flag", code=500))],
    "an older llama.cpp": [(sends("tools"), openai_error(500, "Unsupported param: tools", code=500))],
    "llama.cpp with Devstral": [(not_in_turns, openai_error(500, LLAMA_CPP, code=500))],
    "llama.cpp with Ministral": [
        (has_system, openai_error(500, "Only user, assistant and tool roles are supported, got system.", code=500)),
    ],
    "llama.cpp with Qwen 3.5": [
        (lambda body: "system" in roles(body)[1:], openai_error(500, "System message must be at the beginning.")),
    ],
    "OpenRouter": [(sends("tools"), openai_error(404, "No endpoints found that support tool use.", code=404))],
    "LM Studio": [
        (has_system, Reply(['event: error\ndata: {"error": {"message": "Error rendering prompt with jinja template: '
                            'Only user and assistant roles are supported!"}}\n\n'])),
    ],
    "text-generation-inference": [
        (has_system, Reply(status=422, body=json.dumps({"error": "Template error: System role not supported"}))),
    ],
    "llama-cpp-python": [
        (
            sends("stream_options", "tools"),
            Reply(
                status=422,
                body=json.dumps({"detail": [
                    {"loc": ["body", "stream_options"], "msg": "extra fields not permitted", "type": "extra"},
                    {"loc": ["body", "tools"], "msg": "extra fields not permitted", "type": "extra"},
                ]}),
            ),
        ),
    ],
    "everything at once": [
        (sends("stream_options"), forbidden("stream_options")),
        (sends("tools"), openai_error(400, "tools are not supported")),
        (sends("max_tokens"), openai_error(400, MAX_TOKENS)),
        (sends("temperature"), openai_error(400, "temperature is not supported")),
        (has_system, openai_error(400, "System role not supported")),
        (not_in_turns, openai_error(400, ALTERNATE)),
    ],
}  # fmt: skip


def speaking(
    rules: list[tuple[Refuses, Reply]], words: tuple[str, ...] = ("At ", "nine.")
) -> Callable[[Request], Reply]:
    """A server of that dialect."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("/models"):
            return Reply(status=404, body='{"detail": "Not Found"}')
        for refuses, refusal in rules:
            if refuses(request.body):
                return refusal
        if not request.body.get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            return Reply(body=json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
        return Reply([*text(*words), *stop()])

    return answer


@asynccontextmanager
async def serving(
    rule: Callable[[Request], Reply | None],
    *,
    model: str = "some-model",
    path: str = "/v1",
    options: ChatOptions | None = None,
) -> AsyncIterator[tuple[OpenAIStandin, OpenAIChat]]:
    async with standing_in() as server:
        server.rule = rule
        url = server.url.removesuffix("/v1") + path
        chat = OpenAIChat(model, key="", url=url, options=options or replace(PATIENT_LLM, temperature=0.3))
        try:
            yield server, chat
        finally:
            await chat.aclose()


async def words_of(chat: OpenAIChat, said: str = "") -> str:
    return "".join([piece async for piece in chat.reply(GREETED, [END_CALL], said) if isinstance(piece, str)])


async def failure(chat: OpenAIChat) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await words_of(chat)
    return caught.value
