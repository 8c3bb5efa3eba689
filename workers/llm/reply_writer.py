"""Publishes the clauses of one reply."""

from __future__ import annotations

import asyncio

from common.process.clock import wall_ms
from common.protocol.fields import StageMs
from common.protocol.messages import Clause, EagerUserTurn, Message, UserTurn
from common.telemetry import traces
from workers.llm.conversation import WantedReply
from workers.llm.reply_work import ReplyWork
from workers.llm.text.clauses import Clauses
from workers.llm.text.speakable import is_speakable
from workers.providers.interfaces import after
from workers.runtime.event_session import EventSession


class ReplyEvents:
    """Writes the events of one reply, none of them before its `ReplyStarted`."""

    def __init__(self, log: EventSession, started: asyncio.Task[None]) -> None:
        self._log = log
        self._started = started

    async def started(self) -> None:
        """Wait until `ReplyStarted` is written.  Raises as `write` does."""
        if not self._started.done():
            await asyncio.wait([self._started])  # unlike `await`, does not cancel it if the reply is cancelled
        self._started.result()

    async def write(self, *messages: Message) -> None:
        """Append events.  Raises as `EventSession.write` does, also for the write of `ReplyStarted`."""
        await self.started()
        await self._log.write(*messages)


class ReplyWriter:
    """Cuts one reply's text into clauses and publishes each as soon as it is complete."""

    def __init__(
        self,
        events: ReplyEvents,
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
        self._round_began = wanted.published if not prefix else 0

    async def text(self, piece: str) -> None:
        """Take the next piece of the text, and publish the clauses that it completes."""
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

    async def play(self, sound: str) -> None:
        """Publish a sound of the agent's file as a clause."""
        number = self.count
        self.count += 1
        await self.events.write(Clause(self._turn, number, "", sound=sound))

    def end_round(self) -> None:
        """A round of tools follows or has ended: the model continues no text, but begins anew."""
        self.prefix = ""
        self._fixed = False  # it was for the sentence said while a tool ran
        self._round_began = self.count

    @property
    def spoke(self) -> bool:
        """Whether a clause was published since the last round of tools, or since the reply began."""
        return self.count > self._round_began

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
