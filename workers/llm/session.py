"""Runs the LLM worker's part of one call: reads the event log and keeps the wanted reply running.

After every event the `Dialogue` returns the wanted reply.  If another reply is running, it is cancelled (its model
request is closed at once) and the wanted one is started.  Nothing else starts or stops a reply.

The model is asked while `ReplyStarted` is being written.  Nothing of the reply is written before that write has
succeeded; if it is refused (`Fenced`), the request is closed.
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
from common.process.tasks import cancel
from common.protocol.fields import StageMs
from common.protocol.messages import (
    Clause,
    EagerUserTurn,
    Message,
    ReplyDiscarded,
    ReplyEnded,
    ReplyReleased,
    ReplyStarted,
    UsageReported,
    UserTurn,
)
from common.protocol.redis_keys import EVENTS_MAXLEN, edge_priority
from common.store import CallStore, Claim
from common.telemetry import metrics, traces
from workers.llm.conversation import Decision, Dialogue, WantedReply
from workers.llm.model_chain import ModelChain, ModelSwitched, TokenUsage
from workers.llm.reply_work import ReplyWork
from workers.llm.text.clauses import Clauses
from workers.llm.text.phrases import APOLOGIES, FAREWELLS
from workers.llm.text.speakable import is_speakable
from workers.llm.text.tool_calls import tool_name
from workers.providers.interfaces import ChatMessage, ProviderError, Retracted, TextComplete, after
from workers.runtime.event_session import EventSession
from workers.runtime.hang_up import Connection, hang_up

log = logging.getLogger(__name__)

REPLY_SECONDS_MAX = 60.0
"""Longest generation of one reply, in seconds; after it the reply ends with the text that has come."""
FAILED_REPLIES_MAX = 2
"""After this many replies in a row without a model the call is given up; the edge plays its fallback message."""
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
    """The agent's side of the conversation, from the agent's file, and the models that generate it."""

    greeting: str
    instructions: str
    model_chain: ModelChain
    interruptible: bool = True
    farewell: str = FAREWELLS["en"]
    """Spoken if the model ends the call without a word."""
    apology: str = APOLOGIES["en"]
    """Spoken if no model could answer."""


class LlmSession:
    """Implements `workers.runtime.runner.Session` for the LLM pool."""

    def __init__(self, claim: Claim, bus: Bus, store: CallStore, persona: Persona) -> None:
        self._claim = claim
        self._bus = bus
        self._log = EventSession(claim, bus, store)
        self._persona = persona
        self._dialogue = Dialogue(persona.instructions, persona.interruptible)
        self._events = 0
        self._failed_replies = 0
        self._work: ReplyWork | None = None  # of the newest reply that was generated here

    async def run(self) -> None:
        async with self._log.following(self._receive):
            await self._follow()

    def _receive(self, message: Message) -> None:
        self._dialogue.receive(message)
        self._events += 1
        if self._events == EVENTS_MAXLEN:
            hang_up(self._bus, self._claim, EndReason.TOO_LONG, self._connection)

    async def _follow(self) -> None:
        """Keep the wanted reply running until the call is over."""
        running: _RunningReply | None = None
        turn = 0
        try:
            while not self._dialogue.over:
                await self._log.changed()
                if running is not None:
                    await running.started  # before the next decision: it may depend on this event
                if (decision := self._dialogue.decision()) is not None:
                    await self._resolve_preemptive_reply(decision)
                wanted = self._dialogue.wanted()
                if running is not None and (wanted is None or wanted.turn != turn):
                    await cancel(running.reply)
                    running = None
                if running is not None and running.reply.done():
                    running.reply.result()
                if wanted is not None and wanted.turn > turn:
                    turn = wanted.turn
                    running = self._begin(wanted)
        finally:
            if running is not None:
                await cancel(running.reply)
                await cancel(running.started)

    def _begin(self, wanted: WantedReply) -> _RunningReply:
        """Start to write `ReplyStarted`, and to generate the reply.

        They are two tasks: the reply's number is taken even if the reply is cancelled.
        """
        chat = self._dialogue.messages()  # taken now: more events may arrive while the start is written
        started = asyncio.create_task(self._write_start(wanted), name=f"start of reply {wanted.turn}")
        self._work = work = ReplyWork(wanted.turn, preemptive=bool(wanted.based_on))
        reply = asyncio.create_task(self._reply(wanted, chat, work, started), name=f"reply {wanted.turn}")
        reply.add_done_callback(work.end)
        for task in (started, reply):
            task.add_done_callback(lambda _: self._log.wake())
        return _RunningReply(started, reply)

    async def _resolve_preemptive_reply(self, decision: Decision) -> None:
        """Release or discard the preemptive reply, now that the caller's turn confirms or contradicts it."""
        metrics.PREPARED.labels(decision.value).inc()
        turn = self._dialogue.newest_turn
        if self._work is not None and self._work.turn == turn:
            self._work.settle(discarded=decision is Decision.DISCARD)
        message: ReplyReleased | ReplyDiscarded = ReplyDiscarded(turn)
        if decision is Decision.RELEASE:
            user_turn = self._dialogue.last_user_turn
            message = ReplyReleased(
                self._claim.call_id, self._claim.token, turn, user_turn.stage_ms if user_turn is not None else ()
            )
        await self._log.write(message)
        self._dialogue.receive(message)  # before it comes back through the log, so that it is not decided twice
        if isinstance(message, ReplyReleased):
            self._bus.publish(edge_priority(self._connection.edge), message)

    async def _write_start(self, wanted: WantedReply) -> None:
        if wanted.published == 0:
            started = ReplyStarted(wanted.turn, wanted.utterance, wanted.based_on)
            await self._log.write(started)
            self._dialogue.receive(started)  # before it comes back through the log, so that it is not started twice

    async def _reply(
        self, wanted: WantedReply, chat: list[ChatMessage], work: ReplyWork, started: asyncio.Task[None]
    ) -> None:
        """Publish one reply clause by clause, after the clauses that a previous owner has published."""
        traces.about(traces.TurnTrace(self._claim.call_id, wanted.utterance, wanted.turn))
        user_turn = self._dialogue.user_turn(wanted.utterance)
        events = _ReplyEvents(self._log, started)
        writer = _Writer(events, wanted, self._dialogue.published_text(wanted.turn), user_turn, work)
        then, failed = "", False
        try:
            async with asyncio.timeout(REPLY_SECONDS_MAX):
                if wanted.utterance == 0:
                    await writer.finish_text(self._persona.greeting, fixed=self._same_in_all_calls)
                else:
                    then = await self._answer(writer, chat)
                    self._failed_replies = 0
        except (ProviderError, TimeoutError) as error:
            log.warning("no model could answer: %s", error, extra={"call_id": self._claim.call_id})
            if isinstance(error, ProviderError):
                await self._persona.model_chain.models.exhausted(self._claim.call_id)
            failed = True
        await writer.finish()  # includes the text of a model that failed, if no other could continue
        if not writer.count and failed:
            metrics.ANSWERS_FAILED.labels("no model").inc()
            await self._apologise(writer)
        elif not writer.count and then:
            await writer.say_only(self._persona.farewell, fixed=self._same_in_all_calls)
        await events.write(ReplyEnded(wanted.turn, writer.count, then))

    async def _apologise(self, writer: _Writer) -> None:
        """Speak the apology; if the reply before failed too, end the call instead of repeating it."""
        self._failed_replies += 1
        if self._failed_replies >= FAILED_REPLIES_MAX:
            hang_up(self._bus, self._claim, EndReason.ERROR, self._connection)
            return
        await writer.say_only(self._persona.apology, fixed=True)

    async def _answer(self, writer: _Writer, chat: list[ChatMessage]) -> str:
        """Stream the answer and return the action after it: "" or "hangup"."""
        then = ""
        stream = self._persona.model_chain.reply(chat, [END_CALL], lambda: writer.prefix, self._claim.call_id)
        async with aclosing(stream) as events:
            async for event in events:
                match event:
                    case str():
                        await writer.text(event)
                    case TextComplete():
                        await writer.finish()
                    case Retracted():
                        writer.drop_unpublished()
                    case ModelSwitched(error):
                        writer.set_aside()
                        log.warning("a model failed: %s", error, extra={"call_id": self._claim.call_id})
                    case TokenUsage():
                        await writer.events.write(_usage_report(event))
                    case _ if tool_name(event.name) == END_CALL["function"]["name"]:
                        then = "hangup"
                    case _:
                        log.warning(
                            "the model called a tool that was not offered", extra={"call_id": self._claim.call_id}
                        )
        writer.drop_set_aside()
        return then

    @property
    def _same_in_all_calls(self) -> bool:
        """False for an outbound call: its variables, a name perhaps, may be in the greeting and the farewell."""
        return not self._claim.record.dial_id

    @property
    def _connection(self) -> Connection:
        known = self._dialogue if self._dialogue.edge else self._claim.record
        return Connection(known.edge, known.epoch)


