"""Runs Redis servers that tests kill, restart, replicate and watch by sentinels; and a network that fails.

async with RedisServer(folder, "--appendonly", "yes") as server:
    server.kill()
    await server.start()
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.programs import program
from tools.ports import free_port

START_SECONDS = 30.0
SET = "voice"


def redis_program() -> str:
    """Return the path of redis-server 7.  Without it tests are skipped, but fail in CI."""
    return program("redis-server")


async def until(true: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> None:
    """Poll until the condition is true; an unreachable server counts as false.  Raises on timeout."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(redis.RedisError):
                    if true():
                        return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:.0f} s for {what}") from None


class RedisServer:
    """One server on a port of its own; its folder survives its process."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self, *options: str, answers: bool = True) -> None:
        """Start the server with `options` for this start only; `answers`: wait until it answers."""
        defaults = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        command = [redis_program(), "--port", str(self.port), "--dir", str(self.folder), *defaults, *self._options]
        command += options
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        if answers:
            await until(lambda: self.ask("PING"), "Redis to start")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process and wait for its end; do nothing if none runs."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            self._process = None

    async def restart(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.kill(number)
        await self.start()

    def ask(self, *command: str) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        at_once = Retry(NoBackoff(), 0)
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2, retry=at_once)
        with contextlib.closing(client):
            yield client


class SentinelSet:
    """A primary, two replicas, and three sentinels that agree by two."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.servers = [RedisServer(folder / f"server-{number}", *_REPLICATING) for number in range(3)]
        self._ports = [free_port() for _ in range(3)]
        self._sentinels: list[subprocess.Popen[bytes]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait(START_SECONDS)
        for server in self.servers:
            server.kill()

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self._ports)}/{SET}/0"

    @property
    def primary(self) -> RedisServer:
        """Return the primary, as the servers report their roles."""
        for server in self.servers:
            with contextlib.suppress(redis.RedisError):
                if server.ask("ROLE")[0] == b"master":
                    return server
        raise AssertionError("no server is the primary")

    def fail_over(self) -> None:
        """Order a failover at a sentinel: the primary is healthy and becomes a replica."""
        client = redis.Redis(port=self._ports[0], socket_timeout=2)
        with contextlib.closing(client):
            client.sentinel_failover(SET)

    async def _start(self) -> None:
        for server in self.servers:
            await server.start()
        first = self.servers[0]
        for server in self.servers[1:]:
            server.ask("REPLICAOF", "127.0.0.1", str(first.port))
        for server in self.servers[1:]:
            await until(lambda server=server: _info(server)["master_link_status"] == "up", "a replica to follow")
        for port in self._ports:
            self._sentinels.append(self._sentinel(port, first.port))
        for port in self._ports:
            await until(lambda port=port: _sees_all(port), "a sentinel to see all servers")

    def _sentinel(self, port: int, primary: int) -> subprocess.Popen[bytes]:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SET} 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds {SET} 500\n"
            f"sentinel failover-timeout {SET} 3000\n"
        )
        return subprocess.Popen([redis_program(), str(config), "--sentinel"], stdout=subprocess.DEVNULL)


_REPLICATING = ("--repl-diskless-sync-delay", "0", "--appendonly", "yes")


def _info(server: RedisServer) -> dict[str, Any]:
    with server.client() as client:
        return dict(client.info("replication"))


def _sees_all(port: int) -> bool:
    client = redis.Redis(port=port, socket_timeout=2)
    with contextlib.closing(client):
        seen = client.sentinel_master(SET)
    return (seen["num-slaves"], seen["num-other-sentinels"]) == (2, 2)


class Network:
    """A TCP proxy that can hold all data back, as a network partition does: it closes no connection."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._relays: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        """Number of connections ever made."""

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._listening.close()
        for relay in list(self._relays):
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """Forward the data that was held back, as TCP would retransmit it."""
        self._whole.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self.connections += 1
        try:
            await self._whole.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            with contextlib.closing(back):
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._relay(reader, back))
                    ways.create_task(self._relay(there, writer))
        except* OSError:
            pass  # either side closed the connection
        finally:
            self._relays.discard(task)
            writer.close()

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._whole.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError
