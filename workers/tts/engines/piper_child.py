"""The parent's side of `piper_process`: one child, started when needed and kept running, shared by all calls.

    start -> ready --request--> frames, request by request --death or hang--> gone --back-off--> start ...

A request is a number and a bounded queue of audio.  Abandoning one sends a cancel to the child and never stops it,
because the other calls use it too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from common.process.backoff import Backoff
from workers.providers.child_environment import child_environment
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected
from workers.tts.piper_process import AUDIO, END, FAILED, FRAME_BYTES_MAX, HEADER, READY

REQUESTS_MAX = 16
"""Open requests at once; some 2 s of work.  Beyond it `Busy` is raised."""
STOP_S = 2.0
RESTARTS = Backoff(first_s=0.5, longest_s=30.0)
"""Pauses before a child is started again; after the first death in a row there is none."""
_STDIN_BYTES_MAX = 1 << 20
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines of the child, in seconds."""

    start_s: float = 30.0
    """Until it is ready: 2 s, plus the download of a voice."""
    silent_s: float = 5.0
    """Between two frames while it has work; a child that is silent for longer hangs, and is killed."""
    wait_s: float = 10.0
    """Between two chunks of one request, including requests before it."""


@dataclass(eq=False, slots=True)
class _Mailbox:
    """Audio that arrived for one request.  Bounded by the length of its text, which the caller bounds."""

    pcm: deque[bytes] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    error: ProviderError | None = None

    def close(self, error: ProviderError | None) -> None:
        self.error, self.ended = error, True
        self.changed.set()


@dataclass(frozen=True, slots=True)
class Ready:
    """Sample rate (Hz) and language of the child's voice."""

    sample_rate: int
    language: str


