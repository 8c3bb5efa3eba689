"""Runs one Redis, one edge and one worker of each pool as child processes; of the pool tools, if it is asked for.

    async with Stack(StackOptions(...)) as stack: ...

Redis is the one of `REDIS_URL` if it is set, else an embedded Valkey on a free port that lives as long as the stack.
Every child is ended by its pid when the block ends, however it ends: the edge first, which ends its calls at the
carrier, then the workers, then Valkey.  If this process is killed, the kernel ends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import httpx

from common.agents.model import Agent
from common.agents.needs import needs_tools
from common.process.addresses import near_url
from common.protocol.redis_keys import POOLS, TOOLS_POOL
from common.settings import Settings
from edge.http.api_token import find_token
from tools import redis_server
from tools.children import die_with_parent
from tools.own_secrets import own_environment
from tools.ports import free_port, is_free

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 90.0
"""Loading the speech models takes a few seconds, or many on a busy machine."""
STOP_SECONDS = 10.0
"""Time for a worker or Valkey to end."""
DRAIN_SECONDS = 30
"""The default of common/settings.py."""
HANG_UP_SECONDS = 3.0
"""Time for the requests that make the edge end its calls."""
EDGE_SECONDS = 12.0
"""Time for an edge to end once its calls are over, or DRAIN_SECONDS have passed."""
STARTING_SECONDS = 1.0
"""Time for all processes to end while the stack still starts: there are no calls yet."""
WORKERS = POOLS


def workers_for(agents: Iterable[Agent]) -> tuple[str, ...]:
    """The workers that calls of these agents need."""
    return (*WORKERS, TOOLS_POOL) if any(map(needs_tools, agents)) else WORKERS


class StackError(Exception):
    """The stack cannot run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Options of a stack.  Port 0 takes any free port; with `logs` None the children log to this terminal."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    port: int = 0
    host: str = "127.0.0.1"
    logs: Path | None = None
    workers: tuple[str, ...] = WORKERS
    data: Path | None = None
    """Data folder of the embedded Valkey; None: it keeps nothing."""


