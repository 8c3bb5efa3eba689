"""A phone call in a test: the whole system but the sockets, in one process, on a virtual clock.

async with answered_call(answers={"hello": "Hi there."}) as phone:
    await phone.says("hello")
    await phone.hears("Hi there.")
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from common.agents.model import Agent
from common.bus.memory import MemoryBus, MemoryStreams
from common.call.agent_in_charge import AgentInCharge
from common.call.reply_state import ABOUT_REPLY, Reply
from common.call.transcript import CallTranscript
from common.protocol.acts import ToolReturned
from common.protocol.messages import CallOffered, Message, ReplyStarted
from common.protocol.redis_keys import POOLS, call_events, pool_calls
from common.store import CallRecord, Claim
from common.store.memory import MemoryCallStore
from edge.media.ticker import Ticker
from edge.session.call import Call, CallOptions
from edge.session.calls import Calls
from edge.session.last_connection import last_connection
from edge.session.lifecycle import State
from edge.session.reconnect_silence import GAP_MS, fill_silence
from edge.vobiz import stream_protocol
from tests.calls.doubles import CarrierLine, Mind, Mouth, TextEars, media
from tests.calls.talking import Talking
from workers.llm.model_chain import ModelChain
from workers.llm.reply_run import Persona
from workers.llm.session import LlmSession
from workers.llm.tools.toolbox import Toolbox
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import ListenOptions, VoiceOptions
from workers.runtime.per_agent import PerAgent, of_one_agent
from workers.runtime.runner import Runner, RunnerOptions, Session
from workers.stt.session import Recognition, SttSession
from workers.tts.fixed_sentences import FixedSentences
from workers.tts.session import TtsSession
from workers.tts.synthesis import AgentVoice

CALL = "call-1"
NOBODY = Agent("agent", "Hello.", "Be brief.")
GREETING = "Hello."


@dataclass
class Worker:
    """One member of a pool; `kill` is a kill -9, `stop` a SIGTERM."""

    pool: str
    runner: Runner
    bus: MemoryBus
    task: asyncio.Task[None]
    asked_to_stop: asyncio.Event

    async def kill(self) -> None:
        self.bus.kill()
        self.task.cancel()
        await asyncio.wait([self.task])

    async def stop(self) -> None:
        self.asked_to_stop.set()
        await asyncio.wait_for(self.task, Talking.wait_s)


@dataclass
class Phone(Talking):
    """The caller's phone, and behind it the whole system."""

    options: CallOptions = field(default_factory=CallOptions)
    ears: TextEars = field(default_factory=TextEars)
    mind: Mind = field(default_factory=Mind)
    mouth: Mouth = field(default_factory=Mouth)
    greeting: str = GREETING
    farewell: str = "Bye for now."
    agent: Agent | None = None
    """Whose tools the model is offered; None: none but end_call."""
    more_pools: str = ""
    """As of the call's record."""
    workers: list[Worker] = field(default_factory=list)
    more: dict[str, list[Any]] = field(default_factory=dict)
    """Pool -> further providers, in the order of failover."""
    listen: ListenOptions = field(default_factory=ListenOptions)
    streams: MemoryStreams = field(default_factory=MemoryStreams)
    _known: dict[str, list[Source[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = MemoryCallStore(self.streams)
        self.speech: list[bytes] = []
        self._connected = True
        self.muted = False
        """The carrier sends no media while the caller says nothing (or has muted their phone)."""
        self._stalled: list[bytes] | None = None  # what the caller said while the network stands still
        self.heard_before = ""
        self._tasks: list[asyncio.Task[None]] = []

    # --- the system ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self.bus = MemoryBus(self.streams)
        self.calls = Calls("edge-1", self.bus, self.store, calls_max=10)
        self.calls.listen()
        self._tasks.append(asyncio.create_task(self.calls.housekeeping()))
        for pool in POOLS:
            self.hire(pool)
        await self.store.create(self.record())
        await self._connect("edge-1", self.options)
        for pool in POOLS:
            self.bus.publish(pool_calls(pool), CallOffered(CALL))
        self._tasks.append(asyncio.create_task(self.microphone()))
        self._tasks.append(asyncio.create_task(self._tell_the_carrier()))
        self._tasks.append(asyncio.create_task(self._write_down_the_end()))

    def record(self) -> CallRecord:
        """As the edge writes it when the carrier asks."""
        return CallRecord(CALL, more_pools=self.more_pools)

    @property
    def still_running(self) -> bool:
        """Has nothing of the edge, or of the line, ended?"""
        return not any(task.done() for task in self._tasks)

    def leaves_checkpoint(self, pool: str, checkpoint: str) -> None:
        """As anybody may write to a server."""
        self.store.overwrite_checkpoint(CALL, pool, checkpoint)

    async def _connect(self, edge: str, options: CallOptions) -> None:
        """The carrier's socket reaches an edge."""
        record = await self.store.start(CALL, edge)
        assert record is not None
        self.line = CarrierLine(self._from_carrier)
        start = stream_protocol.Start(CALL, f"stream-{record.epoch}", stream_protocol.MediaFormat())
        self.call = Call(record, start, self.line, self.bus, Ticker(asyncio.get_running_loop()), options)
        self.calls.add(self.call)

    async def edge_dies(self, away_seconds: float = 0.5) -> None:
        """kill -9 of the edge; the carrier comes back to another one.  What was heard before is in `heard_before`."""
        self.bus.kill()
        await self.edge_lets_go(away_seconds)

    async def edge_lets_go(self, away_seconds: float = 0.5) -> None:
        """The edge has handed the call over, and the carrier comes back to another one."""
        self.heard_before = self.line.heard()
        self._connected = False
        await asyncio.sleep(away_seconds)
        self.bus = MemoryBus(self.streams)
        self.calls = Calls("edge-2", self.bus, self.store, calls_max=10)
        self.calls.listen()
        last = await last_connection(self.bus, CALL)
        await self._connect("edge-2", replace(self.options, position_ms=last.position_ms, heard=last.heard))
        self._connected = True

    async def comes_back(self) -> None:
        """The call was over for us, and the carrier hands it back."""
        await self._connect("edge-1", replace(self.options, position_ms=self.call.frames_in * 20 + GAP_MS))
        for pool in POOLS:
            self.bus.publish(pool_calls(pool), CallOffered(CALL))
        self._tasks.append(asyncio.create_task(self.microphone()))

    def hire(self, pool: str, bus: MemoryBus | None = None) -> Worker:
        """Start another member of a pool, perhaps with an ill bus."""
        bus = bus or MemoryBus(self.streams)
        owner = f"{pool}-{len(self.workers)}"
        runner = Runner(RunnerOptions(pool, owner, 5, 1500), bus, self.store, lambda claim: self._open(claim, bus))
        stop = asyncio.Event()
        worker = Worker(pool, runner, bus, asyncio.create_task(runner.run(stop)), stop)
        self.workers.append(worker)
        return worker

    def worker(self, pool: str) -> Worker:
        return next(worker for worker in self.workers if worker.pool == pool and not worker.task.done())

    def _open(self, claim: Claim, bus: MemoryBus) -> Session:
        match claim.pool:
            case "stt":
                return SttSession(claim, bus, self.store, of_one_agent(self._recognition(self.listen)))
            case "llm":
                model_chain = ModelChain(self._sources("llm", self.mind))

                def character(agent: Agent) -> Persona:
                    return Persona(
                        self.greeting,
                        agent.instructions,
                        model_chain,
                        self.options.interruptible,
                        self.farewell,
                        toolbox=Toolbox(agent if self.agent else None),
                        keypad=agent.keypad,
                    )

                return LlmSession(claim, bus, self.store, PerAgent(AgentInCharge(self.agent or NOBODY), character))
            case _:
                return TtsSession(claim, bus, self.store, of_one_agent(self._voice(VoiceOptions())))

    def _recognition(self, options: ListenOptions) -> Recognition:
        return Recognition(self._sources("stt", self.ears), options)

    def _voice(self, options: VoiceOptions) -> AgentVoice:
        fixed = FixedSentences(self.store.fixed_speech, options)
        return AgentVoice(self._sources("tts", self.mouth), options, fixed)

    def _sources(self, pool: str, first: Any) -> Failover[Any]:
        """The pool's providers in the order of failover, as one process sees them."""
        clock = asyncio.get_running_loop().time
        if pool not in self._known:
            self._known[pool] = [
                Source(pool, f"test/{pool}-{number}", provider, 0, clock)
                for number, provider in enumerate([first, *self.more.get(pool, [])])
            ]
        return Failover(self._known[pool])

    async def close(self) -> None:
        tasks = [*self._tasks, *(worker.task for worker in self.workers)]
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=Talking.wait_s * 10)
        if pending:
            raise AssertionError(f"cancelled, and still running: {[task.get_name() for task in pending]}")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    # --- the caller ---------------------------------------------------------------------------------------------

    def coughs(self) -> None:
        """200 ms of noise that is no word."""
        self.speech.extend([b"~" * 160] * 10)

    def presses(self, keys: str) -> None:
        """All keys at once, each in a message of its own."""
        for key in keys:
            self._from_carrier(json.dumps({"event": "dtmf", "dtmf": {"track": "inbound", "digit": key}}))

    async def stalls(self, seconds: float) -> None:
        """The network stands still; then all that it held comes at once."""
        self._stalled = []
        await self.after(seconds)
        held, self._stalled = self._stalled, None
        for frame in held:
            self._from_carrier(media(frame))

    async def silence(self) -> None:
        """Wait until the agent has been silent for a second and a half."""
        quiet = 0
        while quiet < 75:
            await self.after(0.02)
            quiet = quiet + 1 if self.line.quiet else 0

    async def after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def hangs_up(self) -> None:
        self.call.closed()

    async def ended(self) -> str:
        async with asyncio.timeout(Talking.wait_s * 10):
            await self.call.reaches()
            return self.call.lifecycle.reason

    def tool_returns(self, result: str, outcome: str = "done") -> None:
        """The oldest tool without a result returns, as a tools worker reports it."""
        replies = folded_replies(self.events)
        turn, call = next((turn, call) for turn, reply in replies.items() for call in reply.tools.open())
        self.bus.publish(call_events(CALL), ToolReturned(turn, call.n, outcome, result))

    # --- what happened ------------------------------------------------------------------------------------------

    @property
    def heard(self) -> str:
        return self.line.heard()

    @property
    def events(self) -> list[Message]:
        return [message for _, message in self.streams.after(call_events(CALL), 0)]

    @property
    def transcript(self) -> CallTranscript:
        transcript = CallTranscript()
        for message in self.events:
            transcript.receive(message)
        return transcript

    def _from_carrier(self, text: str) -> None:
        if not self.call.lifecycle.over:
            self.call.receive(stream_protocol.parse(text))

    async def send(self, text: str) -> None:
        self._from_carrier(text)

    def on_line(self) -> bool:
        return not self.call.lifecycle.over or self.call.lifecycle.handed_over

    def next_frame(self) -> bytes | None:
        if not self._connected or (self.muted and not self.speech):
            return None
        frame = super().next_frame()
        if self._stalled is None or frame is None:
            return frame
        self._stalled.append(frame)
        return None

    async def _tell_the_carrier(self) -> None:
        call = self.call
        if await call.reaches(State.STOPPING) is State.STOPPING:
            call.stop_stream()

    async def _write_down_the_end(self) -> None:
        call = self.call
        await call.reaches()
        self.calls.remove(call)
        if call.lifecycle.handed_over:
            await fill_silence(call)
        else:
            await self.store.end(CALL, call.lifecycle.reason, call.epoch)


def folded_replies(events: list[Message]) -> dict[int, Reply]:
    """The replies of the event log."""
    replies: dict[int, Reply] = {}
    for message in events:
        if isinstance(message, ReplyStarted):
            replies.setdefault(message.turn, Reply(message.turn, message.utterance, message.based_on))
        elif isinstance(message, ABOUT_REPLY) and message.turn in replies:
            replies[message.turn].receive(message)
    return replies


@asynccontextmanager
async def answered_call(answers: dict[str, str] | None = None, **parts: object) -> AsyncIterator[Phone]:
    """A call that has been answered; the greeting is on its way."""
    phone = Phone(**parts)  # type: ignore[arg-type]
    phone.mind.answers.update(answers or {})
    await phone.start()
    try:
        yield phone
    finally:
        await phone.close()