class PiperChild:
    """Starts, monitors and restarts the child; sends requests to it."""

    def __init__(
        self, arguments: Callable[[], Sequence[str]], deadlines: Deadlines, python: str = sys.executable
    ) -> None:
        """`arguments`: of the child; called in a thread before each start, may raise `Down`."""
        self._arguments = arguments
        self._deadlines = deadlines
        self._python = python
        self._process: Process | None = None
        self._ready: Ready | None = None
        self._reader: asyncio.Task[None] | None = None
        self._mailboxes: dict[int, _Mailbox] = {}
        self._last_id = 0
        self._received_at_s = 0.0  # when the child last sent something
        self._deaths = 0  # in a row, without audio in between
        self._not_before_s = 0.0
        self._starting = asyncio.Lock()

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process else None

    async def ready(self) -> Ready:
        """Return the voice of the running child, started first if need be.  Raises a `ProviderError`."""
        async with self._starting:
            if self._ready is None:
                now = asyncio.get_running_loop().time()
                if now < self._not_before_s:
                    raise Down(f"piper died; it is started again in {self._not_before_s - now:.1f} s")
                await self._stop()
                try:
                    async with asyncio.timeout(self._deadlines.start_s):
                        self._ready = await self._start()
                except TimeoutError:
                    await self._gone()
                    raise Down(f"piper was not ready within {self._deadlines.start_s:.0f} s") from None
                except BaseException:
                    await self._gone()
                    raise
                self._reader = asyncio.create_task(self._read(self._process), name="piper")
            return self._ready

    async def speak(self, text: str, speed: float) -> AsyncGenerator[bytes, None]:
        """Yield PCM of the text, as the child makes it.  Call `ready` first.  Raises a `ProviderError`."""
        process = self._process
        if process is None or process.stdin is None or self._ready is None:
            raise Down("piper died")
        if len(self._mailboxes) >= REQUESTS_MAX:
            raise Busy("too many clauses wait for piper")
        self._last_id += 1
        request_id, mailbox = self._last_id, _Mailbox()
        if not self._mailboxes:
            self._received_at_s = asyncio.get_running_loop().time()  # it was idle: its silence counts from now
        self._mailboxes[request_id] = mailbox
        try:
            self._write(process, {"id": request_id, "text": text, "speed": speed})
            while True:
                while mailbox.pcm:
                    yield mailbox.pcm.popleft()
                if mailbox.error is not None:
                    raise mailbox.error
                if mailbox.ended:
                    return
                mailbox.changed.clear()
                await self._wait_for_audio(mailbox)
        finally:
            if self._mailboxes.pop(request_id, None) is not None and not mailbox.ended:
                self._write(process, {"cancel": request_id})

    async def aclose(self) -> None:
        """End the child: by end of file, and if that fails, by a kill."""
        async with self._starting:
            await self._stop()

    # --- requests ---

    async def _wait_for_audio(self, mailbox: _Mailbox) -> None:
        """Wait for audio.  Kills the child and raises `Down` if it hangs; raises `Busy` if the queue is too long."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + self._deadlines.wait_s
        while not mailbox.changed.is_set():
            now = loop.time()
            silent_until_s = self._received_at_s + self._deadlines.silent_s
            if now >= silent_until_s:
                hung = Down(f"piper sent nothing for {self._deadlines.silent_s:.0f} s")
                self._died(hung)
                raise hung
            if now >= give_up_s:
                raise Busy(f"piper did not get to this clause within {self._deadlines.wait_s:.0f} s")
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(silent_until_s, give_up_s)):
                    await mailbox.changed.wait()

    def _write(self, process: Process, request: dict[str, object]) -> None:
        stdin = process.stdin
        if stdin is None or stdin.is_closing() or process.returncode is not None:
            return  # it has died: the reader closes every mailbox
        if stdin.transport.get_write_buffer_size() > _STDIN_BYTES_MAX:
            self._kill()  # it stopped reading
            return
        stdin.write(json.dumps(request).encode() + b"\n")

    # --- the process ---

    async def _start(self) -> Ready:
        """Start the child and wait until it is ready.  Raises a `ProviderError`."""
        arguments = await asyncio.to_thread(self._arguments)
        # In the folder that holds `workers`, so that -m finds the module wherever this process was started.
        spawning = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                self._python, "-m", "workers.tts.piper_process", *arguments, stdin=PIPE, stdout=PIPE, cwd=_ROOT,
                env=child_environment(downloads="--voice" in arguments),
            )
        )  # fmt: skip
        try:
            self._process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # The child starts in spite of the cancellation.  It must be known, or it would never be ended and would
            # delay the end of the event loop.
            self._process = await spawning
            raise
        try:
            kind, _, payload = await self._frame(self._process)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Down("piper died while it was starting") from None
        document = json.loads(payload)
        if kind != READY:
            raise _error(document)
        return Ready(int(document["sample_rate"]), str(document["language"]))

    async def _frame(self, process: Process) -> tuple[bytes, int, bytes]:
        assert process.stdout is not None
        kind, request_id, length = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
        if length > FRAME_BYTES_MAX:
            raise Down("piper sent nonsense")
        return kind, request_id, await process.stdout.readexactly(length)

    async def _read(self, process: Process | None) -> None:
        """Distribute the child's frames to the mailboxes until it dies."""
        assert process is not None
        loop = asyncio.get_running_loop()
        error: ProviderError
        try:
            while True:
                kind, request_id, payload = await self._frame(process)
                self._received_at_s = loop.time()
                mailbox = self._mailboxes.get(request_id)
                if mailbox is None:
                    continue  # abandoned
                if kind == AUDIO:
                    self._deaths = 0
                    mailbox.pcm.append(payload)
                    mailbox.changed.set()
                elif kind == END:
                    mailbox.close(None)
                elif kind == FAILED:
                    mailbox.close(_error(json.loads(payload)))
        except (asyncio.IncompleteReadError, ConnectionError):
            error = Down("piper died")
        except ProviderError as nonsense:
            error = nonsense
        if self._ready is not None:  # else it was stopped, and that was counted
            self._died(error)

    def _died(self, error: ProviderError) -> None:
        """Kill the child if it still runs, close every mailbox with `error`, and set the time of the next start."""
        self._ready = None
        self._kill()
        for mailbox in self._mailboxes.values():
            mailbox.close(error)
        self._mailboxes.clear()
        wait_s = RESTARTS.pause_s(self._deaths - 1) if self._deaths else 0.0
        self._not_before_s = asyncio.get_running_loop().time() + wait_s
        self._deaths += 1

    async def _gone(self) -> None:
        """Clean up after a failed start, and count it."""
        self._died(Down("piper could not be started"))
        await self._stop()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _stop(self) -> None:
        """End the child if there is one, and reap it."""
        process, self._process, self._ready = self._process, None, None
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader], timeout=STOP_S)
        for mailbox in self._mailboxes.values():
            mailbox.close(Down("piper was stopped"))
        self._mailboxes.clear()
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        # communicate() reads the rest, because a paused pipe would never close, and waits for the exit.
        try:
            async with asyncio.timeout(STOP_S):
                await process.communicate()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            async with asyncio.timeout(STOP_S):
                await process.communicate()


def _error(document: dict[str, str]) -> ProviderError:
    return (Rejected if document["error"] == "rejected" else Down)(document["message"])
