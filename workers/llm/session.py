"""The mind's part in one call: reads its story, keeps the one reply under way that should be.

After every event the dialogue says which reply is wanted; if it is not the one under way, that one is cancelled (its
model request is closed at once) and the wanted one is begun.  Nothing else decides.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from common.bus import Bus
from common.call.end_reasons import EndReason
from common.process.clock import wall_ms
from common.process.skipped import skipping
from common.process.tasks import cancel
from common.protocol.messages import (
    Clause,
    EagerUserTurn,
    Interrupted,
    Message,
    OwnerChanged,
    ReplyDiscarded,
    ReplyEnded,
    ReplyReleased,
    ReplyStarted,
    StageMs,
    UsageReported,
    UserTurn,
)
from common.protocol.redis_keys import EVENTS_MAXLEN, call_events, edge_priority
from common.store import CallStore, Claim
from common.telemetry import metrics, traces
from workers.llm.conversation import Decision, Dialogue, WantedReply
from workers.llm.model_chain import ModelChain, ModelSwitched, TokenUsage
from workers.llm.text.clauses import Clauses
from workers.llm.text.phrases import APOLOGIES, FAREWELLS
from workers.llm.text.speakable import is_speakable
from workers.llm.text.tool_calls import tool_name
from workers.providers.interfaces import ChatMessage, ProviderError, Retracted, TextComplete, after
from workers.runtime.hang_up import Connection, hang_up
from workers.runtime.runner import Fenced

log = logging.getLogger(__name__)

REPLY_SECONDS_MAX = 60.0
"""A model that is still talking after this is cut off at the clause."""
SPEECHLESS_MAX = 2
"""So many replies in a row for which no model could be had, and the call is given up: the spoken fallback follows."""
END_CALL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "end_call",
        "description": "Hang up after your reply. Say goodbye in the same reply.",
        "parameters": {"type": "object", "properties": {}},
    },
}


@dataclass(frozen=True, slots=True)
class Persona:
    """Who answers: from the agent's file, and by which model."""

    greeting: str
    instructions: str
    model_chain: ModelChain
    interruptible: bool = True
    farewell: str = FAREWELLS["en"]
    """Said if the model hangs up without a word."""
    apology: str = APOLOGIES["en"]
    """Said if no model could answer."""


