"""`python -m workers.tools` as a process: it takes a call, runs its tool, dies or goes, and another one goes on."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.agents.model import to_document
from common.agents.reading import load_agents
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.protocol.acts import ToolReturned, ToolsCalled, ToolsOffered
from common.protocol.redis_keys import call_events
from common.store import CallRecord, CallStore
from common.store.shards import connect_store
from tests.deadlines import WAIT_S
from tools.ports import free_port

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

ROOT = Path(__file__).resolve().parents[2]
CALL = "call-1"
AGENT = "name: clinic\ngreeting: Hello.\ninstructions: Be brief.\n"
CODE = """
import time
from pathlib import Path
from voice import Call, tool

@tool(timeout_s=20)
def book(call: Call, day: str) -> str:
    "Book a table."
    with Path("booked.txt").open("a") as book:
        book.write(call.key + "\\n")
    time.sleep(2)
    return f"booked for {day}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clinic.yaml").write_text(AGENT)
    (tmp_path / "clinic.py").write_text(CODE)
    return tmp_path


@asynccontextmanager
async def worker(url: str, folder: Path) -> AsyncIterator[Process]:
    environment = {
        **os.environ, "REDIS_URL": url, "AGENTS_DIR": str(folder), "METRICS_PORT": str(free_port()),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers.tools", cwd=ROOT, env=environment, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class LiveCall:
    """A call as an edge and an LLM worker see it."""

    def __init__(self, store: CallStore, bus: object, beat: asyncio.Task[None]) -> None:
        self.store, self.bus, self.beat = store, bus, beat

    async def events(self, kind: type) -> list:
        return [message for _, message in await self.bus.read(call_events(CALL)) if isinstance(message, kind)]

    async def until(self, kind: type) -> list:
        async with asyncio.timeout(WAIT_S):
            while not (found := await self.events(kind)):
                await asyncio.sleep(0.05)
        return found

    def calls(self, name: str) -> None:
        self.bus.publish(call_events(CALL), ToolsCalled(2, 0, (("id", name, '{"day": "Monday"}'),), 0))


@asynccontextmanager
async def live_call(url: str, folder: Path) -> AsyncIterator[LiveCall]:
    async def heartbeat(store: CallStore) -> None:
        while True:
            await store.heartbeat_calls([CALL])
            await asyncio.sleep(1)

    async with connect_bus(BusOptions(url, "test")) as bus, connect_store(url, "test", 60) as store:
        document = to_document(load_agents(folder).by_name["clinic"])
        await store.create(CallRecord(CALL, document, more_pools="tools"))
        await store.start(CALL, "edge-1")
        await store.offer("tools", [CALL])
        beat = asyncio.create_task(heartbeat(store))
        yield LiveCall(store, bus, beat)
        beat.cancel()


def booked(folder: Path) -> list[str]:
    path = folder / "booked.txt"
    return path.read_text().split() if path.exists() else []


async def begun(folder: Path) -> None:
    async with asyncio.timeout(WAIT_S):
        while not booked(folder):
            await asyncio.sleep(0.05)


async def test_a_tool_is_offered_and_run(valkey_url: str, folder: Path):
    async with live_call(valkey_url, folder) as call, worker(valkey_url, folder):
        (offer,) = await call.until(ToolsOffered)
        assert [each["function"]["name"] for each in json.loads(offer.tools)] == ["book"]
        call.calls("book")
        (result,) = await call.until(ToolReturned)
        assert (result.outcome, result.result) == ("done", "booked for Monday")
        assert booked(folder) == [f"{CALL}:2:0"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to go"])
async def test_the_worker_goes_while_the_tool_runs(valkey_url: str, folder: Path, number: signal.Signals):
    """Killed, the outcome is unknown; told to go, it finishes the tool, and the next worker has the result."""
    async with live_call(valkey_url, folder) as call, worker(valkey_url, folder) as leaving:
        await call.until(ToolsOffered)
        call.calls("book")
        await begun(folder)
        async with worker(valkey_url, folder):
            leaving.send_signal(number)
            (result,) = await call.until(ToolReturned)
            assert result.outcome == ("unknown" if number is signal.SIGKILL else "done")
            async with asyncio.timeout(WAIT_S):
                await leaving.wait()
            await asyncio.sleep(0.5)
            assert booked(folder) == [f"{CALL}:2:0"], "once"


async def test_settings_and_agents_that_cannot_be_used_stop_it(tmp_path: Path):
    (tmp_path / "clinic.yaml").write_text("greeting: Hello.\n")
    async with worker("redis://127.0.0.1:1/0", tmp_path) as process:
        async with asyncio.timeout(WAIT_S):
            _, error = await process.communicate()
        assert process.returncode == 2
        assert b"'instructions' is missing" in error
