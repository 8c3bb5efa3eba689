"""Measures the cost of one 20 ms frame to a vendor, by several ways through a WebSocket.

    python -m benchmarks.sockets --calls 50 --seconds 1 --rounds 5 --tls

CPU time of this process for each frame sent, after that of the same loop without frames.  The server, which reads and
drops everything, is a process of its own.  The frames of the calls are spread over the 20 ms.  Rounds alternate, and
medians are compared.  picows and aiohttp are measured if they are installed.

    bare            a transport's write of a frame that was built beforehand: what nothing can be cheaper than
    VendorSocket    workers/providers/vendor_socket.py
    the STT stream  SttSocketStream.feed: queue, core, liveness and timer, on a VendorSocket
    websockets      its asyncio connection, and a task per call that an event wakes
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import os
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks.children import child
from benchmarks.report import publish, surroundings, table
from common.process.node import run_process
from workers.providers.interfaces import ListenOptions
from workers.providers.websocket import open_socket, tls
from workers.stt.engines.deepgram_account import DeepgramAccount
from workers.stt.engines.deepgram_nova import DeepgramNova
from workers.stt.stream.stt_core import SttStreamOptions

FRAME = b"\x7f" * 160
SLOTS = 10
"""The frames of the calls leave in so many groups in 20 ms."""
SLOT_S = 0.02 / SLOTS
START_SECONDS = 10.0
CLOSE = b"\x88\x82"
"""How a client's close frame begins, which is 8 bytes long and comes alone."""
PATIENT = SttStreamOptions(mute_s=3600.0)
"""The server is silent."""

Send = Callable[[int], None]
"""Sends the frame at a position in ms."""
Way = Callable[[str], AbstractAsyncContextManager[Send]]


# --- the ways -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Send]:
    socket = await open_socket("vendor/x", url, {}, START_SECONDS, "KEY")
    whole = bytes(8) + FRAME  # what a header and its mask would be
    transport = socket._transport
    try:
        yield lambda position_ms: transport.write(whole)
    finally:
        socket.abort()


@asynccontextmanager
async def vendor_socket(url: str) -> AsyncIterator[Send]:
    socket = await open_socket("vendor/x", url, {}, START_SECONDS, "KEY")
    try:
        yield lambda position_ms: socket.send(FRAME)
    finally:
        socket.abort()


@asynccontextmanager
async def stt_stream(url: str) -> AsyncIterator[Send]:
    nova = DeepgramNova("nova-3", DeepgramAccount("key", url.replace("ws", "http", 1)), PATIENT)
    async with nova.listen(ListenOptions()) as stream:
        yield lambda position_ms: stream.feed(position_ms, FRAME)


@asynccontextmanager
async def websockets_task(url: str) -> AsyncIterator[Send]:
    waiting: list[bytes] = []
    work = asyncio.Event()
    context = tls() if url.startswith("wss") else None
    async with connect(url, ssl=context, compression=None, ping_interval=None, proxy=None) as connection:

        async def write() -> None:
            while True:
                await work.wait()
                work.clear()
                while waiting:
                    async with asyncio.timeout(None):
                        await connection.send(waiting.pop())

        def send(position_ms: int) -> None:
            waiting.append(FRAME)
            work.set()

        task = asyncio.create_task(write())
        try:
            yield send
        finally:
            task.cancel()
            await asyncio.wait([task])
            connection.transport.abort()


@asynccontextmanager
async def picows_transport(url: str) -> AsyncIterator[Send]:
    picows = importlib.import_module("picows")
    context = tls() if url.startswith("wss") else None
    transport, _ = await picows.ws_connect(picows.WSListener, url, ssl_context=context)
    binary = picows.WSMsgType.BINARY
    try:
        yield lambda position_ms: transport.send(binary, FRAME)
    finally:
        transport.disconnect(False)


@asynccontextmanager
async def aiohttp_socket(url: str) -> AsyncIterator[Send]:
    aiohttp = importlib.import_module("aiohttp")
    context = tls() if url.startswith("wss") else False
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=context) as socket:

        def send(position_ms: int) -> None:
            with contextlib.suppress(StopIteration):  # without back-pressure it does not wait
                socket.send_bytes(FRAME).send(None)

        yield send


