"""Measures the two hops of a frame between real processes.

    "edge"    one frame per call and 20 ms on call:<id>:audio  ── hop 1 ──▶  "worker"
    "edge"  ◀── hop 2 ──  one AudioOut per frame on edge:<eid>:audio         "worker"

The frames of the calls are spread over the 20 ms on an absolute clock: a late generator catches up, and its lateness is
recorded.  `time.monotonic_ns` is one clock for all processes of a Linux machine; the stamps travel in the first
bytes of the mu-law.  With the media, every 23 ms, the worker publishes `SpeechStarted` twice at one moment: on the
priority stream, and on the audio stream behind the frames.
"""

from __future__ import annotations

import asyncio
import struct
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.children import receive
from common.bus.redis import BusOptions, RedisBus
from common.process.clock import wall_ms
from common.process.node import run_process
from common.protocol.messages import AudioIn, AudioOut, Message, SpeechStarted
from common.protocol.redis_keys import call_audio, edge_audio, edge_priority

FRAME_NS = 20_000_000
NS_PER_STAMP = 1_000
FRAME_BYTES = 160
WARM_UP_NS = 2_000_000_000
DRAIN_SECONDS = 1.0
SPEECH_NS = 23_000_000
"""Neither divisor nor multiple of 20 ms: the pairs meet every phase of the media."""
TICK_SECONDS = 0.001
"""The shortest pause of uvloop's timers; a shorter one would spin."""
START_SECONDS = 30.0
_STAMP = struct.Struct(">q")
_STAMPS = struct.Struct(">qq")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.  `run` is the edge's id and the prefix of the call ids, so that no other keys are touched."""

    url: str
    run: str
    calls: int
    seconds: float
    flush_ms: float
    pause_ms: float

    def call_ids(self) -> list[str]:
        return [f"{self.run}-{number:04d}" for number in range(self.calls)]

    def window(self, start_ns: int) -> tuple[int, int]:
        """Return the measured window, from the end of the warm-up, in ns of the monotonic clock."""
        return start_ns + WARM_UP_NS, start_ns + WARM_UP_NS + int(self.seconds * 1e9)

    def options(self, name: str) -> BusOptions:
        return BusOptions(self.url, f"{self.run}-{name}", self.flush_ms, self.pause_ms)


@dataclass(slots=True)
class EdgeResult:
    """Durations in ns of messages published within the window."""

    hop1: array[int] = field(default_factory=lambda: array("q"))
    hop2: array[int] = field(default_factory=lambda: array("q"))
    round_trip: array[int] = field(default_factory=lambda: array("q"))
    priority: array[int] = field(default_factory=lambda: array("q"))
    behind_audio: array[int] = field(default_factory=lambda: array("q"))
    lateness: array[int] = field(default_factory=lambda: array("q"))
    published: int = 0
    cpu_s: float = 0.0


def broken(error: Exception) -> None:
    """End the process: a benchmark whose receiver fails has no result."""
    raise error


class Metronome:
    """Calls `beat(due_ns)` for every multiple of `step_ns` from `start_ns` to `end_ns`, with the loop's lateness."""

    def __init__(self, heartbeat: Callable[[int], None], start_ns: int, step_ns: float, end_ns: int) -> None:
        self._heartbeat = heartbeat
        self._start_ns = start_ns
        self._step_ns = step_ns
        self._end_ns = end_ns
        self._number = 0
        self._loop = asyncio.get_running_loop()
        self._fire()

    def _fire(self) -> None:
        now = time.monotonic_ns()
        while (due := self._due()) <= now and due < self._end_ns:
            self._number += 1
            self._heartbeat(due)
        if due < self._end_ns:
            self._loop.call_later(max(TICK_SECONDS, (due - now) / 1e9), self._fire)

    def _due(self) -> int:
        return self._start_ns + int(self._number * self._step_ns)


async def until(moment_ns: int) -> None:
    await asyncio.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))


async def cpu_between(window: tuple[int, int]) -> float:
    """Return the CPU seconds that this process uses within the window."""
    await until(window[0])
    before = time.process_time()
    await until(window[1])
    return time.process_time() - before


class _Edge:
    """Publishes the callers' frames and receives the agent's."""

    def __init__(self, plan: Plan, bus: RedisBus) -> None:
        self._bus = bus
        self._streams = [call_audio(call_id) for call_id in plan.call_ids()]
        self._sent = 0
        self._window = (0, 0)
        self.result = EdgeResult()
        bus.subscribe(edge_audio(plan.run), self._from_audio, broken)
        bus.subscribe(edge_priority(plan.run), self._from_priority, broken)

    def start(self, start_ns: int, window: tuple[int, int]) -> None:
        self._window = window
        Metronome(self._frame, start_ns, FRAME_NS / len(self._streams), window[1])

    def _frame(self, due_ns: int) -> None:
        round_, caller = divmod(self._sent, len(self._streams))
        self._sent += 1
        now = time.monotonic_ns()
        mulaw = _STAMP.pack(now) + bytes(FRAME_BYTES - _STAMP.size)
        self._bus.publish(self._streams[caller], AudioIn(1, 20 * round_, wall_ms(), mulaw))
        if self._counts(now):
            self.result.published += 1
            self.result.lateness.append(now - due_ns)

    def _from_audio(self, entry_id: str, message: Message) -> None:
        now = time.monotonic_ns()
        if isinstance(message, AudioOut):
            sent, answered = _STAMPS.unpack_from(message.mulaw)
            if self._counts(sent):
                self.result.hop1.append(answered - sent)
                self.result.hop2.append(now - answered)
                self.result.round_trip.append(now - sent)
        elif isinstance(message, SpeechStarted) and self._counts(message.at_ms * NS_PER_STAMP):
            self.result.behind_audio.append(now - message.at_ms * NS_PER_STAMP)

    def _from_priority(self, entry_id: str, message: Message) -> None:
        now = time.monotonic_ns()
        if isinstance(message, SpeechStarted) and self._counts(message.at_ms * NS_PER_STAMP):
            self.result.priority.append(now - message.at_ms * NS_PER_STAMP)

    def _counts(self, moment_ns: int) -> bool:
        return self._window[0] <= moment_ns < self._window[1]


class _Worker:
    """Answers every frame with one of the agent's, and reports speech on both lanes."""

    def __init__(self, plan: Plan, bus: RedisBus) -> None:
        self._bus = bus
        self._audio = edge_audio(plan.run)
        self._priority = edge_priority(plan.run)
        self._utterance = 0
        for call_id in plan.call_ids():
            bus.subscribe(call_audio(call_id), self._answering(call_id), broken)

    def _answering(self, call_id: str) -> Callable[[str, Message], None]:
        def answer(entry_id: str, message: Message) -> None:
            if isinstance(message, AudioIn):
                mulaw = message.mulaw[: _STAMP.size] + _STAMP.pack(time.monotonic_ns()) + message.mulaw[_STAMPS.size :]
                self._bus.publish(self._audio, AudioOut(call_id, 1, 1, 1, 0, message.position_ms // 20, mulaw))

        return answer

    def speech(self, due_ns: int) -> None:
        """Publish on both lanes, with the order alternating, so that neither is always second."""
        self._utterance += 1
        lanes = (self._priority, self._audio) if self._utterance % 2 else (self._audio, self._priority)
        for lane in lanes:  # `at_ms` carries the stamp, in us: the bound of that field is 4 years of it
            stamp = time.monotonic_ns() // NS_PER_STAMP
            self._bus.publish(lane, SpeechStarted("nobody", 1, self._utterance, 0, stamp))


def edge_main(plan: Plan, pipe: Connection) -> None:
    run_process(_edge(plan, pipe))


async def _edge(plan: Plan, pipe: Connection) -> None:
    async with RedisBus.connect(plan.options("edge")) as bus:
        await connected(bus)
        edge = _Edge(plan, bus)
        start_ns = await _start(pipe)
        window = plan.window(start_ns)
        await until(start_ns)
        edge.start(start_ns, window)
        edge.result.cpu_s = await cpu_between(window)
        await asyncio.sleep(DRAIN_SECONDS)
    pipe.send(edge.result)


def worker_main(plan: Plan, pipe: Connection) -> None:
    run_process(_worker(plan, pipe))


async def _worker(plan: Plan, pipe: Connection) -> None:
    async with RedisBus.connect(plan.options("worker")) as bus:
        await connected(bus)
        worker = _Worker(plan, bus)
        window = plan.window(await _start(pipe))
        await until(window[0] - WARM_UP_NS // 2)
        Metronome(worker.speech, time.monotonic_ns(), SPEECH_NS, window[1])
        cpu_s = await cpu_between(window)
        await asyncio.sleep(DRAIN_SECONDS / 2)
    pipe.send(cpu_s)


async def connected(bus: RedisBus) -> None:
    async with asyncio.timeout(START_SECONDS):
        while not bus.connected:  # noqa: ASYNC110 - a bus has no event for it
            await asyncio.sleep(0.01)


async def _start(pipe: Connection) -> int:
    """Report readiness; return when the first frame is due."""
    pipe.send("ready")
    start_ns: int = await asyncio.to_thread(receive, pipe, START_SECONDS)
    return start_ns
