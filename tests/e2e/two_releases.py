"""Processes of two releases on one Redis, and a caller on the line while they are exchanged one by one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from common.bus.redis import BusOptions, RedisBus
from common.protocol.messages import Message, ReplyPlayed, ReplyStarted
from common.protocol.redis_keys import POOLS, call_events
from tests.calls.doubles import CarrierLine
from tests.calls.talking import Talking
from tests.e2e.loopback_edge import start_of
from tools.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20.0
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
AGENT = 'name: desk\nnumbers: ["*"]\ngreeting: Hello.\ninstructions: Be brief.\nturn: {endpointing_ms: 900}\n'


def newest_release() -> str:
    """The newest tag of a release that this commit comes after, or is; "" if this clone has none."""
    asked = ["git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


def unpack(tag: str, folder: Path) -> Path:
    """The tree of a tag, in `folder`."""
    archive = subprocess.run(["git", "archive", tag], cwd=ROOT, capture_output=True, timeout=60, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, timeout=60, check=True)
    return folder


@dataclass
class Deployment:
    """Which tree each process runs; `roll` exchanges one while a call goes on."""

    redis_url: str
    folder: Path
    answers: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    async def start(self, name: str, tree: Path) -> None:
        """A process of the tree, ready to take calls: "edge", a pool, or "edge-2"."""
        self.ports[name] = port = free_port()
        log = self.folder / f"{name}-{port}.log"
        self.processes[name] = process = self._spawn(name.partition("-")[0], tree, port, log)
        await _ready(process, f"http://127.0.0.1:{port}/readyz", log)

    def _spawn(self, kind: str, tree: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        environ |= {"PYTHONPATH": str(tree), "REDIS_URL": self.redis_url, "AGENTS_DIR": str(self.folder)}
        environ |= {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port), "METRICS_PORT": str(port), "LEASE_MS": "800"}
        environ |= {f"{pool.upper()}_PROVIDER": "test/double" for pool in POOLS}
        environ["OFFER_WAIT_MS"] = "0"  # a call may come before the workers have said that they have room
        script = str(Path(__file__).with_name("scripted_worker.py"))
        worker = ["-P", script, kind, json.dumps(self.answers)]
        with log.open("wb") as sink:
            return subprocess.Popen(
                [sys.executable, *(["-m", "edge"] if kind == "edge" else worker)],
                cwd=tree, env=environ, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
            )  # fmt: skip

    async def roll(self, pool: str, tree: Path) -> None:
        """A member of the tree takes over from the one that there is."""
        self.processes[f"old {pool}"] = old = self.processes.pop(pool)
        await self.start(pool, tree)
        old.terminate()
        assert await asyncio.to_thread(old.wait, STOP_SECONDS) == 0

    def close(self) -> None:
        """Nothing is left of it."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def complaints(self) -> list[str]:
        """What any process logged as an error."""
        lines = [line for path in self.folder.glob("*.log") for line in path.read_text().splitlines()]
        return [line for line in lines if '"ERROR"' in line or "Traceback" in line]


async def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client, asyncio.timeout(READY_SECONDS):
        while True:
            assert process.poll() is None, f"it ended; its last words are in {log.name}"
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).status_code == 200:
                    return
            await asyncio.sleep(0.05)


class Caller(Talking):
    """A carrier's stream in real time, and who speaks into it."""

    wait_s = SECONDS

    def __init__(self, socket: ClientConnection, call_id: str, redis_url: str) -> None:
        self.call_id = call_id
        self._socket = socket
        self._redis_url = redis_url
        self.speech = []
        self._sends: set[asyncio.Task[None]] = set()
        self.line = CarrierLine(self._deliver)

    def _deliver(self, text: str) -> None:
        task = asyncio.get_running_loop().create_task(self.send(text))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def send(self, text: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(text)

    async def listen(self) -> None:
        """What the agent says, as it is played."""
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                self.line.send_texts([text.encode() if isinstance(text, str) else text])

    async def hears(self, text: str) -> None:
        try:
            await super().hears(text)
        except AssertionError as error:
            transcript = [str(message) for message in await self.transcript()]
            raise AssertionError("\n".join([str(error), *transcript[-12:]])) from None

    async def is_answered(self) -> None:
        """Wait until the edge knows that the answer was heard: nothing of it is said again after a reconnect."""
        async with asyncio.timeout(SECONDS):
            while True:
                transcript = await self.transcript()
                begun = max(event.turn for event in transcript if isinstance(event, ReplyStarted))
                if ReplyPlayed(begun) in transcript:
                    return
                await asyncio.sleep(0.05)

    async def transcript(self) -> list[Message]:
        """The call's events."""
        async with RedisBus.connect(BusOptions(self._redis_url, "test")) as bus:
            return [message for _, message in await bus.read(call_events(self.call_id))]


@asynccontextmanager
async def deployed(
    redis_url: str, folder: Path, trees: dict[str, Path], answers: dict[str, str]
) -> AsyncIterator[Deployment]:
    """An edge and a worker of each pool, each of its tree."""
    (folder / "desk.yaml").write_text(AGENT)
    deployment = Deployment(redis_url, folder, answers)
    try:
        await asyncio.gather(*(deployment.start(kind, tree) for kind, tree in trees.items()))
        yield deployment
    finally:
        deployment.close()


@asynccontextmanager
async def calling(deployment: Deployment, call_id: str = "call-1") -> AsyncIterator[Caller]:
    """A caller who was greeted."""
    path = await answered(deployment, "edge", call_id)
    async with streaming(deployment, "edge", path, call_id) as caller:
        await caller.hears("Hello.")
        yield caller


async def answered(deployment: Deployment, edge: str, call_id: str) -> str:
    """The call is answered by this edge; returns the path of its stream, which any edge serves."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{deployment.ports[edge]}", trust_env=False) as http:
        form = {"CallUUID": call_id, "From": "911234567891", "To": "911234567890"}
        stream = ElementTree.fromstring((await http.post("/answer", data=form)).content).find("Stream")
    assert stream is not None
    assert stream.text
    return urlsplit(stream.text).path


@asynccontextmanager
async def streaming(deployment: Deployment, edge: str, path: str, call_id: str) -> AsyncIterator[Caller]:
    """A stream of the call at this edge; afterwards its connection breaks."""
    url = f"ws://127.0.0.1:{deployment.ports[edge]}{path}"
    async with connect(url, compression=None, proxy=None) as socket:
        await socket.send(json.dumps(start_of(call_id)))
        caller = Caller(socket, call_id, deployment.redis_url)
        tasks = [asyncio.create_task(caller.microphone()), asyncio.create_task(caller.listen())]
        try:
            yield caller
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            socket.transport.abort()
