"""A phone call over a real Redis that is about to fail: edge, ears, mind and mouth in this process, in real time.

Each has connections of its own, as processes have.  Providers and carrier are the doubles of tests/calls: speech that
can be read off the audio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import httpx

from common.agents.model import Agent, Agents, GreetingAfter, to_document
from common.bus import Bus
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.protocol.messages import CallOffered, Message
from common.protocol.redis_keys import POOLS, call_events, pool_calls
from common.store import CallRecord, CallStore, Claim
from common.store.shards import connect_store
from edge.http.api import Api
from edge.http.app import EdgeApp
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.ticker import Ticker
from edge.session.call import Call, CallOptions
from edge.session.call_backup import BACKUP_PAUSE_MS, CallBackups
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.vobiz import stream_protocol
from edge.vobiz.signatures import Policy
from tests.calls.doubles import CarrierLine, Mind, Mouth, TextEars
from tests.calls.talking import Talking
from workers.llm.model_chain import ModelChain
from workers.llm.reply_run import Persona
from workers.llm.session import LlmSession
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import ListenOptions
from workers.runtime.per_agent import of_one_agent
from workers.runtime.runner import Runner, RunnerOptions, Session
from workers.stt.session import Recognition, SttSession
from workers.tts.session import TtsSession
from workers.tts.synthesis import AgentVoice

WAIT_SECONDS = 20.0
EDGE = "edge-1"
_DESK = Agent(
    "desk", greeting="Hello.", instructions="Be brief.", numbers=("*",), greeting_after_ms=GreetingAfter(0, 0)
)
AGENTS = Agents({"desk": _DESK})


class Caller(Talking):
    """One call: its carrier's line, and a microphone that is never off."""

    wait_s = WAIT_SECONDS

    def __init__(self, call_id: str, office: Office) -> None:
        self.call_id = call_id
        self._office = office
        self.speech = []
        self.line = CarrierLine(self._from_carrier)
        self.call: Call

    async def connect(self) -> None:
        office = self._office
        await office.store.create(CallRecord(self.call_id, to_document(AGENTS.for_number("")), "911234567890"))
        record = await office.store.start(self.call_id, office.edge)
        assert record is not None
        start = stream_protocol.Start(self.call_id, f"stream-of-{self.call_id}", stream_protocol.MediaFormat())
        self.call = Call(record, start, self.line, office.bus, office.ticker, CallOptions())
        office.calls.add(self.call)
        for pool in POOLS:
            office.bus.publish(pool_calls(pool), CallOffered(self.call_id))

    async def send(self, text: str) -> None:
        self._from_carrier(text)

    def on_line(self) -> bool:
        return not self.call.lifecycle.over

    async def transcript(self) -> list[Message]:
        return [message for _, message in await self._office.bus.read(call_events(self.call_id))]

    def _from_carrier(self, text: str) -> None:
        if not self.call.lifecycle.over:
            self.call.receive(stream_protocol.parse(text))


