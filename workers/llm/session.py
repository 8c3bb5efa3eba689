"""Runs the LLM worker's part of one call: reads the event log and keeps the wanted reply running.

After every event the `Dialogue` returns the wanted reply.  If another reply is running, it is cancelled (its model
request is closed at once) and the wanted one is started.  Nothing else starts or stops a reply.

The model is asked while `ReplyStarted` is being written.  Nothing of the reply is written before that write has
succeeded; if it is refused (`Fenced`), the request is closed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from common.bus import Bus
from common.call.end_reasons import EndReason
from common.process.tasks import cancel
from common.protocol.acts import KeepKeysSecret, SendKeys, ToolReturned, ToolsOffered, TransferCall
from common.protocol.messages import Message, ReplyDiscarded, ReplyEnded, ReplyReleased, ReplyStarted
from common.protocol.redis_keys import EVENTS_MAXLEN, edge_priority
from common.store import CallStore, Claim
from common.telemetry import metrics, traces
from workers.llm.conversation import Decision, Dialogue, WantedReply
from workers.llm.log_changes import LogChanges
from workers.llm.reply_run import Answer, Persona, ReplyRun
from workers.llm.reply_work import ReplyWork
from workers.llm.reply_writer import ReplyEvents, ReplyWriter
from workers.llm.tools.due import Due, HandOffDue, KeysDue, handed_off
from workers.providers.interfaces import ChatMessage
from workers.runtime.event_session import EventSession
from workers.runtime.hang_up import Connection, hang_up
from workers.runtime.per_agent import PerAgent

log = logging.getLogger(__name__)

FAILED_REPLIES_MAX = 2
"""After this many replies in a row without a model the call is given up; the edge plays its fallback message."""
TIMER_LATE_S = 1e-6
"""How much later than due a timer fires: milliseconds turned into seconds and back may be less than they were."""


class LlmSession:
    """Implements `workers.runtime.runner.Session` for the LLM pool."""

    def __init__(self, claim: Claim, bus: Bus, store: CallStore, personas: PerAgent[Persona]) -> None:
        self._claim = claim
        self._bus = bus
        self._log = EventSession(claim, bus, store)
        self._personas = personas
        self._dialogue = Dialogue(personas.now.instructions, personas.now.interruptible, personas.now.keypad)
        self._changes = LogChanges()
        self._ordered: set[tuple[int, Due]] = set()  # (epoch, order) that the edge was given
        self._secret_order: tuple[int, tuple[str, int]] | None = None  # (epoch, …) of the newest `KeepKeysSecret`
        self._timer: asyncio.TimerHandle | None = None
        self._events = 0
        self._failed_replies = 0
        self._work: ReplyWork | None = None  # of the newest reply that was generated here

    async def run(self) -> None:
        async with self._log.following(self._receive):
            await self._follow()

    def _receive(self, message: Message) -> None:
        self._fold(message)
        if isinstance(message, ToolsOffered):
            self._personas.now.toolbox.offer(message)
        self._changes.notify()
        self._events += 1
        if self._events == EVENTS_MAXLEN:
            hang_up(self._bus, self._claim, EndReason.TOO_LONG, self._connection)

    def _fold(self, message: Message) -> None:
        """Fold an event of the log; those written here are folded at once, and again when they come by the log."""
        self._dialogue.receive(message, _now_ms())
        if self._personas.receive(message):
            now = self._personas.now
            self._dialogue.hand_over(now.instructions, now.interruptible, now.keypad)

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
                await self._do_what_is_due()
                await self._take_keys()
                wanted = self._dialogue.wanted(_now_ms())
                self._set_timer()
                if running is not None and (wanted is None or wanted.turn != turn):
                    await cancel(running.reply)
                    running = None
                if running is not None and running.reply.done():
                    running.reply.result()
                if wanted is not None and wanted.turn > turn:
                    turn = wanted.turn
                    running = self._begin(wanted)
        finally:
            if self._timer is not None:
                self._timer.cancel()
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
            started = ReplyStarted(wanted.turn, wanted.utterance, wanted.based_on, wanted.inputs)
            await self._log.write(started)
            self._dialogue.receive(started)  # before it comes back through the log, so that it is not started twice

    async def _reply(
        self, wanted: WantedReply, chat: list[ChatMessage], work: ReplyWork, started: asyncio.Task[None]
    ) -> None:
        """Publish one reply clause by clause, after the clauses that a previous owner has published."""
        persona = self._personas.of(wanted.turn)
        traces.about(traces.TurnTrace(self._claim.call_id, wanted.utterance, wanted.turn))
        user_turn = self._dialogue.user_turn(wanted.utterance)
        events = ReplyEvents(self._log, started)
        writer = ReplyWriter(events, wanted, self._dialogue.published_text(wanted.turn), user_turn, work)
        answer = Answer()
        if wanted.is_greeting:
            await writer.finish_text(persona.greeting, fixed=self._same_in_all_calls)
        elif wanted.menu is not None and wanted.menu.say:
            await writer.finish_text(wanted.menu.say, fixed=self._same_in_all_calls)
        else:
            run = ReplyRun(wanted, self._dialogue, persona, writer, self._changes, self._claim.call_id)
            answer = await run.answer(chat, wanted.menu)
            self._failed_replies *= answer.failed
        await writer.finish()  # includes the text of a model that failed, if no other could continue
        if not writer.spoke and answer.failed:
            metrics.ANSWERS_FAILED.labels("no model").inc()
            await self._apologise(writer, persona.apology)
        elif not writer.count and answer.then:
            await writer.say_only(persona.farewell, fixed=self._same_in_all_calls)
        await events.write(ReplyEnded(wanted.turn, writer.count, answer.then))

    async def _apologise(self, writer: ReplyWriter, apology: str) -> None:
        """Speak the apology; if the reply before failed too, end the call instead of repeating it."""
        self._failed_replies += 1
        if self._failed_replies >= FAILED_REPLIES_MAX:
            hang_up(self._bus, self._claim, EndReason.ERROR, self._connection)
            return
        await writer.say_only(apology, fixed=True)

    async def _do_what_is_due(self) -> None:
        """Give the edge the orders that are due, once for each of the call's connections, and write results."""
        claim, epoch = self._claim, self._dialogue.epoch
        for each in self._dialogue.due():
            if isinstance(each, ToolReturned | HandOffDue):
                events = handed_off(each, self._dialogue.newest_turn + 1) if isinstance(each, HandOffDue) else [each]
                await self._log.write(*events)
                for event in events:
                    self._fold(event)  # before it comes back by the log: it is not written twice
            elif (epoch, each) not in self._ordered:
                self._ordered.add((epoch, each))
                about = (claim.call_id, claim.token, epoch, each.turn, each.n)
                order: Message = (
                    SendKeys(*about, each.keys)
                    if isinstance(each, KeysDue)
                    else TransferCall(*about, each.target, self._personas.name_of(each.turn), each.reason)
                )
                self._bus.publish(edge_priority(self._connection.edge), order)

    async def _take_keys(self) -> None:
        """Write the entries of keys that are complete, and tell the edge which keys are secret."""
        keys, claim = self._dialogue.keys, self._claim
        while entered := keys.due(_now_ms()):
            await self._log.write(*entered)
            for message in entered:
                self._fold(message)  # before it comes back by the log: it is not written twice
        epoch, secret = self._dialogue.epoch, keys.secret(_now_ms())
        if secret is not None and (epoch, secret) != self._secret_order:
            self._secret_order = (epoch, secret)
            order = KeepKeysSecret(claim.call_id, claim.token, epoch, *secret)
            self._bus.publish(edge_priority(self._connection.edge), order)

    def _set_timer(self) -> None:
        """Look again when something is due, should no event come before."""
        if self._timer is not None:
            self._timer.cancel()
        due_ms = self._dialogue.wake_ms(_now_ms())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(due_ms / 1000 + TIMER_LATE_S, self._log.wake) if due_ms is not None else None

    @property
    def _same_in_all_calls(self) -> bool:
        """False for an outbound call: its variables, a name perhaps, may be in the greeting and the farewell."""
        return not self._claim.record.dial_id

    @property
    def _connection(self) -> Connection:
        known = self._dialogue if self._dialogue.edge else self._claim.record
        return Connection(known.edge, known.epoch)


def _now_ms() -> float:
    return 1000 * asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class _RunningReply:
    """The two tasks of a reply: `started` writes `ReplyStarted`, `reply` generates and publishes the clauses."""

    started: asyncio.Task[None]
    reply: asyncio.Task[None]