class LlmSession:
    """See `workers.runtime.runner.Session`."""

    def __init__(self, claim: Claim, bus: Bus, store: CallStore, character: Persona) -> None:
        self._claim = claim
        self._bus = bus
        self._store = store
        self._character = character
        self._dialogue = Dialogue(character.instructions, character.interruptible)
        self._live = False
        self._events = 0
        self._speechless = 0
        self._news = asyncio.Event()
        self._error: Exception | None = None

    async def run(self) -> None:
        events = call_events(self._claim.call_id)
        await self.write(OwnerChanged("llm", self._claim.token, self._claim.owner, wall_ms()))
        subscription = self._bus.subscribe(events, skipping(self._receive, self._claim.call_id), self._fail)
        try:
            await self._follow()
        finally:
            subscription.close()

    def _receive(self, entry_id: str, message: Message) -> None:
        if isinstance(message, OwnerChanged) and (message.pool, message.token) == ("llm", self._claim.token):
            self._live = True  # everything that was written before us has been read
        self._dialogue.receive(message)
        self._events += 1
        if self._events == EVENTS_MAXLEN:
            hang_up(self._bus, self._claim, EndReason.TOO_LONG, self._connection)
        if self._live:
            self._news.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()

    async def _follow(self) -> None:
        """Keep the wanted reply under way until the call is over."""
        under_way: asyncio.Task[None] | None = None
        turn = 0
        try:
            while not self._dialogue.over:
                await self._news.wait()
                self._news.clear()
                if self._error is not None:
                    raise self._error
                if (verdict := self._dialogue.verdict()) is not None:
                    await self._settle(verdict)
                wanted = self._dialogue.wanted()
                if under_way is not None and (wanted is None or wanted.turn != turn):
                    await cancel(under_way)
                    under_way = None
                if under_way is not None and under_way.done():
                    under_way.result()
                if wanted is not None and wanted.turn > turn:
                    turn = wanted.turn
                    chat = self._dialogue.messages()  # as of now: more may be said while the start is written
                    await self._begin(wanted)
                    under_way = asyncio.create_task(self._reply(wanted, chat), name=f"reply {turn}")
                    under_way.add_done_callback(lambda task: self._news.set())
        finally:
            if under_way is not None:
                await cancel(under_way)

    async def _settle(self, verdict: Decision) -> None:
        """The caller has decided over the reply that was prepared: let it be heard, or take it back."""
        metrics.PREPARED.labels(verdict.value).inc()
        turn = self._dialogue.newest_turn
        message: ReplyReleased | ReplyDiscarded = ReplyDiscarded(turn)
        if verdict is Decision.RELEASE:
            said = self._dialogue.last_said
            message = ReplyReleased(
                self._claim.call_id, self._claim.token, turn, said.stage_ms if said is not None else ()
            )
        await self.write(message)
        self._dialogue.receive(message)  # not to settle it twice while our own news is on its way back
        if isinstance(message, ReplyReleased):
            self._bus.publish(edge_priority(self._connection.edge), message)
        elif not self._dialogue.mouth_holds:
            await self.write(Interrupted(turn, 0, 0))  # a mouth of release 0.1.0 took over: this it understands

    async def _begin(self, wanted: WantedReply) -> None:
        """Say that the reply is begun, before it may be cancelled: its number is taken, whatever becomes of it."""
        if wanted.published == 0:
            started = ReplyStarted(wanted.turn, wanted.utterance, wanted.based_on)
            await self.write(started)
            self._dialogue.receive(started)  # not to take it for unbegun while our own news is on its way back

    async def _reply(self, wanted: WantedReply, chat: list[ChatMessage]) -> None:
        """Publish one reply, clause by clause, after those that a dead owner has published."""
        traces.about(traces.TurnTrace(self._claim.call_id, wanted.utterance, wanted.turn))
        asked = self._dialogue.asked(wanted.utterance)
        writer = _Writer(self, wanted, asked)
        then, failed = "", False
        try:
            async with asyncio.timeout(REPLY_SECONDS_MAX):
                if wanted.utterance == 0:
                    await writer.rest_of(self._character.greeting)
                else:
                    then = await self._answer(writer, chat)
                    self._speechless = 0
        except (ProviderError, TimeoutError) as error:
            log.warning("no model could answer: %s", error, extra={"call_id": self._claim.call_id})
            if isinstance(error, ProviderError):
                await self._character.model_chain.models.exhausted(self._claim.call_id)
            failed = True
        await writer.finish()  # also what a model said before it failed, if nobody could go on
        if not writer.count and failed:
            metrics.ANSWERS_FAILED.labels("no model").inc()
            await self._apologise(writer)
        elif not writer.count and then:
            await writer.whole(self._character.farewell)
        await self.write(ReplyEnded(wanted.turn, writer.count, then))

    async def _apologise(self, writer: _Writer) -> None:
        """Say that something is wrong; when that happens again at once, end the call rather than say it for ever."""
        self._speechless += 1
        if self._speechless >= SPEECHLESS_MAX:
            hang_up(self._bus, self._claim, EndReason.ERROR, self._connection)
            return
        await writer.whole(self._character.apology)

    async def _answer(self, writer: _Writer, chat: list[ChatMessage]) -> str:
        """Stream the answer; returns what follows it ("" or "hangup")."""
        then = ""
        stream = self._character.model_chain.reply(chat, [END_CALL], lambda: writer.said, self._claim.call_id)
        async with aclosing(stream) as events:
            async for event in events:
                match event:
                    case str():
                        await writer.text(event)
                    case TextComplete():
                        await writer.finish()
                    case Retracted():
                        writer.forget()
                    case ModelSwitched(error):
                        writer.set_aside()
                        log.warning("a model failed: %s", error, extra={"call_id": self._claim.call_id})
                    case TokenUsage():
                        await self.write(_used(event))
                    case _ if tool_name(event.name) == END_CALL["function"]["name"]:
                        then = "hangup"
                    case _:
                        log.warning(
                            "the model asked for a tool that is not there", extra={"call_id": self._claim.call_id}
                        )
        writer.forget_aside()
        return then

    @property
    def _connection(self) -> Connection:
        known = self._dialogue if self._dialogue.edge else self._claim.record
        return Connection(known.edge, known.epoch)

    def said(self, turn: int) -> str:
        """What is published of a reply."""
        return self._dialogue.said(turn)

    async def write(self, message: Message) -> None:
        """Append to the call's story, or learn that it is no longer ours (raises Fenced).

        A ledger that does not answer is a ConnectionError: a TimeoutError is a model's that takes too long.
        """
        try:
            written = await self._store.append(self._claim, [message])
        except TimeoutError as error:
            raise ConnectionError("the ledger did not answer") from error
        if not written:
            raise Fenced


