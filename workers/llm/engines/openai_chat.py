"""`openai/<model>`: OpenAI's chat completions, and every server that speaks them (vLLM, llama.cpp, Ollama, …).

One object serves all calls of a process and keeps its connections open between turns.  A failed request is not
repeated: the next provider of the list answers sooner.  The exception is a refusal of something that the request can do
without (`openai_dialect`).

    429 -> Busy      other 4xx, but 408 -> Rejected      5xx, 408, no connection, a deadline, a broken stream -> Down

The vendor's error text is not passed on: it may quote the dialogue or a part of the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai

from workers.llm.engines.openai_chunks import ChatChunk
from workers.llm.engines.openai_dialect import LEARNT_MAX, ServerDialect
from workers.llm.engines.openai_errors import answered, as_provider_error, connection_fault, refusal
from workers.llm.engines.openai_http import ChatHttp, RequestRefused
from workers.llm.engines.openai_reply import StreamedReply
from workers.llm.engines.openai_server import answer_fault, choose_model, model_names, shown, speaks_of_missing_model
from workers.llm.engines.openai_stream import ChunkStream
from workers.providers.accounts import OPENAI_URL
from workers.providers.interfaces import Busy, ChatMessage, Down, Piece, ProviderError, Rejected
from workers.providers.openai import CLOSE_S, ERRORS, close_client, http, open_client

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 1_000
KEEPALIVE_S = 30.0  # the client's default of 5 s closes the connection between two turns
TAIL_S = 1.0
"""Seconds to wait for the usage after the reply is complete."""
HOLD_S = 2.0
"""Seconds for which the first words of an unknown server are held: they may turn out to be its reasoning."""
WARM_S = 60.0
"""Seconds for the first answer at the start of a process, in which a server may load the model."""
_LEARNABLE = frozenset({400, 404, 422, 500, 501})
_FAULTS = (
    *ERRORS,
    aiohttp.ClientError,
    RequestRefused,
    OSError,
    TimeoutError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    RuntimeError,
)
"""Everything that a request may raise, whatever the address is and whatever the server answers."""
_REHEARSAL: Sequence[ChatMessage] = (
    {"role": "system", "content": "You are on the phone. Answer with one short word."},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Can you hear me?"},
)
_REHEARSAL_TOOL = {
    "type": "function",
    "function": {"name": "end_call", "description": "Hang up.", "parameters": {"type": "object", "properties": {}}},
}


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """Parameters of a request, and its deadlines in seconds."""

    temperature: float | None = None
    """None: not sent; reasoning models accept no other value than their default."""
    tokens_max: int | None = 600
    connect_s: float = 2.0
    first_token_s: float = 4.0
    """From the request to the first words, including the connection."""
    gap_s: float = 3.0
    """Between two pieces of text."""
    warm_s: float = WARM_S


class OpenAIChat:
    """Implements `LanguageModel`.  `key` may be empty for a server without keys."""

    def __init__(self, model: str, *, key: str, url: str = OPENAI_URL, options: ChatOptions | None = None) -> None:
        self._options = options = options or ChatOptions()
        self._url = url
        # `_stream` keeps the deadlines; this bounds a single connection attempt, which it does not see.
        timeout = openai.Timeout(options.warm_s, connect=options.connect_s)
        self._client = open_client(key, url, timeout, CONNECTIONS_MAX, KEEPALIVE_S)
        self._http = ChatHttp(self._client, options.connect_s, CONNECTIONS_MAX, KEEPALIVE_S)
        own = "api.openai.com" in url
        # OpenAI's newer models refuse `max_tokens`; compatible servers may not know its successor.
        tokens_field = "max_completion_tokens" if own else "max_tokens"
        self._dialect = ServerDialect(model, tokens_field, options.tokens_max, options.temperature)
        self._models_seen = own
        self._missing = ""
        """An error text that lists the server's models, if the configured one is not among them; else empty."""
        self._known = own
        """True once the server has given a whole reply that did not begin within its reasoning."""
        self._reasons_first = False
        self._finish_is_final = True

    def __repr__(self) -> str:
        return f"<OpenAIChat {self._dialect.model}>"

    @property
    def _name(self) -> str:
        return f"openai/{self._dialect.model}"

    async def warm(self) -> None:
        """Look up the model and send one request, so that the server loads it and its refusals are learnt.

        Raises `Rejected` if the key, the address or the model cannot work.  If the vendor is down or slow now, only a
        warning is logged: calls then fail over to the next provider.
        """
        try:
            async with asyncio.timeout(self._options.warm_s):
                await self._look_up()
                async with aclosing(
                    self._stream(_REHEARSAL, [_REHEARSAL_TOOL], "", self._options.warm_s, self._options.warm_s)
                ) as pieces:
                    async for _ in pieces:
                        pass
        except (Busy, Down) as error:
            log.warning("%s is not ready: %s", self._name, error)
        except TimeoutError:
            log.warning("%s is not ready: no answer within %.0f s", self._name, self._options.warm_s)
        except ProviderError:
            raise
        except _FAULTS as error:
            log.warning("%s is not ready: %s", self._name, self._provider_error(error))

    async def aclose(self) -> None:
        """Close all connections; the object cannot be used afterwards."""
        await self._http.aclose()
        await close_client(self._client)

    def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), prefix: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """See `LanguageModel.reply`.  Closing the iterator closes the connection at once, and so stops the costs."""
        return self._stream(dialogue, tools, prefix, self._options.first_token_s, self._options.gap_s)

    async def _stream(
        self,
        dialogue: Sequence[ChatMessage],
        tools: Sequence[dict[str, Any]],
        prefix: str,
        first_s: float,
        gap_s: float,
    ) -> AsyncGenerator[Piece, None]:
        """Stream the reply; `first_s`: seconds to the first words, `gap_s`: seconds between two pieces of text."""
        loop = asyncio.get_running_loop()
        deadline, hold_until = loop.time() + first_s, loop.time() + HOLD_S
        stream, chunk = await self._begin(dialogue, tools, prefix, deadline)
        reply = self._folding(tools)
        try:
            while chunk is not None:
                pieces, progress = reply.take(chunk)
                for piece in pieces:
                    yield piece
                if reply.too_long:
                    break
                if progress:
                    deadline = loop.time() + gap_s
                elif chunk.finish_reason and reply.words:
                    deadline = loop.time() + TAIL_S
                if reply.holding and not await stream.comes_before(min(hold_until, deadline)):
                    for piece in reply.release():
                        yield piece
                chunk = await stream.next(deadline)
            if not (reply.finished or reply.too_long):
                raise self._provider_error(EOFError(), reply)
        except _FAULTS as error:
            for piece in reply.release():
                yield piece
            if not reply.finished:
                raise self._provider_error(error, reply) from None
        except ProviderError:
            for piece in reply.release():
                yield piece
            raise
        finally:
            await self._close(stream)
        for piece in reply.end():
            yield piece
        self._learn_from(reply)

    def _folding(self, tools: Sequence[dict[str, Any]]) -> StreamedReply:
        names = [str((tool.get("function") or {}).get("name")) for tool in tools]
        return StreamedReply(
            names,
            reasons_first=self._reasons_first,
            holding=not self._known and not self._reasons_first,
            finish_is_final=self._finish_is_final,
        )

    def _learn_from(self, reply: StreamedReply) -> None:
        """Update what is known of the server from a reply that was read to its end."""
        if reply.retracted and not self._reasons_first:
            self._reasons_first = True
            log.warning("%s begins its replies with reasoning; nothing is spoken before its end", self._name)
        # A reply that was cut short may have been reasoning only; its closing tag would have shown that.
        self._known = self._known or (reply.words and not reply.retracted and not reply.cut_short)
        self._finish_is_final = self._finish_is_final and not reply.late_words

    async def _begin(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]], prefix: str, deadline: float
    ) -> tuple[ChunkStream, ChatChunk | None]:
        """Open a stream and read its first chunk; repeat the request without the parts that the server refuses."""
        for _ in range(LEARNT_MAX + 1):
            request = self._dialect.request(dialogue, tools, prefix)
            stream: ChunkStream | None = None
            try:
                async with asyncio.timeout_at(deadline):
                    stream = ChunkStream(await self._http.post(request))
                chunk = await stream.next(deadline)
                if chunk is None:
                    raise self._nothing(stream)
                return stream, chunk
            except ProviderError:
                await self._close(stream)
                raise
            except _FAULTS as error:
                await self._close(stream)
                if not await self._changed(request, error, deadline):
                    raise self._provider_error(error) from None
            except BaseException:
                await self._close(stream)
                raise
        raise Rejected(f"{self._name} refused the request in every form")

    async def _changed(self, request: dict[str, Any], error: Exception, deadline: float) -> bool:
        """Change the dialect after a refusal; return False if there is nothing left to change."""
        answer, document = refusal(error)
        if answer.status not in _LEARNABLE or answer_fault(self._url, answer):
            return False
        if note := self._dialect.learn(request, document):
            log.warning("%s refused a part of the request; it is asked %s from now on", self._name, note)
            return True
        if self._models_seen or not speaks_of_missing_model(answer):
            return False
        with contextlib.suppress(*_FAULTS, ProviderError):
            async with asyncio.timeout_at(deadline):
                await self._look_up()
        return str(request["model"]) != self._dialect.model

    async def _look_up(self) -> None:
        """Read the server's models; choose the configured one, or the only one.  Raises `Rejected` for the key."""
        try:
            response = await self._client.get("/models", cast_to=http.Response)
        except openai.AuthenticationError as error:
            raise self._provider_error(error) from None
        except _FAULTS:
            return  # the server has no list or is down; the first request shows which
        answer = answered(response)
        if answer.moved_to:
            log.warning(
                "OPENAI_BASE_URL redirects each request to %s; write that",
                shown(answer.moved_to.removesuffix("/models")),
            )
        names = model_names(answer.document)
        if names is None:
            return
        self._models_seen = True
        choice = choose_model(self._dialect.model, names)
        self._missing = "" if choice.known else choice.note
        self._dialect.model = choice.model
        if choice.known and choice.note:
            log.warning("%s", choice.note)

    async def _close(self, stream: ChunkStream | None) -> None:
        if stream is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await stream.close()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return  # the stream is closed anyway, and a complete reply stays valid

    def _nothing(self, stream: ChunkStream) -> ProviderError:
        """The error for an answer that ended without a chunk."""
        fault = answer_fault(self._url, stream.answer)
        return (
            Rejected(f"{self._name}: {fault}")
            if fault
            else Down(f"{self._name}: the stream ended before the reply did")
        )

    def _provider_error(self, error: Exception, reply: StreamedReply | None = None) -> ProviderError:
        """Convert an error to a `ProviderError`, without the vendor's text."""
        answer, _ = refusal(error)
        fault = answer_fault(self._url, answer) or connection_fault(self._url, error)
        if not fault and self._missing and answer.status in (400, 404):
            fault = self._missing
        if isinstance(error, EOFError):
            return Down(f"{self._name}: the stream ended before the reply did")
        if isinstance(error, TimeoutError) and reply is not None and reply.chars and not reply.words:
            fault = "the model reasons for too long before its first word; turn its reasoning off"
        return as_provider_error(self._name, error, fault)
