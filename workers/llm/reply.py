"""The mind's part in one call: reads its story, keeps the one reply under way that should be.

After every event the dialogue says which reply is wanted; if it is not the one under way, that one is cancelled (its
model request is closed at once) and the wanted one is begun.  Nothing else decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from common import metrics
from common.bus import Bus
from common.clock import wall_ms
from common.ledger import Claim, Ledger
from common.messages import Clause, HangUp, Message, OwnerChanged, ReplyEnded, ReplyStarted, Stamps
from common.streams import EVENTS_MAXLEN, call_events, edge_priority
from common.tasks import cancel
from workers.llm.clauses import Clauses
from workers.llm.dialogue import Dialogue, Wanted
from workers.providers import LanguageModel, ProviderError, ToolCall
from workers.runner import Fenced

log = logging.getLogger(__name__)

REPLY_SECONDS_MAX = 60.0
"""A model that is still talking after this is cut off at the clause."""
APOLOGY = "I am sorry, I have a problem right now. Could you say that again, please?"
END_CALL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "end_call",
        "description": "Hang up after your reply. Say goodbye in the same reply.",
        "parameters": {"type": "object", "properties": {}},
    },
}


@dataclass(frozen=True, slots=True)
class Character:
    """Who answers: from the agent's file, and by which model."""

    greeting: str
    instructions: str
    model: LanguageModel
    provider: str
    """The model's "vendor/model", for metrics."""
    interruptible: bool = True


class ReplySession:
    """See `workers.runner.Session`."""

    def __init__(self, claim: Claim, bus: Bus, ledger: Ledger, character: Character) -> None:
        self._claim = claim
        self._bus = bus
        self._ledger = ledger
        self._character = character
        self._dialogue = Dialogue(character.instructions, character.interruptible)
        self._live = False
        self._events = 0
        self._news = asyncio.Event()
        self._error: Exception | None = None

    async def run(self) -> None:
        events = call_events(self._claim.call_id)
        await self.write(OwnerChanged("llm", self._claim.token, self._claim.owner, wall_ms()))
        self._bus.subscribe(events, self._receive, self._fail)
        try:
            await self._follow()
        finally:
            self._bus.unsubscribe(events)

    def _receive(self, entry_id: str, message: Message) -> None:
        if isinstance(message, OwnerChanged) and (message.pool, message.token) == ("llm", self._claim.token):
            self._live = True  # everything that was written before us has been read
        self._dialogue.receive(message)
        self._events += 1
        if self._events == EVENTS_MAXLEN:
            self._bus.publish(edge_priority(self._claim.record.edge), HangUp(self._claim.call_id, "too long"))
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
                wanted = self._dialogue.wanted()
                if under_way is not None and (wanted is None or wanted.turn != turn):
                    await cancel(under_way)
                    under_way = None
                if under_way is not None and under_way.done():
                    under_way.result()
                if wanted is not None and wanted.turn > turn:
                    turn = wanted.turn
                    under_way = asyncio.create_task(self._reply(wanted), name=f"reply {turn}")
                    under_way.add_done_callback(lambda task: self._news.set())
        finally:
            if under_way is not None:
                await cancel(under_way)

    async def _reply(self, wanted: Wanted) -> None:
        """Publish one reply, clause by clause.  Clauses that a dead owner has published are not published again."""
        asked = self._dialogue.asked
        stamps = asked.stamps if asked is not None and wanted.utterance == asked.utterance else ()
        writer = _Writer(self, wanted, stamps)
        if wanted.published == 0:
            await self.write(ReplyStarted(wanted.turn, wanted.utterance))
        then = ""
        try:
            async with asyncio.timeout(REPLY_SECONDS_MAX):
                if wanted.utterance == 0:
                    await writer.text(self._character.greeting)
                else:
                    then = await self._answer(writer)
        except (ProviderError, TimeoutError) as error:
            metrics.PROVIDER_ERRORS.labels(self._character.provider, type(error).__name__.lower()).inc()
            log.warning("the model failed: %s", error, extra={"call_id": self._claim.call_id})
            if not writer.count:
                await writer.text(APOLOGY)
        await writer.finish()
        await self.write(ReplyEnded(wanted.turn, writer.count, then))

    async def _answer(self, writer: _Writer) -> str:
        """Stream the model's answer; returns what follows it ("" or "hangup")."""
        then = ""
        stream = self._character.model.reply(self._dialogue.messages(), [END_CALL])
        async with aclosing(cast("AsyncGenerator[str | ToolCall, None]", stream)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    await writer.text(piece)
                elif piece.name == "end_call":
                    then = "hangup"
                else:
                    log.warning("the model asked for a tool that is not there", extra={"call_id": self._claim.call_id})
        return then

    async def write(self, message: Message) -> None:
        """Append to the call's story, or learn that it is no longer ours (raises Fenced)."""
        if not await self._ledger.append(self._claim, [message]):
            raise Fenced


class _Writer:
    """Cuts one reply's text into clauses and publishes each as soon as it is whole."""

    def __init__(self, session: ReplySession, wanted: Wanted, stamps: Stamps) -> None:
        self._session = session
        self._wanted = wanted
        self._stamps = stamps
        self._clauses = Clauses()
        self._first_token_ms = 0
        self.count = 0
        """Clauses of the reply so far."""

    async def text(self, piece: str) -> None:
        if piece and not self._first_token_ms:
            self._first_token_ms = wall_ms()
        for clause in self._clauses.feed(piece):
            await self._publish(clause)

    async def finish(self) -> None:
        for clause in self._clauses.finish():
            await self._publish(clause)

    async def _publish(self, text: str) -> None:
        number = self.count
        self.count += 1
        if number < self._wanted.published:
            return
        stamps = (*self._stamps, self._first_token_ms, wall_ms()) if self._stamps and number == 0 else ()
        await self._session.write(Clause(self._wanted.turn, number, text, stamps))
