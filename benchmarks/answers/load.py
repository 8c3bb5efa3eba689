"""All callers in one process: one epoll loop, every frame on an absolute clock, and its own lateness written down."""

from __future__ import annotations

import select
import time
from array import array
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.answers.caller import Caller, Heard
from benchmarks.answers.cores import pin
from benchmarks.answers.plan import FRAME_NS, cycle_frames
from benchmarks.children import receive

START_SECONDS = 120.0
CYCLE_SHARE = 0.618034
"""Callers begin at golden steps through the cycle: any number of them is spread evenly."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Who calls, and on which core (None: any)."""

    port: int
    callers: int
    core: int | None


@dataclass(slots=True)
class LoadResult:
    """`lateness`: of each frame sent, in ns.  `heard`: by the caller's number."""

    lateness: array[int] = field(default_factory=lambda: array("q"))
    heard: list[Heard] = field(default_factory=list)
    cpu_s: float = 0.0


def load_main(plan: LoadPlan, pipe: Connection) -> None:
    """Connect when told to; say so; speak and listen between the two moments we are given; tell what was heard."""
    pin(plan.core)
    frames = cycle_frames()
    pipe.send("up")
    receive(pipe, START_SECONDS)
    callers = [
        Caller(plan.port, number, frames, int(number * CYCLE_SHARE % 1 * len(frames))) for number in range(plan.callers)
    ]
    pipe.send("connected")
    start_ns, end_ns = receive(pipe, START_SECONDS)
    result = LoadResult(heard=[caller.heard for caller in callers])
    before = time.process_time()
    _talk(callers, start_ns, end_ns, result.lateness)
    result.cpu_s = time.process_time() - before
    for caller in callers:
        caller.hang_up()
    for caller in callers:
        caller.close()
    pipe.send(result)


def _talk(callers: list[Caller], start_ns: int, end_ns: int, lateness: array[int]) -> None:
    by_fd = {caller.socket.fileno(): caller for caller in callers}
    sent = 0
    due = start_ns
    with select.epoll() as poll:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        while (now := time.monotonic_ns()) < end_ns:
            while due <= now:
                moment = time.monotonic_ns()
                callers[sent % len(callers)].speak(moment)
                lateness.append(moment - due)
                sent += 1
                due = start_ns + sent * FRAME_NS // len(callers)
            for fd, _ in poll.poll(max(0, due - time.monotonic_ns()) / 1e9):
                by_fd[fd].hear(time.monotonic_ns())
