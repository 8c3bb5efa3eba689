"""Simulates OpenAI's chat completions: the same dialogue always gets the same answer, at a steady pace of tokens.

    POST /v1/chat/completions    server-sent events, or one JSON document without `stream`
    GET /v1/models               by which adapters check a key

Source: the vendor's API reference, "Chat completions" and "Streaming".  The answer is chosen by how often the user has
spoken in the request, so that a repeated request (a failover, a takeover) gets the same answer.  `{said}` in an answer
is the user's last speech.  A user message in round brackets is a stage direction, not speech.

An answer may call a tool; what follows it (`Answer.then`) is chosen by what the tool has returned.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from simulators.providers.faults import RETRY_AFTER_S, SLOW_S, Fault, Faults

REQUESTS_KEPT = 1_000
STALL_S_MAX = 600.0
"""Time after which a stalled answer ends, even if the client still waits."""
GONE = 499
"""Reply to a client that disconnected before its request was complete; it is never read."""
_ERRORS = {401: "invalid_api_key", 429: "rate_limit_exceeded", 503: "server_error", 400: "invalid_request_error"}


LATE_RESULT = re.compile(r"\[\w+ has returned: (.*)\]", re.DOTALL)
"""A result that came after its reply, as our LLM worker tells it: a message of the user that nobody said."""
NO_RESULT_YET = "There is no result yet"
"""How the placeholder of such a result begins."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The text, and the tool that is called after it ("" for none)."""

    text: str
    tool: str = ""
    arguments: str = "{}"
    """JSON text of the tool's arguments."""
    then: tuple[Answer, ...] = ()
    """The answers to the tool's result: the first one whose `given` is part of it, else the last one.  `{result}` in
    its text is the result; an answer may call a tool again."""
    given: str = ""


ECHO = (
    Answer("You said: {said}. I have noted that, and I will pass it on. Is there anything else?"),
    Answer("Thank you, I understood {said}. Let me see what I can do. One moment, please."),
)


@dataclass(frozen=True, slots=True)
class ChatTiming:
    """Time from the request to the first token, and between tokens; network latency comes on top."""

    first_token_ms: float = 150.0
    tokens_per_s: float = 60.0

    def token_s(self, number: int) -> float:
        """Return the time in s from the request to token `number`, counted from 0."""
        return self.first_token_ms / 1000 + number / self.tokens_per_s


