"""`openai/<model>`: OpenAI's chat completions, and every server that speaks them (vLLM, llama.cpp, Ollama, …).

One object serves all calls of a process; its connections are kept alive between turns.  A request that failed is not
made again: the next provider in the list is tried instead, which is quicker than waiting for this one.  The exception
is a refusal of something that the request can do without (`openai_dialect`).

    429 -> Busy      other 4xx, but 408 -> Rejected      5xx, 408, no connection, a deadline, a broken stream -> Down

What the vendor writes in an error is not passed on: it may quote the dialogue or a part of the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import openai

from workers.llm.engines.openai_chunks import ChatChunk
from workers.llm.engines.openai_dialect import LEARNT_MAX, ServerDialect
from workers.llm.engines.openai_errors import answered, as_provider_error, connection_fault, refusal
from workers.llm.engines.openai_reply import StreamedReply
from workers.llm.engines.openai_server import answer_fault, choose_model, model_names, shown, speaks_of_missing_model
from workers.llm.engines.openai_stream import ChunkStream, WholeAnswer
from workers.providers.interfaces import Busy, ChatMessage, Down, Piece, ProviderError, Rejected
from workers.providers.openai import ERRORS, http

log = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
CONNECTIONS_MAX = 1_000
KEEPALIVE_S = 30.0  # the client's own 5 s would drop the connection between two turns: a TLS handshake for each
CLOSE_S = 1.0
TAIL_S = 1.0
"""After the reply is complete the usage may still come: so long is waited for it."""
HOLD_S = 2.0
"""So long the words of an unknown server's first reply are held back: they may turn out to be its reasoning."""
WARM_S = 60.0
"""A model that is loaded when it is first asked has so long for that, at the start of a process."""
_LEARNABLE = frozenset({400, 404, 422, 500, 501})
_FAULTS = (*ERRORS, OSError, TimeoutError, ValueError, LookupError, AttributeError, TypeError, RuntimeError)
"""All that asking may raise, whatever the server answers and whatever the address is."""
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
    """How to ask, and how long to wait (seconds)."""

    temperature: float | None = None
    """None leaves it to the model; the reasoning models accept nothing else."""
    tokens_max: int | None = 600
    connect_s: float = 2.0
    first_token_s: float = 4.0
    """From the request to the first words, connecting included."""
    gap_s: float = 3.0
    """From words to words."""
    warm_s: float = WARM_S