@dataclass(frozen=True, slots=True)
class _RunningReply:
    """The two tasks of a reply: `started` writes `ReplyStarted`, `reply` generates and publishes the clauses."""

    started: asyncio.Task[None]
    reply: asyncio.Task[None]


class _ReplyEvents:
    """Writes the events of one reply, none of them before its `ReplyStarted`."""

    def __init__(self, log: EventSession, started: asyncio.Task[None]) -> None:
        self._log = log
        self._started = started

    async def write(self, message: Message) -> None:
        """Append one event.  Raises as `EventSession.write` does, also for the write of `ReplyStarted`."""
        if not self._started.done():
            await asyncio.wait([self._started])  # unlike `await`, does not cancel it if the reply is cancelled
        self._started.result()
        await self._log.write(message)


class _Writer:
    """Cuts one reply's text into clauses and publishes each as soon as it is complete."""

    def __init__(
        self,
        events: _ReplyEvents,
        wanted: WantedReply,
        prefix: str,
        user_turn: UserTurn | EagerUserTurn | None,
        work: ReplyWork,
    ) -> None:
        self.events = events
        self._work = work
        self._turn = wanted.turn
        self._stage_ms: StageMs = user_turn.stage_ms if user_turn is not None else ()
        self._clauses = Clauses()
        self._aside = False
        self._fixed = False
        self._first_token_ms = 0
        self.prefix = prefix
        """The published text of the reply, including that of a previous owner."""
        self.count = wanted.published
        """Number of published clauses of the reply."""

    async def text(self, piece: str) -> None:
        if piece:
            self._work.tokens += 1
            self._first_token_ms = self._first_token_ms or wall_ms()
        if piece and self._aside:
            self.drop_unpublished()
        for clause in self._clauses.feed(piece):
            await self._publish(clause)

    async def finish_text(self, text: str, *, fixed: bool) -> None:
        """Publish what follows the prefix in `text`, which is the whole reply.  `fixed`: see `Clause.fixed`."""
        self._fixed = fixed
        await self.text(after(self.prefix, text))

    async def say_only(self, text: str, *, fixed: bool) -> None:
        """Publish this text and end the reply.  `fixed`: see `Clause.fixed`."""
        self._fixed = fixed
        await self.text(text)
        await self.finish()

    def drop_unpublished(self) -> None:
        """Drop the text that is not a complete clause yet."""
        self._clauses = Clauses()
        self._aside = False

    def set_aside(self) -> None:
        """Mark the unpublished text of a failed model: it is published only if no other model adds text."""
        self._aside = True

    def drop_set_aside(self) -> None:
        """Drop the marked text: another model has continued and decides what follows."""
        if self._aside:
            self.drop_unpublished()

    async def finish(self) -> None:
        """Publish the rest of the text; more may still follow."""
        for clause in self._clauses.finish():
            await self._publish(clause)

    async def _publish(self, text: str) -> None:
        if not is_speakable(text):
            return  # an emoji or a rule at the end: there is nothing to synthesise
        self._work.characters += len(text)
        number = self.count
        self.count += 1
        self.prefix = f"{self.prefix} {text}".strip()
        stage_ms = (*self._stage_ms, self._first_token_ms, wall_ms()) if self._stage_ms and number == 0 else ()
        if stage_ms:
            traces.stage("first_token", *stage_ms[-3:-1])
            traces.stage("first_clause", *stage_ms[-2:])
        await self.events.write(Clause(self._turn, number, text, stage_ms, self._fixed))


def _usage_report(usage: TokenUsage) -> UsageReported:
    tokens = usage.tokens
    amounts = (
        ("tokens_in", tokens.tokens_in),
        ("tokens_cached", tokens.tokens_cached),
        ("tokens_out", tokens.tokens_out),
    )
    metrics.count_usage("llm", usage.spec, dict(amounts))
    return UsageReported("llm", usage.spec, amounts)
