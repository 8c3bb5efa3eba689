"""Processes that can be frozen and killed, in one event loop on a virtual clock.

Everything that a process does (its tasks, timers, and what reaches it) runs in a context of its own.  SIGSTOP is then
exact: a frozen process' callbacks are kept, and run when it is thawed, however late.  kill -9: its tasks are cancelled
so that none is left behind, but by then its bus and its ledger are gone, so that no cleaning up can be seen outside.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import weakref
from collections.abc import Callable, Coroutine
from heapq import heappush
from typing import Any

from tests.clock import Stalled

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
INNER_MAX = 2_000
"""Tasks of a process after which those that are over are forgotten."""
OUTSIDE = contextvars.Context()
"""Whatever is no process of ours: the carrier, the callers, Redis."""


class _NoFiles(selectors.SelectSelector):
    """Nothing is ever ready: time jumps to the next timer, without a system call."""

    jump = staticmethod(lambda seconds: None)

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stalled("nothing is ready and no timer is set")
        if timeout > 0:
            self.jump(timeout)
        return []


class Process:
    """One simulated process.  `start` its tasks, `freeze`, `thaw`, `kill`."""

    def __init__(self, name: str, loop: ProcessLoop, wrong: Callable[[str], None]) -> None:
        self.name = name
        self.loop = loop
        self._wrong = wrong  # told of what its tasks raise
        self.frozen = False
        self.dead = False
        self.deferred: list[asyncio.Handle] = []
        self.context = contextvars.Context()
        self.context.run(_PROCESS.set, self)
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in order: a set's order is another one in each run
        self.inner: list[weakref.ref[asyncio.Task[Any]]] = []
        """The tasks that its tasks have started, in order."""

    def start(
        self, work: Coroutine[Any, Any, Any], name: str, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        """Run a task of this process."""
        task = self.loop.create_task(work, name=name, context=context or self.context.copy())
        self._tasks[task] = None
        task.add_done_callback(self._done, context=OUTSIDE)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._wrong(f"{task.get_name()} raised {error!r}")

    def later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Something reaches this process."""
        self.loop.call_later(seconds, callback, *arguments, context=self.context)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True
        self.loop.frozen += 1

    def thaw(self) -> None:
        """SIGCONT; no effect on a process that runs."""
        if self.frozen:
            self.frozen = False
            self.loop.frozen -= 1
            self.loop.ready(self.deferred)
            self.deferred = []

    async def kill(self) -> None:
        """kill -9, and wait until nothing is left of it."""
        self.dead = True
        self.thaw()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        left = [task for reference in self.inner if (task := reference()) is not None and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def __repr__(self) -> str:
        return f"<Process {self.name}>"


class _Handle(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        if self._loop.frozen and self._loop.defers(self):  # type: ignore[attr-defined]
            return
        super()._run()


class _TimerHandle(asyncio.TimerHandle):
    """Timers of one instant run in the order in which they were set: a socket never turns two messages round."""

    __slots__ = ("number",)
    number: int

    def __lt__(self, other: Any) -> bool:
        if self._when == other._when:  # type: ignore[attr-defined]
            return bool(self.number < other.number)
        return bool(self._when < other._when)  # type: ignore[attr-defined]

    def _run(self) -> None:
        if self._loop.frozen and self._loop.defers(self):  # type: ignore[attr-defined]
            return
        super()._run()


class ProcessLoop(asyncio.SelectorEventLoop):
    """As `tests.clock.VirtualLoop`, but knows which process each callback belongs to."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers = 0
        self.frozen = 0
        """How many processes are frozen."""
        selector = _NoFiles()
        selector.jump = self._advance
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def create_task(self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None) -> Any:
        task = super().create_task(coro, name=name, context=context)
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is not None:
            process.inner.append(weakref.ref(task))
            if len(process.inner) > INNER_MAX:
                process.inner = [one for one in process.inner if (known := one()) is not None and not known.done()]
        return task

    def defers(self, handle: asyncio.Handle) -> bool:
        """Keeps the handle for later if its process is frozen."""
        process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is None or not process.frozen:
            return False
        process.deferred.append(handle)
        return True

    def ready(self, handles: list[asyncio.Handle]) -> None:
        """Run these in the next round."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _TimerHandle(when, callback, args, self, context)
        self._timers += 1
        timer.number = self._timers
        heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def _call_soon(
        self, callback: Callable[..., object], args: Any, context: contextvars.Context | None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def _advance(self, seconds: float) -> None:
        self._now += seconds
