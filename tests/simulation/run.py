"""One seed, played from the first ring to the last task: `simulate(seed)`.

plan.py ──▶ callers, weather, faults      cluster.py: edges and workers, real      trial.py: what must hold
                │                                     │                                   ▲
                └──────────── carrier.py ═════ Connection ═════ server.py, bus.py ────────┘
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random as global_random
import traceback
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from common.protocol.acts import KeysEntered, ToolReturned, ToolsCalled, TransferUpdated
from common.protocol.messages import (
    AudioIn,
    AudioOut,
    AudioStarted,
    CallOffered,
    DtmfReceived,
    Interrupted,
    Message,
    ReplyResumed,
    ReplySynthesized,
)
from common.protocol.redis_keys import call_audio, call_events
from common.store import Claim
from common.store.outbound_memory import MemoryOutboundQueue
from edge.media.stream_token import mint
from tests.simulation.breaking import Breaking
from tests.simulation.caller_acts import act_out
from tests.simulation.carrier import Connection, Phone
from tests.simulation.carrier_leg import CarrierLeg
from tests.simulation.cluster import SECRET, Edge, Ground, Worker
from tests.simulation.ending import all_ended, close
from tests.simulation.errand_mind import Told
from tests.simulation.exchange import Exchange
from tests.simulation.persons import CALLER_NUMBER
from tests.simulation.plan import SPEECH, Caller, Plan, draw
from tests.simulation.processes import ProcessLoop
from tests.simulation.providers import Vendors, saying_of
from tests.simulation.receiver import Receiver
from tests.simulation.server import SimulatedLedger, SimulatedStreams
from tests.simulation.tool_trial import ToolTrial
from tests.simulation.trial import Trial

TOOL_ERRORS = "workers.tools.runs"
"""Logs the errors of tools."""
WRONG_MAX = 5
"""Breaches kept of one run."""
_STAGES: dict[type[Message], str] = {
    ToolsCalled: "called", ToolReturned: "returned", DtmfReceived: "pressed", KeysEntered: "entered",
}  # fmt: skip
_HIDDEN = {"at_ms", "stage_ms", "mulaw"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    kind: str
    wrong: tuple[str, ...]
    trace: tuple[str, ...]
    calls: int
    seconds: float
    """Virtual time."""
    ends: tuple[str, ...]
    tools: Mapping[str, int]
    """Calls of tools: how many were "asked" for, how many had which outcome, and how many the receiver "acted" on."""

    @property
    def replay(self) -> str:
        """The command that plays it again."""
        kind = "" if self.kind == SPEECH else f"--kind {self.kind} "
        return f"python -m tests.simulation {kind}--seed {self.seed} -v"

    @property
    def digest(self) -> str:
        """Equal for equal runs."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def simulate(seed: int, kind: str = SPEECH, plan: Plan | None = None) -> Outcome:
    """Play one seed (or another plan under its name)."""
    state = global_random.getstate()
    global_random.seed(seed)  # the runner spreads its scans
    run = Run(plan or draw(seed, kind))
    handler = _Errors(run)
    loggers = [logging.getLogger(name) for name in ("common", "edge", "workers", "asyncio")]
    levels = [logger.level for logger in loggers]
    loop = run.loop
    loop.set_exception_handler(lambda _, context: run.breach(f"the loop: {context['message']}: {context!r}"))
    for logger in loggers:
        logger.setLevel(logging.ERROR)
        logger.addHandler(handler)
        logger.propagate = False
    try:
        loop.run_until_complete(run.play())
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed failed
        run.breach("".join(traceback.format_exception(error)))
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = True
        loop.close()
        global_random.setstate(state)
    return run.outcome()


class _Errors(logging.Handler):
    """An error in our log is a breach: no fault here is one that the program may not expect."""

    def __init__(self, run: Run) -> None:
        super().__init__(logging.ERROR)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == TOOL_ERRORS:
            return  # an engine may raise anything
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + "".join(traceback.format_exception(record.exc_info[1]))
        self._run.breach(f"log: {text}")


