"""One reply from the first model of a list that can give it.  Failover before and within the reply, and hedging.

A model that fails in the middle is followed by the next one, which is told how the reply begins and goes on from
there.  `ModelSwitched` says that text which was streamed but not published is the next one's to say again.

A reply without a word to speak (`Empty`) is a failure like any other: silence is the one answer a caller cannot use.
A call of a tool that was offered counts as words.

Hedging: if no word has come after the time in which nine of ten first words came lately, the next model is asked
too; the first word wins, and the other request is closed at once.  It costs the loser's prompt, which is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from common.process.clock import wall_ms
from common.process.tasks import cancel
from common.telemetry import metrics, traces
from workers.llm.text.speakable import begins_to_speak, has_letters, is_speakable
from workers.llm.text.tool_calls import tool_name
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
"""For the estimate of what a closed request cost."""


@dataclass(frozen=True, slots=True)
class ModelSwitched:
    """The model failed; another goes on after what was published.  `error` says why, without secrets."""

    error: ProviderError


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens that a source charges for.  `estimated`: it did not say so itself."""

    spec: str
    tokens: TokensUsed
    estimated: bool = False


Event: TypeAlias = str | ToolCall | TextComplete | Retracted | ModelSwitched | TokenUsage


class Empty(Down):
    """The reply has no word to speak, and calls no tool that was offered.  `spent` is what it cost all the same."""

    kind = "empty"

    def __init__(self, message: str, spent: Sequence[TokenUsage] = ()) -> None:
        super().__init__(message)
        self.spent = tuple(spent)


class FirstWords:
    """How long the models of a process took to their first words, lately."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=FIRST_WORDS_KEPT)

    def note(self, seconds: float) -> None:
        """A first word came after so long."""
        self._seconds.append(seconds)

    @property
    def deadline_s(self) -> float | None:
        """After so long a second request is worth its money; None: too little is known."""
        if len(self._seconds) < HEDGE_SAMPLES_MIN:
            return None
        return sorted(self._seconds)[int(HEDGE_QUANTILE * (len(self._seconds) - 1))]


@dataclass(frozen=True, slots=True)
class ModelChain:
    """The models of an agent.  `hedge` is None unless second requests are wanted."""

    models: Failover[LanguageModel]
    hedge: FirstWords | None = None

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]], said: Callable[[], str], call_id: str
    ) -> AsyncGenerator[Event, None]:
        """Stream the reply to `dialogue` after `said()`.  Raises the last model's error when all have failed."""
        asks = _Asks(self.models, dialogue, tools, call_id)
        source = asks.next()
        while source is not None:
            try:
                deadline_s = self.hedge.deadline_s if self.hedge is not None and not asks.failed else None
                async with asks.open(source, said(), deadline_s) as stream:
                    async with aclosing(stream.events()) as events:
                        async for event in events:
                            yield event
                    if self.hedge is not None and not said():
                        self.hedge.note(stream.first_s)
                return
            except ProviderError as error:
                asks.failed.append(error)
                for spent in error.spent if isinstance(error, Empty) else ():
                    yield spent
                source = asks.next()
                if source is not None:
                    yield ModelSwitched(error)
        raise asks.error


class _Asks:
    """The requests for one reply: who was tried, and with what."""

    def __init__(
        self,
        models: Failover[LanguageModel],
        dialogue: Sequence[ChatMessage],
        tools: Sequence[dict[str, Any]],
        call_id: str,
    ) -> None:
        self._models = models
        self._dialogue = dialogue
        self._tools = tools
        self._names = frozenset(str((tool.get("function") or {}).get("name")) for tool in tools)
        self._call_id = call_id
        self._tried: set[str] = set()
        self.failed: list[ProviderError] = []

    @property
    def error(self) -> ProviderError:
        return self.failed[-1] if self.failed else Down("no model is left to ask")

    def next(self) -> Source[LanguageModel] | None:
        source = self._models.choose(self._tried, self._call_id)
        if source is not None:
            self._tried.add(source.spec)
        return source

    @asynccontextmanager
    async def open(
        self, source: Source[LanguageModel], said: str, deadline_s: float | None
    ) -> AsyncGenerator[_ModelStream, None]:
        """The reply of `source`, or of the one that was asked besides and was faster."""
        with source.use() as use:
            stream = self._stream(source, use, said)
            try:
                second = await self._late(stream, deadline_s)
                if second is None:
                    yield stream
                    return
                with second.use() as second_use:
                    rival = self._stream(second, second_use, said)
                    try:
                        winner, loser = await _race(stream, rival)
                        metrics.HEDGES.labels("first" if winner is stream else "second").inc()
                        winner.lost = loser.estimate(self._dialogue)
                        await loser.aclose()
                        yield winner
                    finally:
                        await rival.aclose()
            finally:
                await stream.aclose()

    def _stream(self, source: Source[LanguageModel], use: Use, said: str) -> _ModelStream:
        pieces = source.provider.reply(self._dialogue, self._tools, said)
        offered = None if said else self._names
        return _ModelStream(source.spec, use, cast("AsyncGenerator[Piece, None]", pieces), offered)

    async def _late(self, stream: _ModelStream, deadline_s: float | None) -> Source[LanguageModel] | None:
        """Whom to ask besides, if the first word does not come in time and there is somebody."""
        if deadline_s is None:
            return None
        await asyncio.wait([stream.first], timeout=deadline_s)
        if stream.first.done():
            return None
        second = self._models.choose(self._tried, self._call_id)
        if second is None or not second.available:
            return None
        self._tried.add(second.spec)
        return second


