"""A mind whose ledger is slow or silent neither falls silent nor tells half a reply.  Found by the simulation."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import (
    CallStarted,
    Clause,
    EagerUserTurn,
    Message,
    PlaybackStarted,
    ReplyEnded,
    ReplyPlayed,
    ReplyStarted,
    SpeechStarted,
    UserTurn,
)
from common.protocol.redis_keys import call_events
from common.store import CallRecord, Claim
from common.store.memory import MemoryCallStore
from tests.calls.doubles import Mind
from workers.llm.model_chain import ModelChain
from workers.llm.reply_run import Persona
from workers.llm.session import LlmSession
from workers.providers.failover import Failover, Source
from workers.runtime.event_session import Fenced
from workers.runtime.per_agent import of_one_agent

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

EVENTS = call_events("call-1")
GREETED = (
    CallStarted(1, "edge-1", 0),
    ReplyStarted(1, 0),
    Clause(1, 0, "Hello."),
    ReplyEnded(1, 1),
    PlaybackStarted(1, 0),
    ReplyPlayed(1),
)


class SlowLedger(MemoryCallStore):
    """Writes after a while; a clause not at all while `silent`, the start of a reply after `start_s`."""

    silent = False
    start_s = 0.1

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        await asyncio.sleep(self.start_s if isinstance(messages[0], ReplyStarted) else 0.1)
        if self.silent and any(isinstance(message, Clause) for message in messages):
            raise TimeoutError
        return await super().append(claim, messages)


class Story:
    """The story of one call, and the mind that follows it."""

    def __init__(self) -> None:
        self.mind = Mind()
        self.streams = MemoryStreams()
        self.store = SlowLedger(self.streams)
        self.bus = MemoryBus(self.streams)

    def tell(self, *messages: Message) -> None:
        for message in messages:
            self.bus.publish(EVENTS, message)

    @property
    def told(self) -> list[Message]:
        return [message for _, message in self.streams.after(EVENTS, 0)]


@contextlib.asynccontextmanager
async def mind_at_work() -> AsyncIterator[tuple[Story, asyncio.Task[None]]]:
    transcript = Story()
    await transcript.store.create(CallRecord("call-1"))
    await transcript.store.start("call-1", "edge-1")
    claim = await transcript.store.claim("llm", "call-1", "llm-1")
    assert claim is not None
    transcript.mind.answers.update({"hours": "Nine to six.", "hours today": "Nine to six today."})
    model_chain = ModelChain(
        Failover((Source("llm", "test/llm", transcript.mind, 0, asyncio.get_running_loop().time),))
    )
    session = LlmSession(
        claim, transcript.bus, transcript.store, of_one_agent(Persona("Hello.", "Be brief.", model_chain))
    )
    transcript.tell(*GREETED)
    working = asyncio.create_task(session.run())
    await asyncio.sleep(1)
    yield transcript, working
    working.cancel()
    await asyncio.wait([working])


async def test_a_reply_that_is_taken_back_before_its_start_was_written_is_not_the_last_one():
    async with mind_at_work() as (transcript, _):
        transcript.tell(EagerUserTurn(1, "hours", (0, 0, 0)))
        await asyncio.sleep(0.02)  # its start is on its way
        transcript.tell(SpeechStarted("call-1", 1, 2, 2000))
        await asyncio.sleep(0.5)
        transcript.tell(UserTurn(2, "hours today", (0, 0, 0)))
        await asyncio.sleep(5)
        assert "".join(message.text for message in transcript.told[len(GREETED) :] if isinstance(message, Clause))


async def test_a_clause_that_could_not_be_written_leaves_the_reply_to_the_next_owner():
    async with mind_at_work() as (transcript, working):
        transcript.store.silent = True
        transcript.tell(UserTurn(1, "hours", (0, 0, 0)))
        await asyncio.sleep(5)
        assert isinstance(working.exception(), ConnectionError)
        assert [message for message in transcript.told[len(GREETED) :] if isinstance(message, ReplyEnded)] == []


async def test_the_model_is_asked_while_the_start_of_its_reply_is_written():
    async with mind_at_work() as (transcript, _):
        transcript.store.start_s = 1.0
        transcript.tell(UserTurn(1, "hours", (0, 0, 0)))
        await asyncio.sleep(0.9)
        assert transcript.mind.asked[-1][-1]["content"] == "hours"
        assert transcript.mind.open == 1
        assert isinstance(transcript.told[-1], UserTurn), "and nothing of it is published"
        await asyncio.sleep(5)
        reply = [type(message) for message in transcript.told if getattr(message, "turn", 0) == 2]
        assert reply == [ReplyStarted, Clause, ReplyEnded]


async def test_a_reply_whose_start_is_refused_publishes_nothing_and_closes_its_request():
    async with mind_at_work() as (transcript, working):
        transcript.mind.answers["hours"] = "Nine to six, and on Sundays we are closed. " * 20
        assert await transcript.store.claim("llm", "call-1", "llm-2") is not None  # nobody renews the lease here
        told = len(transcript.told)
        transcript.tell(UserTurn(1, "hours", (0, 0, 0)))
        await asyncio.sleep(0.09)
        assert transcript.mind.open == 1
        await asyncio.sleep(0.1)
        assert transcript.mind.open == 0, "the request is closed with the verdict"
        assert isinstance(working.exception(), Fenced)
        assert [type(message) for message in transcript.told[told:]] == [UserTurn]