class Run:
    """One run: witness, listener and stage."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = ProcessLoop()
        self.wrong: list[str] = []
        self.trace: list[str] = []
        self.trials: dict[str, Trial] = {}
        self.phones: dict[str, Phone] = {}
        self.ends: list[str] = []
        self.streams = SimulatedStreams(self)
        self.store = SimulatedLedger(self.streams, self)
        self.vendors = Vendors(plan.vendors, Random(f"vendors {plan.seed}"), self.breach, plan.vocabulary)
        self.told: defaultdict[str, Told] = defaultdict(Told)
        self.receiver = Receiver(plan.errands.__getitem__, self)
        self.ground = Ground(
            plan, self.loop, self.streams, self.store, self.vendors, self.breach, self._published, self._delivered,
            self.effect, self.receiver, self.told.__getitem__, self._exchange(), MemoryOutboundQueue(3600),
        )  # fmt: skip
        self.breaking = Breaking(self)
        self.owners: dict[tuple[str, str], str] = {}
        """(pool, call) -> the worker that claimed it last."""
        self.edges: list[Edge] = []
        self.workers: list[Worker] = []
        self.effects: dict[str, int] = {}
        """How often each side effect (`call:turn:n`) was carried out."""
        self._began = self.loop.time()
        self._trial_of: dict[str, Trial] = {}
        self._random = Random(f"run {plan.seed}")
        self.over = False
        """Is no caller left?"""

    def _exchange(self) -> Exchange | None:
        persons = {person.number: person for person in self.plan.persons.values()}
        if not persons:
            return None
        random, copying = Random(f"exchange {self.plan.seed}"), Random(f"copies {self.plan.seed}")
        return Exchange(self.loop, self._edge_for_a_request, persons, self, random, copying)

    # --- the play -----------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """From the first process to the last task."""
        for _ in range(self.plan.edges):
            self.open_edge()
        for pool in self.plan.pools:
            for _ in range(self.plan.workers):
                self.hire(pool)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.breaking.run(), name="faults")
            over = asyncio.Event()
            tasks.create_task(self.breaking.ambush(over), name="ambushes")
            async with asyncio.TaskGroup() as calling:
                for number, caller in enumerate(self.plan.callers, 1):
                    calling.create_task(self._call(f"call-{number}", caller), name=f"call {number}")
            self.over = True
            over.set()
        await all_ended(self)
        await close(self)

    def open_edge(self) -> Edge:
        """Start another edge."""
        edge = Edge(f"edge-{len(self.edges) + 1}", self.ground)
        self.edges.append(edge)
        self.note(f"{edge.name} starts")
        return edge

    def hire(self, pool: str) -> Worker:
        """Start another member of a pool."""
        worker = Worker(pool, f"{pool}-{len(self.workers) + 1}", self.ground)
        self.workers.append(worker)
        self.note(f"{worker.name} starts")
        return worker

    def effect(self, key: str) -> None:
        """A side effect is carried out."""
        self.effects[key] = self.effects.get(key, 0) + 1
        if self.effects[key] > 1:
            self.breach(f"the side effect {key} was carried out {self.effects[key]} times")

    async def _call(self, call_id: str, caller: Caller) -> None:
        await asyncio.sleep(caller.begin_s)
        secret_of = partial(self.store._secrets.read, call_id)
        tools = ToolTrial(call_id, self.told[call_id], self.receiver.done, self.breach, secret_of)
        trial = Trial(call_id, self.vendors.sayings, self.plan.vocabulary, self.breach, tools)
        self.trials[call_id] = self._trial_of[call_events(call_id)] = self._trial_of[call_audio(call_id)] = trial
        await self.store.create(self.ground.record(call_id))
        random = Random(f"{call_id} {self.plan.seed}")
        token = mint(SECRET, call_id, 2e9)
        phone = Phone(call_id, token, caller.line, self.loop, self, random, self._edge_for_a_call)
        self.phones[call_id] = phone
        leg = self._leg(phone)
        async with asyncio.TaskGroup() as tasks:
            line = tasks.create_task(phone.run(), name=f"line {call_id}")
            acting = tasks.create_task(act_out(self, phone, trial, caller), name=f"caller {call_id}")
            await asyncio.wait([line, acting], return_when=asyncio.FIRST_COMPLETED)
            acting.cancel()
            await line
        if leg is not None and self.ground.exchange is not None:
            await self.ground.exchange.ends(leg)
        self.note(f"{call_id} is over for the carrier: {phone.ended}")

    def _leg(self, phone: Phone) -> CarrierLeg | None:
        exchange = self.ground.exchange
        if exchange is None:
            return None
        leg = exchange.arrives(phone.call_id, CALLER_NUMBER)
        phone.follow, phone.hung = partial(exchange.follow, leg), leg.hang_up
        exchange.streams[phone.call_id] = phone.leave_stream
        return leg

    def _edge_for_a_request(self) -> Edge | None:
        alive = [edge for edge in self.edges if edge.alive]
        return self._random.choice(alive) if alive else None

    def _edge_for_a_call(self) -> Edge | None:
        ready = [edge for edge in self.edges if edge.ready]
        return self._random.choice(ready) if ready else None

    def outcome(self) -> Outcome:
        """What became of it."""
        seconds = self.loop.time() - self._began
        wrong, trace = tuple(self.wrong), tuple(self.trace)
        tools = Counter(acted=self.receiver.done.total())
        for trial in self.trials.values():
            tools.update(result.outcome for result in trial.tools.results.values())
            tools["asked"] += len(trial.tools.calls)
        return Outcome(self.plan.seed, self.plan.kind, wrong, trace, len(self.trials), seconds, tuple(self.ends), tools)

    # --- what is seen -------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{self.loop.time() - self._began:8.3f}  {text}")

    def breach(self, text: str) -> None:
        """Something that must not be."""
        if len(self.wrong) < WRONG_MAX:
            self.wrong.append(text)
            self.note(f"WRONG  {text}")

    def appended(self, stream: str, message: Message) -> None:
        """Redis has this entry."""
        trial = self._trial_of.get(stream)
        if isinstance(message, AudioIn | AudioStarted):
            if trial is not None:
                trial.audio(message)
        elif isinstance(message, AudioOut):
            self._place(message)
        elif stream.endswith(":events"):
            self.note(f"{stream.rsplit(':', 2)[1]} {_told(message)}")
            if trial is not None:
                trial.event(message)
                if stage := message.state if isinstance(message, TransferUpdated) else _STAGES.get(type(message)):
                    self.reached(stage, trial.call_id)
        elif not isinstance(message, CallOffered):
            self.note(f"{stream} {_told(message)}")

    def claimed(self, claim: Claim) -> None:
        """A member has taken a call."""
        self.note(f"{claim.call_id} {claim.owner} claims, token {claim.token}")
        self.owners[claim.pool, claim.call_id] = claim.owner
        tokens = self.trials[claim.call_id].tokens
        if claim.token <= tokens[claim.pool]:
            self.breach(f"{claim.call_id} token {claim.token} of {claim.pool} comes after {tokens[claim.pool]}")
        tokens[claim.pool] = claim.token

    def reached(self, stage: str, call_id: str) -> None:
        """A call of a tool has come to this stage."""
        self.breaking.reached(stage, call_id)

    def wrote(self, claim: Claim, accepted: bool) -> None:
        """A member has written with its claim, or was refused."""
        if accepted and claim.token != self.trials[claim.call_id].tokens[claim.pool]:
            self.breach(f"{claim.call_id} {claim.owner} wrote with token {claim.token}, which is not the newest")

    def _place(self, audio: AudioOut) -> None:
        if audio.mulaw:
            self.vendors.sayings[saying_of(audio.mulaw)[0]].place(audio)

    def _published(self, edge: Edge, stream: str, message: Message) -> None:
        if isinstance(message, Interrupted | ReplyResumed):
            trial = self._trial_of[stream]
            call = edge.calls.get(trial.call_id)
            if call is None:
                return
            if isinstance(message, ReplyResumed):
                trial.resumed(message, call.epoch)
                return
            trial.last_sound_s = self.phones[trial.call_id].spoke_s
            trial.interrupted(message, call.epoch)

    def _delivered(self, edge: Edge, message: Message) -> None:
        if isinstance(message, AudioOut | ReplySynthesized):
            call = edge.calls.get(message.call_id)
            if call is not None and call.epoch == message.epoch:
                self.trials[message.call_id].delivered(message)

    def begun(self, connection: Connection) -> None:
        """An edge has made a call of a connection."""
        self.note(f"{connection.call_id} connection {connection.number} is epoch {connection.epoch}")
        self.trials[connection.call_id].line(connection.epoch, connection.latency_s)

    def spoke(self, phone: Phone, word: int) -> None:
        """A caller has just ended a word."""
        self.trials[phone.call_id].spoke_s[self.plan.vocabulary[word]] = self.loop.time()

    def severed(self, connection: Connection) -> None:
        """A connection broke."""
        self.trials[connection.call_id].severed(connection.epoch)

    def sent(self, connection: Connection, saying: int, frame: int) -> None:
        """An edge sends a frame."""
        self.trials[connection.call_id].sent(connection.epoch, saying, frame)

    def heard(self, connection: Connection, saying: int, frame: int) -> None:
        """A caller hears a frame."""
        self.trials[connection.call_id].heard(connection.epoch, saying, frame)


def _told(message: Message) -> str:
    shown = {name: getattr(message, name) for name in message.__struct_fields__ if name not in _HIDDEN}
    return f"{type(message).__name__} {' '.join(f'{name}={value!r}' for name, value in shown.items())}"
