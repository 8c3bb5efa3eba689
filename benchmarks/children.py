"""Runs the processes of a benchmark: spawned (no fork), connected by a pipe, and ended with the block."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

STOP_SECONDS = 10.0


class ChildFailed(Exception):
    """A process of the benchmark ended early or sent nothing; its traceback is on stderr."""


class Child:
    """One process and the parent's end of its pipe."""

    def __init__(self, name: str, pipe: Connection) -> None:
        self._name = name
        self._pipe = pipe

    def send(self, what: Any) -> None:
        self._pipe.send(what)

    def receive(self, seconds: float) -> Any:
        """Return the process's next message.  Raises ChildFailed."""
        return receive(self._pipe, seconds, self._name)


def receive(pipe: Connection, seconds: float, name: str = "the parent") -> Any:
    """Return the next message on a pipe.  Raises ChildFailed after `seconds` or at the end of the process."""
    try:
        if not pipe.poll(seconds):
            raise ChildFailed(f"{name} sent nothing for {seconds:.0f} s")
        return pipe.recv()
    except (EOFError, ConnectionError):
        raise ChildFailed(f"{name} has ended early") from None


@contextlib.contextmanager
def child(name: str, main: Callable[..., None], *arguments: Any) -> Iterator[Child]:
    """Run `main(*arguments, pipe)` in a separate process.  Raises ChildFailed if it does not exit with status 0."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=main, args=(*arguments, theirs), name=name, daemon=True)
    process.start()
    theirs.close()
    try:
        yield Child(name, ours)
        process.join(STOP_SECONDS)
        if process.exitcode != 0:
            raise ChildFailed(f"{name} did not exit with status 0")
    finally:
        if process.is_alive():
            process.terminate()
            process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()
