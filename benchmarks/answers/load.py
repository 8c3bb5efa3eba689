"""Runs all callers in one process: one epoll loop, frames on an absolute clock, and a record of its own lateness."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.answers.caller import CallerRecord, LoadCaller
from benchmarks.answers.cores import pin
from benchmarks.answers.plan import cycle_frames
from benchmarks.bare_socket import talk
from benchmarks.children import receive

START_SECONDS = 120.0
CYCLE_SHARE = 0.618034
"""Callers begin at golden-ratio steps through the cycle, which spreads any number of them evenly."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Number of callers, the port, and the core to run on (None: any)."""

    port: int
    callers: int
    core: int | None
    pause_ms: int = 0


@dataclass(slots=True)
class LoadResult:
    """`lateness`: of each frame sent, in ns.  `heard`: by the caller's number."""

    lateness: array[int] = field(default_factory=lambda: array("q"))
    heard: list[CallerRecord] = field(default_factory=list)
    cpu_s: float = 0.0


def load_main(plan: LoadPlan, pipe: Connection) -> None:
    """Connect on a message, confirm, speak and listen between the two given times, and send the records."""
    pin(plan.core)
    frames = cycle_frames(plan.pause_ms)
    pipe.send("up")
    receive(pipe, START_SECONDS)
    callers = [
        LoadCaller(plan.port, number, frames, int(number * CYCLE_SHARE % 1 * len(frames)))
        for number in range(plan.callers)
    ]
    pipe.send("connected")
    start_ns, end_ns = receive(pipe, START_SECONDS)
    result = LoadResult(heard=[caller.heard for caller in callers])
    before = time.process_time()
    talk(callers, start_ns, end_ns, result.lateness)
    result.cpu_s = time.process_time() - before
    for caller in callers:
        caller.socket.hang_up()
    for caller in callers:
        caller.socket.close()
    pipe.send(result)