class OpenAIChat:
    """A `LanguageModel`.  `key` may be empty for servers that want none."""

    def __init__(self, model: str, *, key: str, url: str = OPENAI_URL, options: ChatOptions | None = None) -> None:
        self._options = options = options or ChatOptions()
        self._url = url
        limits = http.Limits(
            max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_S
        )
        self._client = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=url,
            max_retries=0,
            # Whole deadlines are kept below; this bounds what the loop cannot see, one connection attempt.
            timeout=openai.Timeout(options.warm_s, connect=options.connect_s),
            http_client=openai.DefaultAsyncHttpxClient(limits=limits),
        )
        own = "api.openai.com" in url
        # OpenAI's newer models refuse `max_tokens`, compatible servers may not know its successor.
        tokens_field = "max_completion_tokens" if own else "max_tokens"
        self._dialect = ServerDialect(model, tokens_field, options.tokens_max, options.temperature)
        self._models_seen = own
        self._missing = ""
        """Which models there are, if the wanted one is not among them."""
        self._known = own
        """It has given a whole reply, and did not begin it in the middle of its reasoning."""
        self._reasons_first = False
        self._finish_is_final = True

    def __repr__(self) -> str:
        return f"<OpenAIChat {self._dialect.model}>"

    @property
    def _name(self) -> str:
        return f"openai/{self._dialect.model}"

    async def warm(self) -> None:
        """Look up the model, and have it answer once: a model that sleeps is loaded, what it refuses is learnt.

        Raises `Rejected`, in one sentence, if the key, the address or the model cannot work.  A vendor that is down or
        slow now is no reason to stop: it is said in the log, and calls find out and go elsewhere.
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
            log.warning("%s is not ready: %s", self._name, self._told(error))

    async def aclose(self) -> None:
        """Close all connections; the object cannot be used afterwards."""
        with contextlib.suppress(TimeoutError):  # the process ends anyway
            async with asyncio.timeout(CLOSE_S):
                await self._client.close()

    def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), said: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """See `LanguageModel`.  Closing the iterator closes the connection at once, and so ends the bill."""
        return self._stream(dialogue, tools, said, self._options.first_token_s, self._options.gap_s)

    async def _stream(
        self,
        dialogue: Sequence[ChatMessage],
        tools: Sequence[dict[str, Any]],
        said: str,
        first_s: float,
        gap_s: float,
    ) -> AsyncGenerator[Piece, None]:
        """The reply; `first_s` to its first words, `gap_s` between words."""
        loop = asyncio.get_running_loop()
        deadline, hold_until = loop.time() + first_s, loop.time() + HOLD_S
        stream, chunk = await self._begin(dialogue, tools, said, deadline)
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
                raise self._told(EOFError(), reply)
        except _FAULTS as error:
            for piece in reply.release():
                yield piece
            if not reply.finished:
                raise self._told(error, reply) from None
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
        """What a whole reply shows of the server's ways."""
        if reply.retracted and not self._reasons_first:
            self._reasons_first = True
            log.warning("%s begins its replies with reasoning; nothing is spoken before its end", self._name)
        # One that was cut short may have been nothing but reasoning, whose end would have shown that.
        self._known = self._known or (reply.words and not reply.retracted and not reply.cut_short)
        self._finish_is_final = self._finish_is_final and not reply.late_words

    async def _begin(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]], said: str, deadline: float
    ) -> tuple[ChunkStream, ChatChunk | None]:
        """A stream that was accepted, and its first chunk.  Without what the server refuses, it is asked again."""
        for _ in range(LEARNT_MAX + 1):
            request = self._dialect.request(dialogue, tools, said)
            stream: ChunkStream | None = None
            try:
                async with asyncio.timeout_at(deadline):
                    stream = ChunkStream(await self._opened(request))
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
                    raise self._told(error) from None
            except BaseException:
                await self._close(stream)
                raise
        raise Rejected(f"{self._name} refused the request in every form")

    async def _opened(self, request: dict[str, Any]) -> Any:
        """The answer's head; of a server that does not stream, the whole answer."""
        completions = self._client.chat.completions
        if "stream" in request:
            return await completions.create(**request)
        return WholeAnswer((await completions.with_raw_response.create(**request)).http_response)

    async def _changed(self, request: dict[str, Any], error: Exception, deadline: float) -> bool:
        """Is there another way to ask, after this refusal?"""
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
        """See which models there are: the wanted one, or the only one, is asked for.  Raises `Rejected` for the key."""
        try:
            response = await self._client.get("/models", cast_to=http.Response)
        except openai.AuthenticationError as error:
            raise self._told(error) from None
        except _FAULTS:
            return  # it has no list, or is down: the first request tells
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
        except (*ERRORS, OSError, TimeoutError):
            return  # it is closed all the same, and a reply that was good stays good

    def _nothing(self, stream: ChunkStream) -> ProviderError:
        """The answer ended, and there was no chunk in it."""
        fault = answer_fault(self._url, stream.answer)
        return (
            Rejected(f"{self._name}: {fault}")
            if fault
            else Down(f"{self._name}: the stream ended before the reply did")
        )

    def _told(self, error: Exception, reply: StreamedReply | None = None) -> ProviderError:
        """The vendor's error as one of ours, in our own words."""
        answer, _ = refusal(error)
        fault = answer_fault(self._url, answer) or connection_fault(self._url, error)
        if not fault and self._missing and answer.status in (400, 404):
            fault = self._missing
        if isinstance(error, EOFError):
            return Down(f"{self._name}: the stream ended before the reply did")
        if isinstance(error, TimeoutError) and reply is not None and reply.chars and not reply.words:
            fault = "it reasons for too long before its first word; turn its reasoning off"
        return as_provider_error(self._name, error, fault)