class Stack:
    """The stack, as an async context manager.  `processes` maps a name to a child; `url` is the edge's address."""

    def __init__(self, options: StackOptions) -> None:
        self._options = options
        # A name that no other stack has, which identifies our own edge's calls in a shared Redis.
        self._host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:24] + f"-{os.getpid()}"
        self._environ = {**options.environ, "PYTHONUNBUFFERED": "1", "HOSTNAME": self._host}
        self._environ.pop("REDIS_URL_FILE", None)  # its content is in `redis_url`
        self._tie = die_with_parent()
        self._claimed: IO[str] | None = None
        self._is_ready = False
        self._folder = tempfile.TemporaryDirectory(prefix="voice-")
        self._probes: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.redis_url = options.environ.get("REDIS_URL", "")
        self.url = ""

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stop()

    async def _start(self) -> None:
        port = self._options.port or free_port()
        try:
            free = is_free(self._options.host, port)
        except OSError:
            raise StackError(f"HTTP_HOST: {self._options.host} is no address of this machine.") from None
        if not free:
            raise StackError(
                f"Port {port} is taken. End what listens there, or choose another: HTTP_PORT=8010 make run"
            )
        try:
            if self.redis_url:
                await redis_server.probe(self.redis_url)
            else:
                self.redis_url = await self._start_valkey()
        except redis_server.NoRedis as error:
            raise StackError(str(error)) from None
        self.url = near_url(self._options.host, port)
        self.start("edge", HTTP_HOST=self._options.host, HTTP_PORT=str(port))
        for pool in self._options.workers:
            self.start(pool)
        await self.ready()

    def start(self, name: str, **settings: str) -> None:
        """Start "edge", or a worker: "stt", or "stt-2" for a second one."""
        kind = name.partition("-")[0]
        if kind != "edge":
            settings = {"METRICS_PORT": str(free_port()), **settings}
        port = settings.get("HTTP_PORT") or settings["METRICS_PORT"]
        self._probes[name] = self.url if kind == "edge" else f"http://127.0.0.1:{port}"
        module = "edge" if kind == "edge" else f"workers.{kind}"
        self._spawn(name, [sys.executable, "-m", module], {"REDIS_URL": self.redis_url, **settings})

    async def ready(self) -> None:
        """Wait until every process is ready.  Raises StackError if one has ended or takes too long."""
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    for name in list(self._probes):
                        await self._until_ready(client, name)
            except TimeoutError:
                raise StackError(f"Not everything was ready within {READY_SECONDS:.0f} s.{self._where()}") from None
        self._is_ready = True

    async def _until_ready(self, client: httpx.AsyncClient, name: str) -> None:
        while True:
            code = self.processes[name].poll()
            if code is not None:
                raise StackError(f"{name} ended with code {code} while starting.{self._last_words(name)}")
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{self._probes[name]}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one child; for tests."""
        self.processes[name].send_signal(number)

    def metrics_url(self, name: str) -> str:
        return f"{self._probes[name]}/metrics"

    @property
    def edge_prefix(self) -> str:
        """The prefix of the names of this stack's edges."""
        return f"edge-{self._host}-"

    async def _start_valkey(self) -> str:
        folder, port = Path(self._folder.name), free_port()
        if self._options.data is not None:
            folder = self._options.data / "redis"
            self._claimed = redis_server.claim(folder)
        self._spawn("valkey", redis_server.command(port, folder, keeps=self._options.data is not None), {})
        if await redis_server.until_it_answers(port, lambda: self.processes["valkey"].poll() is None):
            return f"redis://127.0.0.1:{port}/0"
        kept = f" Its data is in {folder}: move it away to begin anew." if self._options.data is not None else ""
        raise StackError(f"The embedded Valkey did not start.{kept}{self._last_words('valkey')}")

    def _spawn(self, name: str, command: list[str], settings: Mapping[str, str]) -> None:
        log = self._log(name)
        with log.open("ab") if log else contextlib.nullcontext() as sink:
            output = sink or (subprocess.DEVNULL if name == "valkey" else None)
            self.processes[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**own_environment(name.partition("-")[0], self._environ), **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if sink else None,
                start_new_session=True,  # Ctrl-C must reach only the parent, which ends the children in order
                preexec_fn=self._tie,  # one system call, which waits for no lock
            )

    async def _stop(self) -> None:
        """End the edges first (they end the calls), then the workers, then Valkey; kill those that are too slow."""
        edges = [name for name in self.processes if name.startswith("edge")]
        workers = [name for name in self.processes if name not in (*edges, "valkey")]
        if not self._is_ready:
            await self._end([*edges, *workers], STARTING_SECONDS)
        self._signal(edges, signal.SIGTERM)  # no new calls from now on
        if self._is_ready and self._running(edges):
            await self._hang_up()
        drain = int(self._environ.get("DRAIN_SECONDS") or DRAIN_SECONDS)
        await self._end(edges, drain + EDGE_SECONDS)
        await self._end(workers, STOP_SECONDS)
        await self._end(["valkey"] if "valkey" in self.processes else [], STOP_SECONDS)
        self._folder.cleanup()
        if self._claimed is not None:
            self._claimed.close()

    def kill_all(self) -> None:
        """Kill every process at once, without ending the calls."""
        for name in self.processes:
            self._signal([name], signal.SIGKILL)

    async def _hang_up(self) -> None:
        """Have our edge end its calls at the carrier: no other edge could take them over."""
        token = await find_token(Settings.from_env({**self._environ, "REDIS_URL": self.redis_url}))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with contextlib.suppress(httpx.HTTPError, TimeoutError, ValueError, KeyError):
            async with (
                asyncio.timeout(HANG_UP_SECONDS),
                httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False) as http,
            ):
                live = (await http.get("/v1/calls")).raise_for_status().json()["calls"]
                ours = [call["call_id"] for call in live if call["edge"].startswith(self.edge_prefix)]
                await asyncio.gather(*(http.delete(f"/v1/calls/{call_id}") for call_id in ours))

    def _running(self, names: Sequence[str]) -> list[subprocess.Popen[bytes]]:
        return [self.processes[name] for name in names if self.processes[name].poll() is None]

    def _signal(self, names: Sequence[str], number: signal.Signals) -> None:
        for process in self._running(names):
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)

    async def _end(self, names: Sequence[str], seconds: float) -> None:
        self._signal(names, signal.SIGTERM)
        await asyncio.to_thread(_reap, self._running(names), seconds)

    def _log(self, name: str) -> Path | None:
        if self._options.logs is None:
            return None
        self._options.logs.mkdir(parents=True, exist_ok=True)
        return self._options.logs / f"{name}.log"

    def _last_words(self, name: str) -> str:
        log = self._log(name)
        if log is None or not log.exists():
            return ""
        return "\n  " + "\n  ".join(log.read_text(errors="replace").splitlines()[-12:])

    def _where(self) -> str:
        return f" The logs are in {self._options.logs}." if self._options.logs else ""


def _reap(processes: list[subprocess.Popen[bytes]], seconds: float) -> None:
    until = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
