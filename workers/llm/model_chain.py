"""Streams one reply from the first model of a list that can give it: failover before and within a reply, hedging.

A model that fails within a reply is followed by the next model, which gets the published text as a prefix and
continues after it.  `ModelSwitched` tells the consumer that text which was streamed but not published is void: the next
model generates it again.

A reply without a word to speak (`Empty`) counts as a failure, because the caller would hear silence.  A call of a tool
counts as words.

Hedging: if no word has come after the 90th percentile of the recent times to the first word, the next model is
requested too.  The first word wins, and the other request is closed at once.  Its prompt is paid for, and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from common.process.clock import wall_ms
from common.process.tasks import cancel
from common.telemetry import metrics, traces
from workers.llm.text.speakable import begins_to_speak, has_letters, is_speakable
from workers.llm.text.tool_calls import UNKNOWN
from workers.providers.failover import Failover, Source, Use
from workers.providers.interfaces import (
    ChatMessage,
    Down,
    LanguageModel,
    Piece,
    ProviderError,
    Retracted,
    TextComplete,
    TokensUsed,
    ToolCall,
)

FIRST_WORDS_KEPT = 100
HEDGE_SAMPLES_MIN = 20
HEDGE_QUANTILE = 0.9
CHARS_PER_TOKEN = 4
"""Used to estimate the prompt tokens of a request that was closed before the vendor reported its usage."""


@dataclass(frozen=True, slots=True)
class ModelSwitched:
    """The model failed with `error`, whose text holds no secret; another continues after the published text."""

    error: ProviderError


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens that the model `spec` charges for.  `estimated`: the vendor did not report them."""

    spec: str
    tokens: TokensUsed
    estimated: bool = False


Event: TypeAlias = str | ToolCall | TextComplete | Retracted | ModelSwitched | TokenUsage


class Empty(Down):
    """The reply has no word to speak and calls no tool.  `usage` holds the tokens that it used nevertheless."""

    kind = "empty"

    def __init__(self, message: str, usage: Sequence[TokenUsage] = ()) -> None:
        super().__init__(message)
        self.usage = tuple(usage)


