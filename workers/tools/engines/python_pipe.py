"""One child process with an agent's Python file, and the calls that run in it (workers/tools/python_child.py).

start ──ready──▶ serving ──exit, nonsense──▶ gone: its calls failed
                    └──a call did not end in time, and does not let itself be cancelled──▶ worn
worn: takes no call any more; it is killed when its last one has ended
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.call.acts import ToolOutcome
from workers.providers.child_environment import shut_own_environment
from workers.tools.interfaces import ToolError
from workers.tools.outcomes import without
from workers.tools.python_child import FRAME_BYTES_MAX, HEADER

log = logging.getLogger(__name__)

START_S = 10.0
"""Deadline until the file is loaded, with what it imports."""
CANCEL_S = 1.0
"""How long a call may take to end after it was cancelled."""
END_S = 2.0
CALLS_AT_ONCE = 64
"""Most calls in one child at a time."""
MEMORY_BYTES_MAX = 1 << 30
"""Address space of the child (RLIMIT_AS): beyond it an allocation fails."""
PRINTED_BYTES_MAX = 4_096
"""Most bytes of what the code prints that are looked at together."""
_ROOT = Path(__file__).parents[3]

RAISED = "The tool failed with an error. It is not certain what was done: say so, do not try again."
DIED = "The tool's program ended while it ran. It may or may not have been done: say so, do not try again."
BROKEN = "The tools of this agent cannot be used at the moment. Nothing was done."
BUSY = "Too many tools run at the moment. Nothing was done."


class BrokenFile(Exception):
    """An agent's Python file cannot be loaded; the text says where, for its author."""


@dataclass(slots=True)
class _Running:
    say: Callable[[str], None]
    result: asyncio.Future[str]
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class PythonChild:
    """One child.  `secrets` are hidden in what the code prints."""

    def __init__(self, process: Process, name: str, secrets: tuple[str, ...], declared: list[dict[str, Any]]) -> None:
        self._process = process
        self._name = name
        self._running: dict[int, _Running] = {}
        self._last_id = 0
        self._secrets = secrets
        self.declared = declared
        """What the child says of its tools: name, description, parameters, options."""
        self.worn = False
        """It takes no more calls."""
        self.gone = False
        self._tasks = [asyncio.create_task(self._read(), name="python tools")]

    @classmethod
    async def start(cls, path: Path, source: str, environment: Mapping[str, str]) -> PythonChild:
        """Start a child with this file.  Raises BrokenFile, OSError and TimeoutError."""
        shut_own_environment()
        process = await _spawned(environment)
        secrets = tuple(environment.values())
        printed = asyncio.create_task(_pass_over(process, path.name, secrets), name="printed by python tools")
        try:
            async with asyncio.timeout(START_S):
                _send(process, {"load": {"path": str(path), "source": source}})
                answer = await _frame(process)
            if "ready" not in answer:
                raise BrokenFile(str(answer.get("broken", "?"))[:300])
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            await _end(process)
            raise BrokenFile(f"{path.name} ended the process while it was loaded") from None
        except BaseException:
            await _end(process)
            raise
        child = cls(process, path.name, secrets, answer["ready"])
        child._tasks.append(printed)
        return child

    @property
    def idle(self) -> bool:
        """Whether no call runs."""
        return not self._running

    async def call(
        self, tool: str, arguments: Mapping[str, Any], context: Mapping[str, Any], say: Callable[[str], None]
    ) -> str:
        """Run a tool and return its result.  Raises ToolError.

        If it is cancelled, so is the tool; a tool that goes on all the same wears the child out.
        """
        if len(self._running) >= CALLS_AT_ONCE:
            raise ToolError(ToolOutcome.REFUSED, BUSY)
        self._last_id += 1
        number, running = self._last_id, _Running(say, asyncio.get_running_loop().create_future())
        self._running[number] = running
        try:
            _send(self._process, {"call": number, "tool": tool, "arguments": dict(arguments), "context": dict(context)})
            return await running.result
        except asyncio.CancelledError:
            _send(self._process, {"cancel": number})
            # No asyncio.timeout: within a task that is being cancelled it raises CancelledError in Python 3.11.2.
            waiting = asyncio.ensure_future(running.ended.wait())
            await asyncio.wait([waiting], timeout=CANCEL_S)
            waiting.cancel()
            self.worn = self.worn or not running.ended.is_set()
            raise
        finally:
            self._running.pop(number, None)

    async def aclose(self) -> None:
        """Kill the child and all that it started; its calls fail."""
        self._fail_all()
        await _end(self._process)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=END_S)

    async def _read(self) -> None:
        try:
            while True:
                self._receive(await _frame(self._process))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            self._fail_all()
            _kill(self._process)

    def _receive(self, answer: dict[str, Any]) -> None:
        running = self._running.get(answer.get("id", 0))
        if running is None:
            return
        if "say" in answer:
            running.say(str(answer["say"]))
            return
        running.ended.set()
        if running.result.done():
            return
        if "result" in answer:
            running.result.set_result(str(answer["result"]))
        elif "failed" in answer:
            running.result.set_exception(ToolError(ToolOutcome.FAILED, str(answer["failed"]) or RAISED))
        else:
            log.warning("a tool of %s raised: %s", self._name, str(answer.get("raised", "?"))[:200])
            running.result.set_exception(ToolError(ToolOutcome.FAILED, RAISED))

    def _fail_all(self) -> None:
        self.gone = self.worn = True
        for running in self._running.values():
            running.ended.set()
            if not running.result.done():
                running.result.set_exception(ToolError(ToolOutcome.FAILED, DIED))


async def _spawned(environment: Mapping[str, str]) -> Process:
    """The child's process.  In the folder that holds `workers` and `voice`, so that -m finds the module."""
    spawning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable, "-m", "workers.tools.python_child", str(MEMORY_BYTES_MAX), stdin=PIPE, stdout=PIPE,
            stderr=PIPE, cwd=_ROOT, env=dict(environment), start_new_session=True,
        )
    )  # fmt: skip
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        await _end(await spawning)  # it starts in spite of the cancellation
        raise


def _send(process: Process, document: dict[str, Any]) -> None:
    raw = json.dumps(document).encode()
    stdin = process.stdin
    if len(raw) > FRAME_BYTES_MAX:
        raise ToolError(ToolOutcome.REFUSED, "The arguments are too long.")
    if stdin is None or stdin.is_closing() or process.returncode is not None:
        return  # it has died, which its reader reports
    if stdin.transport.get_write_buffer_size() > FRAME_BYTES_MAX:
        _kill(process)  # it has stopped reading
        return
    stdin.write(HEADER.pack(len(raw)) + raw)


async def _frame(process: Process) -> dict[str, Any]:
    """The next frame.  Raises IncompleteReadError at the end, and ValueError for nonsense."""
    assert process.stdout is not None
    (length,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
    if length > FRAME_BYTES_MAX:
        raise ValueError("too long")
    found = json.loads(await process.stdout.readexactly(length))
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


async def _pass_over(process: Process, name: str, secrets: tuple[str, ...]) -> None:
    """Read what the code prints, so that it never waits; it is logged at DEBUG only, without secrets."""
    assert process.stderr is not None
    while printed := await process.stderr.read(PRINTED_BYTES_MAX):
        if log.isEnabledFor(logging.DEBUG):
            log.debug("printed by %s: %s", name, without(printed.decode("utf-8", "replace"), secrets).strip())


def _kill(process: Process) -> None:
    """Kill the process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()


async def _end(process: Process) -> None:
    _kill(process)
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            await process.wait()
