"""The deployment: edges and workers as simulated processes, made of the real parts."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, cast

from common.agents.model import Agent, Agents, Limits, TurnOptions, from_document, to_document
from common.agents.needs import more_pools
from common.bus import Bus
from common.protocol.messages import Message
from common.protocol.redis_keys import TOOLS_POOL
from common.settings import Settings
from common.store import CallRecord, CallStore, Claim
from common.store.outbound_memory import MemoryOutboundQueue
from common.store.redis import LEASE_MS
from edge.media.ticker import Ticker
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from tests.simulation.bus import Network, ProcessBus, ProcessLedger
from tests.simulation.carrier import Connection
from tests.simulation.edge_webhooks import EdgeWebhooks
from tests.simulation.errand_mind import ErrandMind, Told
from tests.simulation.errands import agent_tools
from tests.simulation.exchange import Exchange
from tests.simulation.persons import CALLER_NUMBER, OUR_NUMBER
from tests.simulation.plan import KEYS, SPEECH, Plan
from tests.simulation.processes import Process, ProcessLoop
from tests.simulation.providers import Ears, Mind, Mouth, Vendors, new_saying, saying_audio
from tests.simulation.receiver import Receiver
from tests.simulation.server import SimulatedLedger, SimulatedStreams
from tests.simulation.tool_engines import SimulatedEngines
from tests.simulation.tools import ActingLedger
from workers.llm.model_chain import ModelChain
from workers.llm.reply_run import Persona
from workers.llm.session import LlmSession
from workers.llm.tools.toolbox import Toolbox
from workers.providers.failover import Failover, Source
from workers.runtime.per_agent import per_agent
from workers.runtime.process import Assignment
from workers.runtime.runner import Runner, RunnerOptions, Session
from workers.stt.__main__ import listen
from workers.tools.agent_tools import AgentTools, ToolEngines
from workers.tools.runs import ToolRuns
from workers.tools.session import ToolProcess, ToolSession
from workers.tools.worker import DRAIN_S
from workers.tts.__main__ import speak
from workers.tts.session import TtsSession
from workers.tts.synthesis import AgentVoice

SETTINGS = Settings()
SECRET = b"a secret of the simulation"
GREETING = "Good day to you."
MUSIC = "m" * 1000
"""What is played to a caller on hold, as long as these characters take to say: a minute, which is the longest."""
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
    receiver: Receiver
    told: Callable[[str], Told]
    """What the models of a call were told of tools."""
    exchange: Exchange | None
    """The carrier beside its streams; None: it knows no transfers."""
    queue: MemoryOutboundQueue
    secret: bytes = SECRET

    def record(self, call_id: str) -> CallRecord:
        """The record of a call, with its agent."""
        turn = TurnOptions(interruptible=self.plan.interruptible, eager_endpointing_ms=self.plan.eager_endpointing_ms)
        agent = Agent("simulated", GREETING, "Answer.", turn=turn, limits=Limits(silence_s=45))
        if self.plan.kind != SPEECH:
            targets = {word: person.target() for word, person in self.plan.persons.items()}
            about = f"Answer {call_id}"
            builtins = ("collect_digits",) if self.plan.kind == KEYS else ()
            tools = agent_tools()
            agent = replace(agent, instructions=about, tools=tools, transfer=targets, builtins=builtins, version="")
        numbers = {"from_number": CALLER_NUMBER, "to_number": OUR_NUMBER} if self.plan.persons else {}
        return CallRecord(call_id, to_document(agent), more_pools=more_pools([agent]), **numbers)

    def provider(self, pool: str) -> Any:
        """The provider of this pool."""
        if pool == "llm" and self.plan.kind != SPEECH:
            return ErrandMind(self.vendors, self.plan.errands, self.told)
        return {"stt": Ears, "llm": Mind, "tts": Mouth}[pool](self.vendors)


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
        self._sources: tuple[Source[Any], ...] = ()
        if pool != TOOLS_POOL:
            provider = ground.provider(pool)
            vendors = (f"simulated/{pool}", f"second/{pool}")
            self._sources = tuple(Source(pool, name, provider, 0, ground.loop.time) for name in vendors)
        self._runs = ToolRuns(cast(CallStore, self.store))
        self._engines = cast(ToolEngines, SimulatedEngines(ground.receiver, self.process))
        self.leaving = asyncio.Event()
        self.task = self.process.start(self._serve(), name)

    async def _serve(self) -> None:
        await self.runner.run(self.leaving)
        await self._runs.drain(DRAIN_S)

    async def kill(self) -> None:
        """kill -9."""
        self.leaving.set()
        await self.process.kill()

    @property
    def works(self) -> bool:
        """Does it run, and was not told to go?"""
        return self.alive and not self.leaving.is_set()

    def _open(self, claim: Claim) -> Session:
        agent = from_document(claim.record.agent)
        bus, store = cast(Bus, self.bus), cast(CallStore, self.store)
        if claim.pool == TOOLS_POOL:
            process = ToolProcess(self._runs, self._open_tools, self.leaving.is_set)
            return ToolSession(claim, bus, store, process)
        sources: Failover[Any] = Failover(self._sources)
        call = Assignment(claim, agent, bus, store, SETTINGS)
        match claim.pool:
            case "stt":
                return listen(call, sources)
            case "llm":
                if self.ground.plan.acts:
                    store = cast(CallStore, ActingLedger(store, self.ground.effect))
                return LlmSession(claim, bus, store, per_agent(call, sources, _persona))
            case _ if self.ground.plan.persons:
                return self._speak_with_music(call, sources)
            case _:
                return speak(call, sources)

    def _speak_with_music(self, call: Assignment, sources: Failover[Any]) -> TtsSession:
        async def music(name: str) -> bytes:
            return saying_audio(new_saying(self.ground.vendors, MUSIC))

        voices = per_agent(call, sources, lambda agent, sources: AgentVoice(sources, sound=music))
        return TtsSession(call.claim, call.bus, call.store, voices)

    def _open_tools(self, agent: Agent, changed: Callable[[], None]) -> AgentTools:
        return AgentTools(agent, self._engines, changed)


def _persona(agent: Agent, models: Failover[Any]) -> Persona:
    about = (agent.greeting, agent.instructions, ModelChain(models), agent.turn.interruptible)
    return Persona(*about, toolbox=Toolbox(agent))


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
        self._webhooks = EdgeWebhooks(self) if ground.exchange is not None else None
        dialer = self._webhooks.dialer if self._webhooks is not None else None
        self.streams = MediaStreams(self.calls, store, bus, self.ticker, Agents({}), SECRET, 200, dialer)
        self.calls.listen()
        self.connections: list[Connection] = []
        self.house = self.process.start(self.calls.housekeeping(), f"{name} house")
        if dialer is not None:
            self.process.start(dialer.run(), f"{name} dialer")

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

    def ask(self, path: str, fields: Mapping[str, str]) -> asyncio.Task[bytes]:
        """The carrier asks for a document, or reports something."""
        assert self._webhooks is not None
        return self.process.start(self._webhooks.post(path, fields), f"{self.name} webhook")

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