class _Content:
    """Has a reply said anything yet that a caller can use?"""

    def __init__(self, spec: str, offered: Collection[str] | None) -> None:
        """`offered`: the tools whose calls count as words; None: the reply goes on with another, and may be empty."""
        self._spec = spec
        self._offered = offered
        self._text = ""
        self._reason = "unknown"
        self._strange = ""
        self.speaks = False
        """It has a word to speak, or calls an offered tool."""

    def note(self, piece: Piece) -> None:
        match piece:
            case str() if not self.speaks:
                self._text += piece
                self.speaks = has_letters(piece) and begins_to_speak(self._text)
            case ToolCall() if self._offered is None or tool_name(piece.name) in self._offered:
                self.speaks = True
            case ToolCall():
                self._strange = "; it calls a tool that is not there"
            case Retracted():
                self._text, self.speaks = "", False
            case TextComplete(reason):
                self._reason = reason or self._reason

    def check(self, unseen: Sequence[Piece] = ()) -> None:
        """The reply is over: raises Empty if it said nothing; `unseen` are the pieces that nobody has got yet."""
        if self.speaks or self._offered is None or is_speakable(self._text):
            return
        spent = [TokenUsage(self._spec, piece) for piece in unseen if isinstance(piece, TokensUsed)]
        what = f"the reply has no word to speak (finish reason {self._reason}){self._strange}"
        raise Empty(f"{self._spec}: {what}", spent)


class _ModelStream:
    """One request.  `first` is the task that waits for its first words, and gives the pieces until then."""

    def __init__(
        self, spec: str, use: Use, pieces: AsyncGenerator[Piece, None], offered: Collection[str] | None
    ) -> None:
        """`offered`: see `_Content`."""
        self.spec = spec
        self._use = use
        self._pieces = pieces
        self._content = _Content(spec, offered)
        self._began = asyncio.get_running_loop().time()
        self.first: asyncio.Task[list[Piece]] = asyncio.create_task(self._first(), name=f"first word of {spec}")
        self.first_s = 0.0
        self.lost: TokenUsage | None = None

    async def _first(self) -> list[Piece]:
        begun_ms, outcome = wall_ms(), "cancelled"  # by the caller, or by a rival that was faster
        try:
            pieces = await self._until_words()
            outcome = "first word"
        except ProviderError as error:
            outcome = type(error).__name__.lower()
            raise
        finally:
            traces.stage("model", begun_ms, wall_ms(), provider=self.spec, outcome=outcome)
        self.first_s = asyncio.get_running_loop().time() - self._began
        self._use.worked()
        return pieces

    async def _until_words(self) -> list[Piece]:
        """The pieces up to the first word or offered tool; raises Empty if there is none."""
        pieces: list[Piece] = []
        while (piece := await anext(self._pieces, None)) is not None:
            pieces.append(piece)
            self._content.note(piece)
            if self._content.speaks:
                return pieces
        self._content.check(pieces)
        return pieces

    async def events(self) -> AsyncGenerator[Event, None]:
        """The whole reply, and what it and its rival cost."""
        if self.lost is not None:
            yield self.lost
        for piece in await self.first:
            yield TokenUsage(self.spec, piece) if isinstance(piece, TokensUsed) else piece
        async for piece in self._pieces:
            self._content.note(piece)
            yield TokenUsage(self.spec, piece) if isinstance(piece, TokensUsed) else piece
        self._content.check()

    def estimate(self, dialogue: Sequence[ChatMessage]) -> TokenUsage:
        """What the request costs if it is closed now, before its first word."""
        chars = sum(len(str(message.get("content") or "")) for message in dialogue)
        return TokenUsage(self.spec, TokensUsed(chars // CHARS_PER_TOKEN, 0, 0), estimated=True)

    async def aclose(self) -> None:
        """Close the request at once; harmless when it is over."""
        with suppress(ProviderError):  # of no interest any more
            await cancel(self.first)
        await self._pieces.aclose()


async def _race(one: _ModelStream, other: _ModelStream) -> tuple[_ModelStream, _ModelStream]:
    """(who gave its first word first, the other).  A failure loses, unless both fail."""
    waiting = {one.first, other.first}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if any(task.exception() is None for task in done):
            first = next(task for task in (one.first, other.first) if task in done and task.exception() is None)
            return (one, other) if first is one.first else (other, one)
    return one, other
