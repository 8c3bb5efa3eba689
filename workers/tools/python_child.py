"""Runs the functions of one agent's Python file in a process of its own: `python -m workers.tools.python_child`.

A user's code may crash, hang, exit, fork, print or eat memory: only this process pays.  It gets a few variables of the
environment and talks to its parent (engines/python_pipe.py) through its pipes only:

    stdin   frames: u32 length (big-endian), then a JSON object
              {"load": {"path": ..., "source": ...}}                              first, once
              {"call": 7, "tool": ..., "arguments": {...}, "context": {...}}      run a function
              {"cancel": 7}                                                       the result is not wanted any more
            end of file: the parent is gone, and this process and what it started end at once
    stdout  frames likewise
              {"ready": [{"name", "description", "parameters", "options"}, ...]} or {"broken": "... at clinic.py:3"}
              {"id": 7, "result": "..."}, {"id": 7, "failed": "text for the model"}, {"id": 7, "raised": "... at ..."},
              {"id": 7, "cancelled": true}, {"id": 7, "say": "One moment."}

What the code prints goes to stderr.  Nothing that it raises is quoted, because it may hold a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import resource
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from voice.calls import Call, Failed
from voice.functions import BadTool, ToolFunction, tools_of

HEADER = struct.Struct(">I")
FRAME_BYTES_MAX = 1 << 20
RESULT_CHARS_MAX = 100_000
"""Most characters of a result that leave this process."""
FAILED_CHARS_MAX = 1_000
SAYS_MAX = 10
"""Most sentences of one call that are passed on."""
FILES_MAX = 256
"""Most open files and sockets."""
STACK_BYTES = 2 << 20
"""Stack of the thread of a plain function: the address space is bounded, and Linux would reserve 8 MiB for each."""
MODULE = "agent_tools"
"""The name of the module that an agent's file becomes."""


class _Output:
    """Writes frames, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._process = os.getpid()

    def send(self, document: dict[str, Any]) -> None:
        if os.getpid() != self._process:
            os._exit(0)  # a copy that the code has forked: it may not answer for us
        raw = json.dumps(document, default=str).encode("utf-8", "replace")
        with self._lock:
            frame = HEADER.pack(len(raw)) + raw
            while frame:
                frame = frame[os.write(self._descriptor, frame) :]


class _Calls:
    """The calls that run, each a task or a thread."""

    def __init__(self, output: _Output, tools: dict[str, ToolFunction], agent: str) -> None:
        self._output = output
        self._tools = tools
        self._file = agent
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def begin(self, request: dict[str, Any]) -> None:
        number, name = request["call"], request["tool"]
        if name not in self._tools:
            self._output.send({"id": number, "raised": "no such tool"})
            return
        tool = self._tools[name]
        says = 0

        def speak(sentence: str) -> None:
            nonlocal says
            says += 1
            if sentence and says <= SAYS_MAX:
                self._output.send({"id": number, "say": sentence})

        given = {**dict.fromkeys(tool.none_if_missing), **request["arguments"]}
        if tool.call_parameter:
            given[tool.call_parameter] = Call(**request["context"], speak=speak)
        if inspect.iscoroutinefunction(tool.function):
            task = asyncio.create_task(self._await(number, tool.function, given))
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number, None))
        else:
            threading.Thread(target=self._run, args=(number, tool.function, given), daemon=True).start()

    def cancel(self, number: int) -> None:
        if task := self._tasks.get(number):
            task.cancel()

    async def _await(self, number: int, function: Callable[..., Any], given: dict[str, Any]) -> None:
        try:
            self._output.send({"id": number, "result": _text(await function(**given))})
        except asyncio.CancelledError:
            self._output.send({"id": number, "cancelled": True})
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's code raises ends its call alone
            self._output.send({"id": number, **self._error(error)})

    def _run(self, number: int, function: Callable[..., Any], given: dict[str, Any]) -> None:
        try:
            self._output.send({"id": number, "result": _text(function(**given))})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            self._output.send({"id": number, **self._error(error)})

    def _error(self, error: BaseException) -> dict[str, str]:
        if isinstance(error, Failed):
            return {"failed": str(error)[:FAILED_CHARS_MAX]}
        return {"raised": where(error, self._file)}


def where(error: BaseException, path: str) -> str:
    """The kind of an error and the last line of the agent's file that led to it, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == path), None)
    if line is None and isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno
    return f"{type(error).__name__} at {Path(path).name}:{line or '?'}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:RESULT_CHARS_MAX]


def load(path: str, source: str) -> dict[str, ToolFunction]:
    """Run an agent's file, and return its tools.  Raises BadTool, and what the file raises."""
    folder = str(Path(path).parent)
    sys.path.insert(0, folder)  # modules beside it
    with contextlib.suppress(OSError):
        os.chdir(folder)
    module = type(sys)(MODULE)
    module.__file__ = path
    sys.modules[MODULE] = module
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - it is what this process is for
    return tools_of(module.__dict__)


def _limit(memory_bytes: int) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, FILES_MAX),
    ):  # fmt: skip
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(kind, (value, value))


def _frame(pipe: BinaryIO) -> dict[str, Any]:
    """The next frame.  Raises EOFError at the end."""
    head = pipe.read(HEADER.size)
    length = HEADER.unpack(head)[0] if len(head) == HEADER.size else 0
    raw = pipe.read(length) if 0 < length <= FRAME_BYTES_MAX else b""
    if not raw or len(raw) < length:
        raise EOFError
    found: dict[str, Any] = json.loads(raw)
    return found


def _end() -> None:
    """End this process and all that it started: it leads a process group of its own."""
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


async def _serve(pipe: BinaryIO, calls: _Calls) -> None:
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            while True:
                request = _frame(pipe)
                if "call" in request:
                    loop.call_soon_threadsafe(calls.begin, request)
                else:
                    loop.call_soon_threadsafe(calls.cancel, int(request["cancel"]))
        except (EOFError, OSError, ValueError, RuntimeError):
            _end()

    threading.Thread(target=read, daemon=True).start()
    await asyncio.Event().wait()


def main() -> None:
    """Load the file, report its tools, run them until the parent is gone."""
    pipe, output = os.fdopen(os.dup(0), "rb"), _Output(os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # the code's own output is no frame
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent decides when we end
    _limit(int(sys.argv[1]))
    threading.stack_size(STACK_BYTES)
    try:
        wanted = _frame(pipe)["load"]
    except EOFError:
        return
    path = wanted["path"]
    try:
        tools = load(path, wanted["source"])
    except BadTool as error:
        output.send({"broken": str(error)})
        return
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent is told where
        output.send({"broken": where(error, path)})
        return
    output.send(
        {
            "ready": [
                {"name": tool.name, "description": tool.description, "parameters": tool.parameters,
                 "options": tool.options}
                for tool in tools.values()
            ]
        }
    )  # fmt: skip
    asyncio.run(_serve(pipe, _Calls(output, tools, path)))


if __name__ == "__main__":
    main()