@dataclass(slots=True)
class OpenAIChatStandin:
    """The stand-in: mount `routes` in an application.  `requests` holds the requests, the newest last."""

    answers: Sequence[Answer] = ECHO
    pace: ChatTiming = field(default_factory=ChatTiming)
    key: str = "sk-fake"
    faults: Faults = field(default_factory=Faults)
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=REQUESTS_KEPT))
    open: int = 0
    """Answers that are being sent."""
    completed: int = 0
    aborted: int = 0
    """Answers that the client or a fault broke off."""

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
        ]

    async def _models(self, request: Request) -> Response:
        if not self._has_key(request):
            return refused(401)
        return JSONResponse({"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model", "created": 1}]})

    async def _complete(self, request: Request) -> Response:
        began = asyncio.get_running_loop().time()
        fault = self.faults.next()
        if not self._has_key(request):
            return refused(401)
        if fault is not None and fault.status:
            return refused(fault.status)
        try:
            asked = json.loads(await request.body())
            messages = [message for message in asked["messages"] if isinstance(message, dict)]
        except ClientDisconnect:
            return Response(status_code=GONE)
        except (ValueError, KeyError, TypeError):
            return refused(400)
        self.requests.append(asked)
        answer = self.answer(messages)
        if asked.get("stream"):
            return StreamingResponse(self._counted(self._events(asked, answer, began, fault)), headers=_SSE)
        await asyncio.sleep(self.pace.token_s(len(tokens(answer.text))))
        return JSONResponse(_document(asked, answer))

    def answer(self, messages: Sequence[Mapping[str, Any]]) -> Answer:
        """Return the answer to this dialogue."""
        prompts, results = prompts_and_results(messages)
        chosen = self.answers[max(0, len(prompts) - 1) % len(self.answers)]
        for result in results:
            if chosen.then:
                chosen = next((each for each in chosen.then if each.given in result), chosen.then[-1])
        text = chosen.text.replace("{said}", prompts[-1] if prompts else "nothing")
        return replace(chosen, text=text.replace("{result}", results[-1] if results else "nothing"))

    async def _counted(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        """Count answers, also those of a client that disconnects: its generator is closed."""
        whole = False
        self.open += 1
        try:
            async for event in events:
                yield event
            whole = True
        finally:
            self.open -= 1
            self.completed += whole
            self.aborted += not whole

    async def _events(
        self, asked: dict[str, Any], answer: Answer, began: float, fault: Fault | None
    ) -> AsyncIterator[str]:
        """Send the events at their times, counted from the request: a late token delays none after it."""
        now = asyncio.get_running_loop().time
        words = tokens(answer.text)
        for number, event in enumerate(chat_events(asked, answer)):
            if fault is not None and number >= fault.after:
                match fault.kind:
                    case "close":
                        raise ConnectionResetError("the scripted end of a connection")
                    case "stall" | "half-dead":
                        await asyncio.sleep(STALL_S_MAX)
                    case "malformed":
                        yield "data: {no JSON\n\n"
                    case "slow":
                        await asyncio.sleep(SLOW_S)
                    case "no final" if number > len(words):
                        return
            await asyncio.sleep(max(0.0, began + self.pace.token_s(min(max(0, number - 1), len(words))) - now()))
            yield event

    def _has_key(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"


def prompts_and_results(messages: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """(what the user has said, what tools have returned since), both in order."""
    prompts: list[str] = []
    results: list[str] = []
    for message in messages:
        content = str(message.get("content") or "")
        late = LATE_RESULT.fullmatch(content)
        match message.get("role"):
            case "tool" if not content.startswith(NO_RESULT_YET):
                results.append(content)
            case "user" if late is not None:
                results.append(late[1])
            case "user" if not (content.startswith("(") and content.endswith(")")):
                prompts.append(content)
                results = []
    return prompts, results


_SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


def tokens(text: str) -> list[str]:
    """Cut the text into pieces of about four characters, as models do; joined they are the text again."""
    return re.findall(r"\s?\S{1,5}|\s", text)


def chat_events(asked: Mapping[str, Any], answer: Answer) -> list[str]:
    """Return all events of an answer: the role, each token, the tool, the reason, the usage, the end."""
    words = tokens(answer.text)
    events = [
        _event(asked, {"role": "assistant", "content": ""}),
        *(_event(asked, {"content": word}) for word in words),
    ]
    if answer.tool:
        events.append(_event(asked, {"tool_calls": [{"index": 0, **_tool_call(answer)}]}))
    events.append(_event(asked, {}, "tool_calls" if answer.tool else "stop"))
    if (asked.get("stream_options") or {}).get("include_usage"):
        events.append(_event(asked, None, usage=_usage(asked, words)))
    return [*events, "data: [DONE]\n\n"]


def _tool_call(answer: Answer) -> dict[str, Any]:
    function = {"name": answer.tool, "arguments": answer.arguments}
    return {"id": "call_1", "type": "function", "function": function}


def _event(asked: Mapping[str, Any], delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": asked.get("model", "")}
    return f"data: {json.dumps({**head, 'choices': choices, **more}, ensure_ascii=False)}\n\n"


def _usage(asked: Mapping[str, Any], words: list[str]) -> dict[str, Any]:
    used = sum(len(tokens(str(message.get("content") or ""))) for message in asked["messages"])
    return {
        "prompt_tokens": used,
        "completion_tokens": len(words),
        "total_tokens": used + len(words),
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _document(asked: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.tool:
        message["tool_calls"] = [_tool_call(answer)]
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1,
        "model": asked.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if answer.tool else "stop"}],
        "usage": _usage(asked, tokens(answer.text)),
    }


def refused(status: int) -> JSONResponse:
    """Return an error in the vendor's form."""
    headers = {"retry-after": str(RETRY_AFTER_S)} if status == 429 else None
    body = {"error": {"message": "a scripted refusal", "type": "fake", "code": _ERRORS.get(status)}}
    return JSONResponse(body, status, headers)
