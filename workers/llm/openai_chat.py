"""`openai/<model>`: OpenAI's chat completions, and every server that speaks them (vLLM, llama.cpp, Ollama, …).

One object serves all calls of a process; its connections are kept alive between turns.  Nothing is retried here: the
next provider in the list is tried instead, which is quicker than waiting for this one.

    429 -> Busy      other 4xx, but 408 -> Rejected      5xx, 408, no connection, a deadline, a broken stream -> Down

What the vendor writes in an error is not passed on: it may quote the dialogue or a part of the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import openai

from workers.llm.sse import Events
from workers.openai_http import ERRORS, http
from workers.providers import Busy, ChatMessage, Down, Piece, ProviderError, Rejected, TokensUsed, ToolCall

OPENAI_URL = "https://api.openai.com/v1"
CONNECTIONS_MAX = 1_000
KEEPALIVE_S = 30.0  # the client's own 5 s would drop the connection between two turns: a TLS handshake for each
CLOSE_S = 1.0
TAIL_S = 1.0
"""After the reply is complete the usage may still come: so long is waited for it."""
GO_ON = (
    "The connection broke while you spoke the message above. Go on exactly where it stops, in the middle of the "
    "sentence if need be. Do not repeat any of it, and do not mention the break. If nothing is missing, say nothing."
)
"""Follows the beginning of a reply that another request made: what comes next must fit behind it."""
REPLY_CHARS_MAX = 20_000
TOOL_CALLS_MAX = 16
ARGUMENTS_CHARS_MAX = 32_000


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How to ask, and how long to wait (seconds)."""

    temperature: float | None = None
    """None leaves it to the model; the reasoning models accept nothing else."""
    tokens_max: int | None = 600
    connect_s: float = 2.0
    first_token_s: float = 4.0
    """From the request to the first words, connecting included."""
    gap_s: float = 3.0
    """From words to words."""


@dataclass(slots=True)
class _Call:
    """A tool call, of which pieces still come."""

    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class _Piece:
    """One chunk of the stream, understood."""

    text: str = ""
    calls: list[_Call] = field(default_factory=list)
    indexes: list[int | None] = field(default_factory=list)
    finished: bool = False
    used: TokensUsed | None = None