class FirstWords:
    """The times to the first word of the last `FIRST_WORDS_KEPT` replies of this process, in seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=FIRST_WORDS_KEPT)

    def note(self, seconds: float) -> None:
        """Record that a first word came after `seconds`."""
        self._seconds.append(seconds)

    @property
    def deadline_s(self) -> float | None:
        """Seconds after which a second request is sent; None with fewer than `HEDGE_SAMPLES_MIN` samples."""
        if len(self._seconds) < HEDGE_SAMPLES_MIN:
            return None
        return sorted(self._seconds)[int(HEDGE_QUANTILE * (len(self._seconds) - 1))]


@dataclass(frozen=True, slots=True)
class ModelChain:
    """The models of an agent, in failover order.  `hedge` is None if second requests are disabled."""

    models: Failover[LanguageModel]
    hedge: FirstWords | None = None

    async def reply(
        self,
        dialogue: Sequence[ChatMessage],
        tools: Sequence[dict[str, Any]],
        prefix: Callable[[], str],
        call_id: str,
        may_be_empty: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """Stream the reply to `dialogue` as a continuation of `prefix()`, the text that has been published by then.

        `may_be_empty`: a reply without a word is a reply, too.

        Raises the last model's `ProviderError` when all models have failed.
        """
        requests = _ReplyRequests(self.models, dialogue, tools, call_id, may_be_empty)
        source = requests.next()
        while source is not None:
            try:
                deadline_s = self.hedge.deadline_s if self.hedge is not None and not requests.failed else None
                async with requests.open(source, prefix(), deadline_s) as stream:
                    async with aclosing(stream.events()) as events:
                        async for event in events:
                            yield event
                    if self.hedge is not None and not prefix():
                        self.hedge.note(stream.first_s)
                return
            except ProviderError as error:
                requests.failed.append(error)
                for usage in error.usage if isinstance(error, Empty) else ():
                    yield usage
                source = requests.next()
                if source is not None:
                    yield ModelSwitched(error)
        raise requests.error


class _ReplyRequests:
    """The requests for one reply: which models were tried, and the errors of those that failed."""

    def __init__(
        self,
        models: Failover[LanguageModel],
        dialogue: Sequence[ChatMessage],
        tools: Sequence[dict[str, Any]],
        call_id: str,
        may_be_empty: bool,
    ) -> None:
        self._models = models
        self._dialogue = dialogue
        self._tools = tools
        self._may_be_empty = may_be_empty
        self._call_id = call_id
        self._tried: set[str] = set()
        self.failed: list[ProviderError] = []

    @property
    def error(self) -> ProviderError:
        return self.failed[-1] if self.failed else Down("no model is left to try")

    def next(self) -> Source[LanguageModel] | None:
        source = self._models.choose(self._tried, self._call_id)
        if source is not None:
            self._tried.add(source.spec)
        return source

    @asynccontextmanager
    async def open(
        self, source: Source[LanguageModel], prefix: str, deadline_s: float | None
    ) -> AsyncGenerator[_ModelStream, None]:
        """Open the reply of `source`, or of the hedge if its first word comes sooner."""
        with source.use() as use:
            stream = self._stream(source, use, prefix)
            try:
                hedge_source = await self._hedge_source(stream, deadline_s)
                if hedge_source is None:
                    yield stream
                    return
                with hedge_source.use() as hedge_use:
                    hedge_stream = self._stream(hedge_source, hedge_use, prefix)
                    try:
                        winner, loser = await _race(stream, hedge_stream)
                        metrics.HEDGES.labels("first" if winner is stream else "second").inc()
                        winner.loser_usage = loser.estimate(self._dialogue)
                        await loser.aclose()
                        yield winner
                    finally:
                        await hedge_stream.aclose()
            finally:
                await stream.aclose()

    def _stream(self, source: Source[LanguageModel], use: Use, prefix: str) -> _ModelStream:
        pieces = source.provider.reply(self._dialogue, self._tools, prefix)
        may_be_empty = self._may_be_empty or bool(prefix)
        return _ModelStream(source.spec, use, cast("AsyncGenerator[Piece, None]", pieces), may_be_empty)

    async def _hedge_source(self, stream: _ModelStream, deadline_s: float | None) -> Source[LanguageModel] | None:
        """Return the source of a hedge if the first word does not come within `deadline_s` and one is available."""
        if deadline_s is None:
            return None
        await asyncio.wait([stream.first], timeout=deadline_s)
        if stream.first.done():
            return None
        hedge_source = self._models.choose(self._tried, self._call_id)
        if hedge_source is None or not hedge_source.available:
            return None
        self._tried.add(hedge_source.spec)
        return hedge_source


class _ReplyContent:
    """Tracks whether a reply holds anything that the caller can use."""

    def __init__(self, spec: str, may_be_empty: bool) -> None:
        """`may_be_empty`: the reply continues a prefix, or follows what was said before."""
        self._spec = spec
        self._may_be_empty = may_be_empty
        self._text = ""
        self._reason = "unknown"
        self.speaks = False
        """True if there is a word to speak, or a call of a tool: of an unknown one, too, since the model is told."""

    def note(self, piece: Piece) -> None:
        match piece:
            case str() if not self.speaks:
                self._text += piece
                self.speaks = has_letters(piece) and begins_to_speak(self._text)
            case ToolCall() if piece.name != UNKNOWN:
                self.speaks = True
            case Retracted():
                self._text, self.speaks = "", False
            case TextComplete(reason):
                self._reason = reason or self._reason

    def check(self, unread: Sequence[Piece] = ()) -> None:
        """Check a reply that has ended; `unread` are the pieces that the consumer has not got.

        Raises `Empty` if there is nothing to speak and no tool is called.
        """
        if self.speaks or self._may_be_empty or is_speakable(self._text):
            return
        usage = [TokenUsage(self._spec, piece) for piece in unread if isinstance(piece, TokensUsed)]
        raise Empty(f"{self._spec}: the reply has no word to speak (finish reason {self._reason})", usage)


class _ModelStream:
    """One request to one model.  The task `first` returns the pieces up to the first word."""

    def __init__(self, spec: str, use: Use, pieces: AsyncGenerator[Piece, None], may_be_empty: bool) -> None:
        """`may_be_empty`: see `_ReplyContent`."""
        self.spec = spec
        self._use = use
        self._pieces = pieces
        self._content = _ReplyContent(spec, may_be_empty)
        self._started = asyncio.get_running_loop().time()
        self.first: asyncio.Task[list[Piece]] = asyncio.create_task(self._first(), name=f"first word of {spec}")
        self.first_s = 0.0
        self.loser_usage: TokenUsage | None = None

    async def _first(self) -> list[Piece]:
        started_ms, outcome = wall_ms(), "cancelled"  # by the session, or because the other request was faster
        try:
            pieces = await self._until_words()
            outcome = "first word"
        except ProviderError as error:
            outcome = type(error).__name__.lower()
            raise
        finally:
            traces.stage("model", started_ms, wall_ms(), provider=self.spec, outcome=outcome)
        self.first_s = asyncio.get_running_loop().time() - self._started
        self._use.worked()
        return pieces

    async def _until_words(self) -> list[Piece]:
        """Return the pieces up to the first word or tool call.  Raises `Empty` if there is none."""
        pieces: list[Piece] = []
        while (piece := await anext(self._pieces, None)) is not None:
            pieces.append(piece)
            self._content.note(piece)
            if self._content.speaks:
                return pieces
        self._content.check(pieces)
        return pieces

    async def events(self) -> AsyncGenerator[Event, None]:
        """Stream the whole reply, and the usage of it and of the request that lost."""
        if self.loser_usage is not None:
            yield self.loser_usage
        for piece in await self.first:
            yield TokenUsage(self.spec, piece) if isinstance(piece, TokensUsed) else piece
        async for piece in self._pieces:
            self._content.note(piece)
            yield TokenUsage(self.spec, piece) if isinstance(piece, TokensUsed) else piece
        self._content.check()

    def estimate(self, dialogue: Sequence[ChatMessage]) -> TokenUsage:
        """Estimate the usage of a request that is closed before its first word."""
        chars = sum(len(str(message.get("content") or "")) for message in dialogue)
        return TokenUsage(self.spec, TokensUsed(chars // CHARS_PER_TOKEN, 0, 0), estimated=True)

    async def aclose(self) -> None:
        """Close the request at once; does nothing if it has ended."""
        with suppress(ProviderError):  # the reply is not needed any more
            await cancel(self.first)
        await self._pieces.aclose()


async def _race(one: _ModelStream, other: _ModelStream) -> tuple[_ModelStream, _ModelStream]:
    """Return (the stream whose first word came first, the other).  A stream that fails loses, unless both fail."""
    waiting = {one.first, other.first}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if any(task.exception() is None for task in done):
            first = next(task for task in (one.first, other.first) if task in done and task.exception() is None)
            return (one, other) if first is one.first else (other, one)
    return one, other
