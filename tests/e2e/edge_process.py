"""A real edge process on loopback, without workers: for what only a process has, its descriptors and its memory."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tools.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 15.0
_LIMITED = """
import resource, runpy, sys
descriptors = int(sys.argv.pop())
if descriptors:
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
runpy.run_module("edge", run_name="__main__")
"""


@dataclass(frozen=True, slots=True)
class EdgeProcess:
    """One edge, seen from outside."""

    port: int
    pid: int
    log: Path

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def descriptors(self) -> int:
        """File descriptors that are open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    async def ask(self, method: str, path: str, port: int = 0, **about: object) -> httpx.Response:
        """One request on a connection of its own."""
        url = f"http://127.0.0.1:{port or self.port}{path}"
        async with httpx.AsyncClient(trust_env=False, timeout=READY_SECONDS) as http:
            return await http.request(method, url, **about)  # type: ignore[arg-type]

    async def count(self, metric: str) -> float:
        """The sum of a counter over its labels."""
        text = (await self.ask("GET", "/metrics")).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(metric + "{"))


@asynccontextmanager
async def edge_process(
    redis_url: str, folder: Path, descriptors: int = 0, **settings: str
) -> AsyncIterator[EdgeProcess]:
    """`descriptors`: the limit of its file descriptors (`ulimit -n`), 0 for this process's own."""
    port, log = free_port(), folder / "edge.log"
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "REDIS_URL": redis_url}
    environ |= {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port), **settings}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _LIMITED, str(descriptors)), cwd=ROOT, env=environ, stdout=output, stderr=output
        )
    edge = EdgeProcess(port, process.pid, log)
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _answers(edge):
                assert process.returncode is None, log.read_text("utf-8")
                await asyncio.sleep(0.05)
        yield edge
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _answers(edge: EdgeProcess) -> bool:
    try:
        return (await edge.ask("GET", "/healthz")).status_code == 200
    except httpx.HTTPError:
        return False
