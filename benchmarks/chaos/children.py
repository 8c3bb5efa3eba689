"""Runs the processes of a chaos run: each has its own log, is started and signalled by name, and ended by its id."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_S = 16.0
"""Time for a process to end; an edge may use most of it to drain and hand over."""
ROOT = Path(__file__).resolve().parents[2]


class Children:
    """The processes; `stop` ends those that still run."""

    def __init__(self, logs: Path, environ: Mapping[str, str]) -> None:
        self._logs = logs
        self._environ = dict(environ)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None) -> None:
        """Start or restart a process; its log is appended to."""
        assert self.ended(name), f"{name} runs already"
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env={**self._environ, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C must reach only the parent
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one process."""
        self._running[name].send_signal(number)
        if number is signal.SIGKILL:
            self._running[name].wait()

    def ended(self, name: str) -> bool:
        """Return whether the process does not run."""
        return name not in self._running or self._running[name].poll() is not None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def code(self, name: str) -> int | None:
        """Return the exit code of a process, None while it runs."""
        return self._running[name].poll()

    def log(self, name: str) -> str:
        """Return the log of a process so far."""
        path = self._logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def stop(self, names: Sequence[str] | None = None) -> list[str]:
        """End these processes, or all; return those that had to be killed."""
        wanted = [name for name in (self._running if names is None else names) if not self.ended(name)]
        for name in wanted:
            self._running[name].send_signal(signal.SIGCONT)
            self._running[name].terminate()
        return await asyncio.to_thread(self._reap, wanted)

    def _reap(self, names: Sequence[str]) -> list[str]:
        killed = []
        for name in names:
            try:
                self._running[name].wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._running[name].kill()
                self._running[name].wait()
                killed.append(name)
        return killed