class OpenAIChat:
    """A `LanguageModel`.  `key` may be empty for servers that want none."""

    def __init__(self, model: str, *, key: str, url: str = OPENAI_URL, options: ChatOptions | None = None) -> None:
        self._model = model
        self._options = options = options or ChatOptions()
        limits = http.Limits(
            max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_S
        )
        self._client = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=url,
            max_retries=0,
            # Whole deadlines are kept below; these bound what the loop cannot see, such as one connection attempt.
            timeout=openai.Timeout(max(options.first_token_s, options.gap_s), connect=options.connect_s),
            http_client=openai.DefaultAsyncHttpxClient(limits=limits),
        )
        # OpenAI's newer models refuse `max_tokens`, compatible servers may not know its successor.
        self._tokens_field = "max_completion_tokens" if "api.openai.com" in url else "max_tokens"

    def __repr__(self) -> str:
        return f"<OpenAIChat {self._model}>"

    async def warm(self) -> None:
        """Open a connection and see whether the key is good: raises `Rejected` if it is not.

        A vendor that is down or knows no such route now is no reason to stop: calls find out, and go elsewhere.
        """
        try:
            async with asyncio.timeout(self._options.first_token_s):
                await self._client.models.list()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._told(error) from None
        except (openai.OpenAIError, TimeoutError, ValueError):
            return

    async def aclose(self) -> None:
        """Close all connections; the object cannot be used afterwards."""
        with contextlib.suppress(TimeoutError):  # the process ends anyway
            async with asyncio.timeout(CLOSE_S):
                await self._client.close()

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), said: str = ""
    ) -> AsyncIterator[Piece]:
        """See `LanguageModel`.  Closing the iterator closes the connection at once, and so ends the bill."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.first_token_s
        begun = [{"role": "assistant", "content": said}, {"role": "system", "content": GO_ON}] if said else []
        stream = _Stream(await self._ask([*dialogue, *begun], tools, deadline))
        calls: dict[int, _Call] = {}
        chars = 0
        used: TokensUsed | None = None
        try:
            while True:
                piece = await self._next(stream, deadline)
                if piece is None:
                    raise Down(f"openai/{self._model}: the stream ended before the reply did")
                used = piece.used or used
                if piece.calls:
                    self._gather(piece, calls)
                if piece.text or piece.calls:
                    deadline = loop.time() + self._options.gap_s
                if piece.text:
                    chars += len(piece.text)
                    yield piece.text
                if piece.finished or chars > REPLY_CHARS_MAX:
                    break
            for call in self._complete(calls):
                yield call
            used = await self._tail(stream, loop.time() + TAIL_S) or used
            if used is not None:
                yield used
        finally:
            await self._close(stream)

    async def _ask(self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]], deadline: float) -> Any:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": list(dialogue),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tools:
            request["tools"] = list(tools)
        if self._options.temperature is not None:
            request["temperature"] = self._options.temperature
        if self._options.tokens_max is not None:
            request[self._tokens_field] = self._options.tokens_max
        try:
            async with asyncio.timeout_at(deadline):
                return await self._client.chat.completions.create(**request)
        except (openai.OpenAIError, TimeoutError, ValueError) as error:
            raise self._told(error) from None

    async def _next(self, stream: _Stream, deadline: float) -> _Piece | None:
        """The next chunk; None when the stream has ended: read to its last byte, the connection serves again."""
        try:
            while True:
                while not stream.waiting:
                    async with asyncio.timeout_at(deadline):
                        await stream.more()
                if (data := stream.waiting.popleft()) != b"[DONE]":
                    return _understood(json.loads(data))
        except StopAsyncIteration:
            return None
        except (*ERRORS, TimeoutError, ValueError, LookupError, AttributeError, TypeError) as error:
            raise self._told(error) from None

    async def _tail(self, stream: _Stream, deadline: float) -> TokensUsed | None:
        """Read on for the usage, which comes last.  The reply is complete: no fault here may spoil it."""
        used = None
        try:
            while (piece := await self._next(stream, deadline)) is not None:
                used = piece.used or used
        except ProviderError:
            return used  # the bill is worth no more waiting
        return used

    async def _close(self, stream: _Stream) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await stream.chunks.close()
        except (*ERRORS, OSError, TimeoutError):
            return  # it is closed all the same, and a reply that was good stays good

    def _gather(self, piece: _Piece, calls: dict[int, _Call]) -> None:
        """Join the pieces of tool calls.  Servers that leave out the index send each call whole."""
        for index, part in zip(piece.indexes, piece.calls, strict=True):
            slot = len(calls) if index is None else index
            call = calls.setdefault(slot, _Call())
            call.call_id = call.call_id or part.call_id
            call.name = call.name or part.name
            call.arguments += part.arguments
            if len(calls) > TOOL_CALLS_MAX or len(call.arguments) > ARGUMENTS_CHARS_MAX:
                raise Down(f"openai/{self._model}: the tool calls have no end")

    def _complete(self, calls: dict[int, _Call]) -> list[ToolCall]:
        if not all(call.name for call in calls.values()):
            raise Down(f"openai/{self._model}: a tool call without a name")
        return [
            ToolCall(call.call_id or f"call_{index}", call.name, call.arguments or "{}")
            for index, call in sorted(calls.items())
        ]

    def _told(self, error: Exception) -> ProviderError:
        """The vendor's error as one of ours, in our own words."""
        name = f"openai/{self._model}"
        if isinstance(error, openai.APIStatusError):
            status, code = error.status_code, _code(error)
            if status == 429:
                return Busy(f"{name} is at its rate limit{code}")
            if status in (401, 403):
                return Rejected(f"{name} does not accept the key ({status}){code}; check OPENAI_API_KEY")
            if 400 <= status < 500 and status != 408:
                return Rejected(f"{name} refused the request ({status}){code}; check the model and OPENAI_BASE_URL")
            return Down(f"{name} answered {status}{code}")
        if isinstance(error, TimeoutError | openai.APITimeoutError):
            return Down(f"{name} did not answer in time")
        if isinstance(error, openai.APIConnectionError | http.HTTPError):
            return Down(f"{name} cannot be reached, or closed the connection")
        return Down(f"{name} sent a malformed stream ({type(error).__name__})")


class _Stream:
    """The events of one answer.  The package opens and closes it; the events are taken from its bytes."""

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks
        self.waiting: deque[bytes] = deque()
        self._events = Events()
        self._bytes: AsyncIterator[bytes] = chunks.response.aiter_bytes()

    async def more(self) -> None:
        """Wait for what comes next.  Raises StopAsyncIteration at the end."""
        self.waiting.extend(self._events.feed(await anext(self._bytes)))


def _understood(chunk: dict[str, Any]) -> _Piece:
    """Nobody has checked what the server sent: whatever is wrong with it raises, and counts as malformed."""
    piece = _Piece()
    if "error" in chunk:
        raise ValueError("an error instead of a chunk")
    if usage := chunk.get("usage"):
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        piece.used = TokensUsed(int(usage["prompt_tokens"] or 0), int(cached), int(usage["completion_tokens"] or 0))
    for choice in chunk.get("choices") or ():
        if choice.get("index"):
            continue
        if delta := choice.get("delta"):
            piece.text += _text(delta.get("content"))
            for part in delta.get("tool_calls") or ():
                index, function = part.get("index"), part.get("function") or {}
                piece.indexes.append(index if isinstance(index, int) else None)
                name, arguments = _text(function.get("name")), _text(function.get("arguments"))
                piece.calls.append(_Call(_text(part.get("id")), name, arguments))
        piece.finished = piece.finished or choice.get("finish_reason") is not None
    return piece


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _code(error: openai.APIStatusError) -> str:
    """The vendor's error code, if it looks like one: a word such as `model_not_found` says nothing private."""
    code = error.code
    return f" {code}" if isinstance(code, str) and re.fullmatch(r"[a-z_]{3,40}", code) else ""
