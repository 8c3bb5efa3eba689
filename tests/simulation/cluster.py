"""The deployment: edges and workers as simulated processes, made of the real parts."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from common.agents.model import Agent, Agents, Limits, TurnOptions, from_document, to_document
from common.bus import Bus
from common.protocol.messages import Message
from common.settings import Settings
from common.store import CallStore, Claim
from common.store.redis import LEASE_MS
from edge.media.ticker import Ticker
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from tests.simulation.bus import Network, ProcessBus, ProcessLedger
from tests.simulation.carrier import Connection
from tests.simulation.plan import Plan
from tests.simulation.processes import Process, ProcessLoop
from tests.simulation.providers import Ears, Mind, Mouth, Vendors
from tests.simulation.server import SimulatedLedger, SimulatedStreams
from tests.simulation.tools import ActingLedger
from workers.llm.model_chain import ModelChain
from workers.llm.reply_run import Persona
from workers.llm.session import LlmSession
from workers.providers.failover import Failover, Source
from workers.runtime.per_agent import of_one_agent
from workers.runtime.process import Assignment
from workers.runtime.runner import Runner, RunnerOptions, Session
from workers.stt.__main__ import listen
from workers.tts.__main__ import speak

SETTINGS = Settings()
SECRET = b"a secret of the simulation"
GREETING = "Good day to you."
CONNECTION: contextvars.ContextVar[Connection] = contextvars.ContextVar("connection")


@dataclass(frozen=True, slots=True)
class Ground:
    """What every process stands on."""

    plan: Plan
    loop: ProcessLoop
    streams: SimulatedStreams
    store: SimulatedLedger
    vendors: Vendors
    wrong: Callable[[str], None]
    published: Callable[[Edge, str, Message], None]
    """Told of what an edge publishes."""
    delivered: Callable[[Edge, Message], None]
    """Told of what an edge is about to receive."""
    effect: Callable[[str], None]
    """Told of each side effect that is carried out."""

    def document(self) -> dict[str, Any]:
        """The agent of every call."""
        turn = TurnOptions(interruptible=self.plan.interruptible, eager_endpointing_ms=self.plan.eager_endpointing_ms)
        return to_document(Agent("simulated", GREETING, "Answer.", turn=turn, limits=Limits(silence_s=45)))


class Node:
    """A process with its bus and its ledger."""

    def __init__(self, name: str, ground: Ground) -> None:
        self.name = name
        self.ground = ground
        self.process = Process(name, ground.loop, ground.wrong)
        self.network = Network(self.process, Random(f"{name} {ground.plan.seed}"), ground.plan.weather)
        self.bus = ProcessBus(self.network, ground.streams)
        self.store = ProcessLedger(self.network, ground.store)

    @property
    def alive(self) -> bool:
        return not self.process.dead


class Worker(Node):
    """A member of a pool."""

    def __init__(self, pool: str, name: str, ground: Ground) -> None:
        super().__init__(name, ground)
        self.pool = pool
        options = RunnerOptions(pool, name, ground.plan.calls_max, LEASE_MS)
        self.runner = Runner(options, cast(Bus, self.bus), cast(CallStore, self.store), self._open)
        provider = {"stt": Ears, "llm": Mind, "tts": Mouth}[pool](ground.vendors)
        vendors = (f"simulated/{pool}", f"second/{pool}")
        self._sources = tuple(Source(pool, name, provider, 0, ground.loop.time) for name in vendors)
        self.leaving = asyncio.Event()
        self.task = self.process.start(self.runner.run(self.leaving), name)

    @property
    def works(self) -> bool:
        """Does it run, and was not told to go?"""
        return self.alive and not self.leaving.is_set()

    def _open(self, claim: Claim) -> Session:
        agent = from_document(claim.record.agent)
        bus, store = cast(Bus, self.bus), cast(CallStore, self.store)
        sources: Failover[Any] = Failover(self._sources)
        match claim.pool:
            case "stt":
                return listen(Assignment(claim, agent, bus, store, SETTINGS), sources)
            case "llm":
                character = Persona(agent.greeting, agent.instructions, ModelChain(sources), agent.turn.interruptible)
                if self.ground.plan.acts:
                    store = cast(CallStore, ActingLedger(store, self.ground.effect))
                return LlmSession(claim, bus, store, of_one_agent(character))
            case _:
                return speak(Assignment(claim, agent, bus, store, SETTINGS), sources)


class Edge(Node):
    """An edge: `edge.session.media_streams.Streams` and all below it."""

    def __init__(self, name: str, ground: Ground) -> None:
        super().__init__(name, ground)
        self.bus.told = self._published
        for lane in (self.bus.media, self.bus.priority):
            lane.delivered = self._delivered
        self.store.answered = self._answered
        bus, store = cast(Bus, self.bus), cast(CallStore, self.store)
        self.calls = Calls(name, bus, store, calls_max=20)
        self.ticker = Ticker(ground.loop)
        self.streams = MediaStreams(self.calls, store, bus, self.ticker, Agents({}), SECRET, lead_ms=200)
        self.calls.listen()
        self.connections: list[Connection] = []
        self.house = self.process.start(self.calls.housekeeping(), f"{name} house")

    @property
    def ready(self) -> bool:
        """Would a load balancer send a new call here?"""
        return self.alive and not self.calls.draining

    def later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> None:
        self.process.later(seconds, callback, *arguments)

    def serve(self, connection: Connection, token: str) -> None:
        """A socket is opened."""
        self.connections.append(connection)
        context = self.process.context.copy()
        context.run(CONNECTION.set, connection)
        self.process.start(self.streams.serve(cast(Any, connection), token), f"{self.name} socket", context)

    def drain(self, seconds: float) -> None:
        """SIGTERM."""
        self.process.start(self._drain(seconds), f"{self.name} drain")

    async def _drain(self, seconds: float) -> None:
        self.calls.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.calls.drained()
        await self.calls.hand_over_between_turns()

    def _published(self, stream: str, message: Message) -> None:
        self.ground.published(self, stream, message)

    def _delivered(self, stream: str, message: Message) -> None:
        self.ground.delivered(self, message)

    def _answered(self, name: str, answer: Any) -> None:
        if name == "start" and answer is not None:
            CONNECTION.get().begun(answer.epoch)