class _Writer:
    """Cuts one reply's text into clauses and publishes each as soon as it is whole."""

    def __init__(self, session: LlmSession, wanted: WantedReply, asked: UserTurn | EagerUserTurn | None) -> None:
        self._session = session
        self._turn = wanted.turn
        self._stage_ms: StageMs = asked.stage_ms if asked is not None else ()
        self._clauses = Clauses()
        self._aside = False
        self._first_token_ms = 0
        self.said = session.said(wanted.turn)
        """What was published of the reply, perhaps by a dead owner."""
        self.count = wanted.published
        """Clauses of the reply so far."""

    async def text(self, piece: str) -> None:
        if piece and not self._first_token_ms:
            self._first_token_ms = wall_ms()
        if piece and self._aside:
            self.forget()
        for clause in self._clauses.feed(piece):
            await self._publish(clause)

    async def rest_of(self, text: str) -> None:
        """The whole text is known; say what was not said of it yet."""
        await self.text(after(self.said, text))

    async def whole(self, text: str) -> None:
        """Say this text and nothing after it."""
        await self.text(text)
        await self.finish()

    def forget(self) -> None:
        """Text that makes no whole clause yet is not to be said."""
        self._clauses = Clauses()
        self._aside = False

    def set_aside(self) -> None:
        """The model failed: its unpublished text is only said if nobody says anything after it."""
        self._aside = True

    def forget_aside(self) -> None:
        """Another model has gone on, and so decided what follows."""
        if self._aside:
            self.forget()

    async def finish(self) -> None:
        """The text is over, as far as it is known: nothing waits for more of it."""
        for clause in self._clauses.finish():
            await self._publish(clause)

    async def _publish(self, text: str) -> None:
        if not is_speakable(text):
            return  # a smile or a rule at the end: there is nothing to synthesise
        number = self.count
        self.count += 1
        self.said = f"{self.said} {text}".strip()
        stage_ms = (*self._stage_ms, self._first_token_ms, wall_ms()) if self._stage_ms and number == 0 else ()
        if stage_ms:
            traces.stage("first_token", *stage_ms[-3:-1])
            traces.stage("first_clause", *stage_ms[-2:])
        await self._session.write(Clause(self._turn, number, text, stage_ms))


def _used(spent: TokenUsage) -> UsageReported:
    tokens = spent.tokens
    amounts = (
        ("tokens_in", tokens.tokens_in),
        ("tokens_cached", tokens.tokens_cached),
        ("tokens_out", tokens.tokens_out),
    )
    metrics.count_usage("llm", spent.spec, dict(amounts))
    return UsageReported("llm", spent.spec, amounts)