@dataclass
class Office:
    """An edge and one worker of each pool."""

    url: str
    ears: TextEars = field(default_factory=TextEars)
    mind: Mind = field(default_factory=Mind)
    mouth: Mouth = field(default_factory=Mouth)
    runners: dict[str, Runner] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    """Of "edge" or a pool, if it has a user of its own."""
    generation: int = 1
    """How often everything was started: each process has a name of its own."""
    places: int = 5
    """Calls that a worker takes; the edge takes twice as many."""

    async def open(self, stack: AsyncExitStack) -> None:
        """Start everything; it ends with the stack."""
        self.ticker = Ticker(asyncio.get_running_loop())
        stack.callback(self.ticker.close)
        self.bus, self.store = await self._connect(stack, self.edge)
        slow = await stack.enter_async_context(
            connect_bus(BusOptions(self._url(self.edge), "backups", pause_ms=BACKUP_PAUSE_MS))
        )
        self.calls = Calls(self.edge, self.bus, self.store, calls_max=2 * self.places)
        self.calls.listen()
        secret = b"the secret of this test"
        webhooks = Webhooks(
            self.calls, self.store, AGENTS, WebhookAuth(self.store, Policy.OFF, (), "", ()), None, "", secret
        )
        streams = MediaStreams(self.calls, self.store, self.bus, self.ticker, AGENTS, secret, 200)
        app = EdgeApp(self.calls, streams, webhooks, Api(AGENTS, self.store, self.bus, None, "", "")).app()
        transport = httpx.ASGITransport(app)
        self.http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://edge"))
        self._tasks = [
            asyncio.create_task(self.calls.housekeeping()),
            asyncio.create_task(CallBackups(self.calls, self.store, (self.bus, slow), secret).run()),
        ]
        for pool in POOLS:
            await self._hire(stack, pool)
        stack.push_async_callback(self._close)

    @property
    def edge(self) -> str:
        """The edge's name."""
        return f"edge-{self.generation}"

    async def answers(self, call_id: str) -> str:
        """The first verb of what a caller gets: "Stream", or "Speak" if the call cannot be taken."""
        response = await self.http.post("/answer", data={"CallUUID": call_id, "From": "911234567890", "To": "1"})
        return ElementTree.fromstring(response.content)[0].tag

    async def ready(self) -> bool:
        return (await self.http.get("/readyz")).status_code == 200

    async def phone(self, call_id: str = "call-1") -> Caller:
        caller = Caller(call_id, self)
        await caller.connect()
        self._tasks.append(asyncio.create_task(caller.microphone()))
        return caller

    async def _connect(self, stack: AsyncExitStack, name: str) -> tuple[Bus, CallStore]:
        bus = await stack.enter_async_context(connect_bus(BusOptions(self._url(name), name)))
        store = await stack.enter_async_context(connect_store(self._url(name), name, 60, 600))
        return bus, store

    def _url(self, name: str) -> str:
        return self.urls.get(name.partition("-")[0], self.url)

    async def _hire(self, stack: AsyncExitStack, pool: str) -> None:
        name = f"{pool}-{self.generation}"
        bus, store = await self._connect(stack, name)
        provider: Any = {"stt": self.ears, "llm": self.mind, "tts": self.mouth}[pool]
        sources: Failover[Any] = Failover([Source(pool, f"test/{pool}", provider, 0, asyncio.get_running_loop().time)])

        def open_session(claim: Claim) -> Session:
            match pool:
                case "stt":
                    recognition = Recognition(sources, ListenOptions(endpointing_ms=300))
                    return SttSession(claim, bus, store, of_one_agent(recognition))
                case "llm":
                    return LlmSession(
                        claim, bus, store, of_one_agent(Persona("Hello.", "Be brief.", ModelChain(sources)))
                    )
                case _:
                    return TtsSession(claim, bus, store, of_one_agent(AgentVoice(sources)))

        runner = self.runners[pool] = Runner(RunnerOptions(pool, name, self.places, 600), bus, store, open_session)
        self._tasks.append(asyncio.create_task(runner.run(asyncio.Event())))

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


@asynccontextmanager
async def open_office(
    url: str, urls: dict[str, str] | None = None, generation: int = 1, places: int = 5, **answers: str
) -> AsyncIterator[Office]:
    """`answers`: what the mind says to a word."""
    office = Office(url, urls=urls or {}, generation=generation, places=places)
    office.mind.answers.update(answers)
    try:
        async with AsyncExitStack() as stack:
            await office.open(stack)
            async with asyncio.timeout(WAIT_SECONDS):
                while not office.bus.connected:
                    await asyncio.sleep(0.01)
            yield office
    except ExceptionGroup as error:  # every bus wraps what went wrong within it
        inner: Exception = error
        while isinstance(inner, ExceptionGroup) and len(inner.exceptions) == 1:
            inner = inner.exceptions[0]
        raise inner from None
