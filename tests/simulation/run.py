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
from dataclasses import dataclass
from random import Random

from common.protocol.messages import (
    AudioIn,
    AudioOut,
    AudioStarted,
    CallOffered,
    Interrupted,
    Message,
    ReplyResumed,
    ReplySynthesized,
)
from common.protocol.redis_keys import POOLS, call_audio, call_events
from common.store import CallRecord, Claim
from edge.media.stream_token import mint
from tests.simulation.breaking import Breaking
from tests.simulation.carrier import Connection, Phone
from tests.simulation.cluster import SECRET, Edge, Ground, Worker
from tests.simulation.plan import WAIT_SECONDS_MAX, Act, Caller, Plan, draw
from tests.simulation.processes import ProcessLoop
from tests.simulation.providers import Vendors, noise_frames, saying_of, word_frames
from tests.simulation.server import SimulatedLedger, SimulatedStreams
from tests.simulation.trial import Trial

CALM_SECONDS_MAX = 40.0
"""After the last fault, everything the caller said must be answered within this."""
END_SECONDS_MAX = 160.0
"""After the carrier has no call any more, the ledger must know within this: LOST_MS (75 s), and MEDIA_GAP_SECONDS if an
edge with a dead connection keeps saying that the call is up."""
DROP_SECONDS_MAX = 5.0
"""After that, no worker holds it."""
LEAVE_SECONDS_MAX = 8.0
"""How long a worker that was told to go may take, with a ledger that answers late."""
FORGET_SECONDS_MAX = 80.0
"""And no edge: one that never learned that its line broke gives up after MEDIA_GAP_SECONDS and COME_BACK_SECONDS."""
LOOK_SECONDS = 0.1
COUGH_FRAMES = 12
WRONG_MAX = 5
"""Breaches kept of one run."""
_HIDDEN = {"at_ms", "stage_ms", "mulaw"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    wrong: tuple[str, ...]
    trace: tuple[str, ...]
    calls: int
    seconds: float
    """Virtual time."""
    ends: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Equal for equal runs."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def simulate(seed: int, plan: Plan | None = None) -> Outcome:
    """Play one seed (or another plan under its name)."""
    state = global_random.getstate()
    global_random.seed(seed)  # the runner spreads its scans
    run = Run(plan or draw(seed))
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
        self.ground = Ground(
            plan, self.loop, self.streams, self.store, self.vendors, self.breach, self._published, self._delivered,
            self.effect,
        )  # fmt: skip
        self.edges: list[Edge] = []
        self.workers: list[Worker] = []
        self.effects: dict[str, int] = {}
        """How often each side effect (`call:turn:n`) was carried out."""
        self._began = self.loop.time()
        self._trial_of: dict[str, Trial] = {}
        self._random = Random(f"run {plan.seed}")
        self.over = False
        """Is no caller left?"""

    # --- the play -----------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """From the first process to the last task."""
        for _ in range(self.plan.edges):
            self.open_edge()
        for pool in POOLS:
            for _ in range(self.plan.workers):
                self.hire(pool)
        breaking = Breaking(self)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(breaking.run(), name="faults")
            async with asyncio.TaskGroup() as calling:
                for number, caller in enumerate(self.plan.callers, 1):
                    calling.create_task(self._call(f"call-{number}", caller, breaking), name=f"call {number}")
            self.over = True
        await self._all_ended()
        await self._close()

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

    async def _call(self, call_id: str, caller: Caller, breaking: Breaking) -> None:
        await asyncio.sleep(caller.begin_s)
        trial = Trial(call_id, self.vendors.sayings, self.plan.vocabulary, self.breach)
        self.trials[call_id] = self._trial_of[call_events(call_id)] = self._trial_of[call_audio(call_id)] = trial
        await self.store.create(CallRecord(call_id, self.ground.document()))
        random = Random(f"{call_id} {self.plan.seed}")
        token = mint(SECRET, call_id, 2e9)
        phone = Phone(call_id, token, caller.line, self.loop, self, random, self._edge_for_a_call)
        self.phones[call_id] = phone
        async with asyncio.TaskGroup() as tasks:
            line = tasks.create_task(phone.run(), name=f"line {call_id}")
            acting = tasks.create_task(self._act(phone, trial, caller, breaking), name=f"caller {call_id}")
            await asyncio.wait([line, acting], return_when=asyncio.FIRST_COMPLETED)
            acting.cancel()
            await line
        self.note(f"{call_id} is over for the carrier: {phone.ended}")

    async def _act(self, phone: Phone, trial: Trial, caller: Caller, breaking: Breaking) -> None:
        for act in caller.acts:
            await self._wait_for(phone, act)
            self.note(f"{phone.call_id} the caller: {act.does} {' '.join(self.plan.vocabulary[n] for n in act.words)}")
            match act.does:
                case "say":
                    for number in act.words:
                        phone.speech.extend(word_frames(number))
                case "cough":
                    phone.speech.extend(noise_frames(COUGH_FRAMES))
                case "hang up":
                    phone.hang_up()
                    return
        calm = 0.0
        since = self.loop.time()
        while calm < 1.0:
            await asyncio.sleep(LOOK_SECONDS)
            settled = trial.settled and phone.quiet and not phone.speech and phone.connection is not None
            calm = calm + LOOK_SECONDS if settled else 0.0
            if not settled and self.loop.time() - max(since, breaking.last_s) > CALM_SECONDS_MAX:
                self.breach(f"{phone.call_id} waits in vain: {trial.unsettled()}")
                break
        phone.hang_up()

    async def _wait_for(self, phone: Phone, act: Act) -> None:
        until = self.loop.time() + WAIT_SECONDS_MAX
        while phone.speech:
            await asyncio.sleep(LOOK_SECONDS)
        if act.when != "now":
            while phone.quiet == (act.when == "speaking") and self.loop.time() < until:
                await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(act.pause_s)

    def _edge_for_a_call(self) -> Edge | None:
        ready = [edge for edge in self.edges if edge.ready]
        return self._random.choice(ready) if ready else None

    # --- the end ------------------------------------------------------------------------------------------------

    async def _all_ended(self) -> None:
        until = self.loop.time() + END_SECONDS_MAX
        for call_id in self.trials:
            while (record := await self.store.read(call_id)) is not None and record.status != "ended":
                if record.status == "new":
                    break  # no edge ever had it
                if self.loop.time() > until:
                    self.breach(f"{call_id} is over, and the ledger does not know it")
                    break
                await asyncio.sleep(LOOK_SECONDS)
            reason = record.ended_because if record is not None else ""
            self.ends.append(reason)
            self.note(f"{call_id} ended: {reason}")

    async def _close(self) -> None:
        until = self.loop.time() + DROP_SECONDS_MAX
        working = [worker for worker in self.workers if worker.works]
        while any(worker.runner._held for worker in working) and self.loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
        for worker in working:
            if worker.runner._held:
                self.breach(f"{worker.name} still holds {sorted(worker.runner._held)}")
            worker.leaving.set()
        await asyncio.wait([worker.task for worker in self.workers], timeout=LEAVE_SECONDS_MAX)
        for worker in self.workers:
            if not worker.task.done():
                self.breach(f"{worker.name} was told to go and does not")
                await worker.process.kill()
        if leaks := +self.vendors.open:
            self.breach(f"left open at the vendors: {dict(leaks)}")
        until = self.loop.time() + FORGET_SECONDS_MAX
        while any(edge.calls._calls for edge in self.edges if edge.alive) and self.loop.time() < until:
            await asyncio.sleep(1.0)
        for edge in self.edges:
            if edge.alive:
                if edge.calls._calls:
                    self.breach(f"{edge.name} still has {sorted(edge.session.calls._calls)}")
                await edge.process.kill()
                edge.ticker.close()
        await asyncio.sleep(0)
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:
            self.breach(f"tasks are left: {sorted(left)}")
        for (call_id, trial), reason in zip(self.trials.items(), self.ends, strict=True):
            trial.finish()
            told = {told for _, told in trial.ends}
            if told and reason not in told:
                self.breach(f"{call_id} ended for the ledger because of {reason!r}, for the story of {told}")
            if self.phones[call_id].stops > 1:
                self.breach(f"{call_id} the carrier was told {self.phones[call_id].stops} times to end the call")

    def outcome(self) -> Outcome:
        """What became of it."""
        seconds = self.loop.time() - self._began
        wrong, trace = tuple(self.wrong), tuple(self.trace)
        return Outcome(self.plan.seed, wrong, trace, len(self.trials), seconds, tuple(self.ends))

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
        elif not isinstance(message, CallOffered):
            self.note(f"{stream} {_told(message)}")

    def claimed(self, claim: Claim) -> None:
        """A member has taken a call."""
        self.note(f"{claim.call_id} {claim.owner} claims, token {claim.token}")
        tokens = self.trials[claim.call_id].tokens
        if claim.token <= tokens[claim.pool]:
            self.breach(f"{claim.call_id} token {claim.token} of {claim.pool} comes after {tokens[claim.pool]}")
        tokens[claim.pool] = claim.token

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
