"""Runs all callers in one process: one epoll loop, frames on an absolute clock, and a record of its own lateness.

Set-up and end of a call (webhooks, connecting, closing) wait for the server, so they run in threads (placing.py).
"""

from __future__ import annotations

import select
import sys
import time
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.answers.caller import CallerRecord, LoadCaller
from benchmarks.answers.cores import pin
from benchmarks.answers.placing import NotBegun, OpenCall, begin
from benchmarks.answers.plan import FRAME_NS, call_frames, cycle_frames
from benchmarks.children import receive

START_SECONDS = 120.0
CYCLE_SHARE = 0.618034
"""Callers begin at golden-ratio steps through the cycle, which spreads any number of them evenly."""
THREADS = 16
SWITCH_SECONDS = 0.0005
"""So long may a thread keep the frames waiting."""
AGAIN_NS = 1_000_000_000
"""Pause before a call that was refused is tried again."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Number of callers, the answer URL, and the core to run on (None: any).

    `call_s` 0: each call lasts to the end of the run.  Else it ends after so many seconds, and the next one begins.
    """

    answer_url: str
    callers: int
    core: int | None
    call_s: float = 0.0
    ramp_s: float = 0.0
    """Time over which the first calls begin."""
    pause_ms: int = 0
    """In the middle of each speech."""


@dataclass(slots=True)
class LoadResult:
    """`lateness`: of each frame due, in ns.  `heard`: a record for each call.  `set_up`: (when, ns) for each call."""

    lateness: array[int] = field(default_factory=lambda: array("q"))
    heard: list[CallerRecord] = field(default_factory=list)
    set_up: list[tuple[int, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    received_bytes: int = 0
    cpu_s: float = 0.0


class OpenSockets:
    """The callers whose sockets are open."""

    def __init__(self, poll: select.epoll) -> None:
        self._poll = poll
        self._callers: dict[int, LoadCaller] = {}

    def add(self, caller: LoadCaller) -> None:
        """Listen to a caller."""
        self._callers[caller.socket.fileno()] = caller
        self._poll.register(caller.socket.fileno(), select.EPOLLIN)

    def remove(self, caller: LoadCaller) -> None:
        """Listen no more: another thread reads the socket to its end."""
        del self._callers[caller.socket.fileno()]
        self._poll.unregister(caller.socket.fileno())

    def hear(self, until_ns: int) -> None:
        """Have the callers read what has come, or comes before `until_ns`."""
        for fd, _ in self._poll.poll(max(0, until_ns - time.monotonic_ns()) / 1e9):
            self._callers[fd].hear(time.monotonic_ns())


class CallSlot:
    """One of the calls that are up at the same time: it ends after `call_s`, and the next one begins."""

    def __init__(
        self, plan: LoadPlan, number: int, threads: ThreadPoolExecutor, sockets: OpenSockets, result: LoadResult
    ) -> None:
        self._plan = plan
        self._sockets = sockets
        self._number = number
        self._threads = threads
        self._result = result
        self._frames = call_frames(plan.call_s, plan.pause_ms) if plan.call_s else cycle_frames(plan.pause_ms)
        self._at = 0 if plan.call_s else int(number * CYCLE_SHARE % 1 * len(self._frames))
        self._placed = 0
        self._next_ns = 0
        self._starting: Future[OpenCall] | None = None
        self._call: OpenCall | None = None
        self.caller: LoadCaller | None = None

    def start(self, start_ns: int) -> None:
        """Set the time at which the first call begins."""
        self._next_ns = start_ns + int(self._plan.ramp_s * 1e9 * self._number / self._plan.callers)

    def speak(self, now: int) -> None:
        """Send the next 20 ms; begin or end the call if it is time."""
        if now >= self._next_ns:
            self.hang_up()
            self._placed += 1
            call_id = f"bench-{self._number:04d}-{self._placed:04d}"
            self._starting = self._threads.submit(begin, self._plan.answer_url, call_id)
            self._next_ns = self._next_ns + int(self._plan.call_s * 1e9) if self._plan.call_s else 2**63 - 1
        if self._starting is not None and self._starting.done():
            self._adopt(self._starting, now)
            self._starting = None
        if self.caller is not None:
            self.caller.speak(now)

    def _adopt(self, starting: Future[OpenCall], now: int) -> None:
        try:
            self._call = starting.result()
        except NotBegun as error:
            self._result.refused.append(str(error))
            self._next_ns = now + AGAIN_NS
            return
        self._result.set_up.append((now, self._call.took_ns))
        self.caller = LoadCaller(
            self._call.socket, self._call.party.call_id, self._number, self._frames, self._at % len(self._frames)
        )
        self._result.heard.append(self.caller.heard)
        self._sockets.add(self.caller)

    def hang_up(self) -> None:
        """End the present call, if there is one; its last webhooks are sent by a thread."""
        if self._call is not None and self.caller is not None:
            self._sockets.remove(self.caller)
            socket = self._call.socket
            self._result.sent_bytes += socket.sent_bytes
            self._result.received_bytes += socket.received_bytes
            socket.hang_up()
            self._threads.submit(self._call.end)
        self._call = self.caller = None

    def settle(self) -> None:
        """End a call that is still being set up at the end of the run."""
        if self._starting is not None and self._starting.exception() is None:
            call = self._starting.result()
            call.socket.hang_up()
            call.end()


def load_main(plan: LoadPlan, pipe: Connection) -> None:
    """Confirm; begin calls, speak and listen between the two given times; send the records."""
    pin(plan.core)
    sys.setswitchinterval(SWITCH_SECONDS)
    result = LoadResult()
    with ThreadPoolExecutor(THREADS, "placing") as threads, select.epoll() as poll:
        sockets = OpenSockets(poll)
        slots = [CallSlot(plan, number, threads, sockets, result) for number in range(plan.callers)]
        pipe.send("up")
        start_ns, end_ns = receive(pipe, START_SECONDS)
        before = time.process_time()
        for slot in slots:
            slot.start(start_ns)
        _carry(slots, sockets, (start_ns, end_ns), result.lateness)
        result.cpu_s = time.process_time() - before
        for slot in slots:
            slot.hang_up()
        for slot in slots:
            slot.settle()
    pipe.send(result)


def _carry(slots: list[CallSlot], sockets: OpenSockets, span: tuple[int, int], lateness: array[int]) -> None:
    """Give each slot its turn every 20 ms, spread evenly on an absolute clock, and read what comes in between."""
    start_ns, end_ns = span
    turn, due = 0, start_ns
    while (now := time.monotonic_ns()) < end_ns:
        while due <= now:
            moment = time.monotonic_ns()
            slots[turn % len(slots)].speak(moment)
            lateness.append(moment - due)
            turn += 1
            due = start_ns + turn * FRAME_NS // len(slots)
        sockets.hear(due)