WAYS: dict[str, Way] = {
    "bare": bare,
    "VendorSocket": vendor_socket,
    "the STT stream": stt_stream,
    "websockets": websockets_task,
}
OPTIONAL: dict[str, tuple[str, Way]] = {
    "picows": ("picows", picows_transport),
    "aiohttp": ("aiohttp", aiohttp_socket),
}


# --- the server -----------------------------------------------------------------------------------------------------


class DroppingServer(asyncio.Protocol):
    """Accepts the handshake, reads, and drops."""

    def __init__(self) -> None:
        self._handshake: ServerProtocol | None = ServerProtocol()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if self._handshake is None:
            if len(data) == 8 and data.startswith(CLOSE):
                self._transport.close()
            return
        self._handshake.receive_data(data)
        for event in self._handshake.events_received():
            if isinstance(event, Request):
                self._handshake.send_response(self._handshake.accept(event))
                self._transport.write(b"".join(self._handshake.data_to_send()))
                self._handshake = None
                return


def serve(certificate: str | None, pipe: Connection) -> None:
    """Serve until the parent says stop; its first message is the port."""

    async def server() -> None:
        context = None
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
        listening = await asyncio.get_running_loop().create_server(DroppingServer, "127.0.0.1", 0, ssl=context)
        pipe.send(listening.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        listening.close()

    run_process(server())


def certificate(folder: Path) -> str:
    """A certificate for localhost with its key in one file, trusted by this process."""
    path = folder / "localhost.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", str(path), "-out", str(path)], check=True, capture_output=True)
    os.environ["SSL_CERT_FILE"] = str(path)
    return str(path)


# --- the measurement ------------------------------------------------------------------------------------------------


async def paced(sends: list[Send], seconds: float) -> tuple[float, int]:
    """Send a frame per call and 20 ms; return the CPU seconds it took and the number of frames."""
    loop = asyncio.get_running_loop()
    groups = [sends[slot::SLOTS] for slot in range(SLOTS)]
    began, cpu, frames = loop.time(), time.process_time(), 0
    for tick in range(round(seconds / SLOT_S)):
        for send in groups[tick % SLOTS]:
            send(20 * (tick // SLOTS))
            frames += 1
        await asyncio.sleep(max(0.0, began + (tick + 1) * SLOT_S - loop.time()))
    return time.process_time() - cpu, frames


async def microseconds(way: Way, url: str, calls: int, seconds: float) -> float:
    """The CPU time of one frame, in us."""
    async with contextlib.AsyncExitStack() as stack:
        sends = [await stack.enter_async_context(way(url)) for _ in range(calls)]
        idle, _ = await paced([], seconds)
        busy, frames = await paced(sends, seconds)
    return 1e6 * (busy - idle) / frames


async def measure(urls: dict[str, str], calls: int, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """The median of each way, for each URL."""
    ways = dict(WAYS)
    for name, (module, way) in OPTIONAL.items():
        if importlib.util.find_spec(module) is not None:
            ways[name] = way
    took: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in ways} for kind in urls}
    for _ in range(rounds):
        for kind, url in urls.items():
            for name, way in ways.items():
                took[kind][name].append(await microseconds(way, url, calls, seconds))
    return {kind: {name: statistics.median(us) for name, us in named.items()} for kind, named in took.items()}


def main() -> None:
    """Parse the command line, run, print the table and write it to out/bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=50)
    options.add_argument("--seconds", type=float, default=1.0, help="of each round and way, and as long without frames")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--tls", action="store_true", help="over TLS, too; needs the program openssl")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        urls = {}
        for kind, path in [("TCP", None), ("TLS", certificate(Path(folder)))][: 1 + chosen.tls]:
            server = stack.enter_context(child(f"the server, {kind}", serve, path))
            stack.callback(server.send, "stop")
            host = "wss://localhost" if path else "ws://127.0.0.1"
            urls[kind] = f"{host}:{server.receive(START_SECONDS)}"
        took: dict[str, dict[str, float]] = {}

        async def run() -> None:
            took.update(await measure(urls, chosen.calls, chosen.seconds, chosen.rounds))

        run_process(run())
    rows = [[name, *(f"{took[kind][name]:.1f}" for kind in urls)] for name in took["TCP"]]
    page = table(["way", *(f"{kind}, CPU µs per frame" for kind in urls)], rows)
    publish("sockets", surroundings("benchmarks.sockets", "no Redis"), [page], {"cpu_us_per_frame": took})


if __name__ == "__main__":
    main()
