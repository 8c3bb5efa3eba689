"""An event loop that counts what each role does on it, and whose clock stands still while it is busy.

    callbacks    handles that ran, timers and sockets left out       tasks, timers     how many were made
    writes       writes to a socket                                  redis XADD                commands sent to Redis
    wake-ups     times that a timer or a socket had something to do; timers that are due together count once

A role is a part of the system that is a process of its own elsewhere: "edge", "stt", "llm", "tts".  It is a context
variable, so that whatever a role starts, schedules or registers counts for it.

Sockets, Redis and its clock are real, so time runs at its real pace; but a busy machine changes hardly a count.  The
clock goes from timer to timer and never past one: what is late does not coalesce.  It goes on only when nothing is on
its way: sockets within the process deliver at once, and `fence` returns once Redis has answered all that was sent.
"""

import asyncio
import re
import selectors
from asyncio import selector_events
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from time import monotonic
from typing import Any

ROLE: ContextVar[str] = ContextVar("role", default="")
COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")
"""The name of each command in what is written to Redis."""
LATE_S = 1e-5
"""A timer is always a little late: five pauses of 1 s are over after 5 s, and not just before."""
STALLED_SECONDS = 20.0
"""Real time after which a loop on which nothing can happen gives up."""


class Stalled(RuntimeError):
    """Nothing is ready, no timer is set, and nothing came from outside."""


class CountingLoop(asyncio.SelectorEventLoop):
    """`counts` maps (role, what) to a number; `fence` waits until Redis has answered all that was sent."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.fence: Callable[[], None] = lambda: None
        self.redis_port = 0
        self._now = monotonic()
        self._late_s = 0.0
        self._on_signal: list[Callable[[], None]] = []
        self._in_threads = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def start(self, role: str, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as this role."""
        context = copy_context()
        context.run(ROLE.set, role)
        return self.create_task(main, name=role, context=context)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        """Keep the callback for `terminate`: the roles share a process."""
        self._on_signal.append(callback)

    def terminate(self) -> None:
        """Do what SIGTERM does to each role."""
        for callback in self._on_signal:
            callback()

    # --- what is counted --------------------------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        self.count("callbacks", context)
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        self.count("timers", context)
        return super().call_at(when, callback, *args, context=context)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> Any:
        self.count("tasks", context)
        return super().create_task(coro, name=name, context=context)

    def count(self, what: str, context: Context | None = None, by: int = 1) -> None:
        """Count something for the role of the context, or of the present one."""
        self.counts[(context.get(ROLE, "") if context is not None else ROLE.get(), what)] += by

    def wrote(self, port: int, data: bytes) -> None:
        """Count a write to a socket, and the commands in it if it leads to Redis."""
        self.count("writes")
        if port == self.redis_port:
            for name in COMMAND.findall(data):
                self.count(f"redis {name.decode().upper()}")

    def _process_events(self, event_list: Any) -> None:
        for key, _ in event_list:
            for handle in key.data:
                if handle is not None:
                    self.count("wake-ups", handle._context)
        super()._process_events(event_list)  # type: ignore[misc]

    def _make_socket_transport(self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None,
                               server: Any = None) -> Any:  # fmt: skip
        return _CountingTransport(self, sock, protocol, waiter, extra, server)

    # --- the clock --------------------------------------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, future: Any) -> None:
        self._in_threads -= 1

    @property
    def in_threads(self) -> bool:
        """Is something under way that only real time brings to its end?"""
        return self._in_threads > 0

    def remaining(self, until: float) -> float:
        """Return the real time in s until the clock may stand at `until`; it is set back by what we are late."""
        left = until - (monotonic() - self._late_s)
        if left < 0:
            self._late_s -= left
        return max(0.0, left)

    def go_on(self, until: float, woken: bool) -> None:
        """Set the clock to `until`, or to the present moment before it if a socket has woken us."""
        if woken:
            self._now = max(self._now, min(until, monotonic() - self._late_s))
            return
        self._now = until + LATE_S
        due = (timer for timer in self._scheduled if timer._when <= until and not timer._cancelled)  # type: ignore[attr-defined]
        for role in {timer._context.get(ROLE, "") for timer in due}:
            self.counts[(role, "wake-ups")] += 1


class _CountingTransport(selector_events._SelectorSocketTransport):  # type: ignore[misc,name-defined]
    def __init__(self, loop: CountingLoop, sock: Any, *more: Any) -> None:
        super().__init__(loop, sock, *more)
        peer = self.get_extra_info("peername")
        self._peer_port = peer[1] if isinstance(peer, tuple) else 0

    def write(self, data: Any) -> None:
        self._loop.wrote(self._peer_port, bytes(data))
        super().write(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: CountingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        self._loop.fence()
        ready = super().select(0)
        if ready:
            return ready
        if self._loop.in_threads or timeout is None:
            return self._wait()
        until = self._loop.time() + timeout
        ready = super().select(self._loop.remaining(until))
        self._loop.go_on(until, bool(ready))
        return ready

    def _wait(self) -> list[Any]:
        until = monotonic() + STALLED_SECONDS
        while monotonic() < until:
            if ready := super().select(0.05):
                return ready
        raise Stalled("nothing is ready, no timer is set, and nothing came from outside")
