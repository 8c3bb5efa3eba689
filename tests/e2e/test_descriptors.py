"""A thousand connections of a stranger against an edge process with 1,024 file descriptors: others are still served.

Each kind is one way to hold a connection.  Nothing is waited for but answers: what a deadline ends is tested without a
clock (tests/unit/edge/http/limits/test_connections.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deadlines import WAIT_S
from tests.e2e.edge_process import EdgeProcess, edge_process
from tests.e2e.nginx import nginx
from tests.e2e.test_strangers import MANY, chunked, get, upgrade

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

DESCRIPTORS = 1024
STRANGERS = 1010
MEMORY_MB = 96
"""What all of them may cost together; before, 30 MB of headers alone cost 550."""

KINDS: dict[str, bytes] = {
    "says nothing": b"",
    "upgrade, a long line": upgrade(b"X: " + b"a" * 9000),
    "upgrade, many headers": upgrade(*MANY),
    "upgrade with a body": upgrade(b"Content-Length: 5") + b"hello",
    "upgrade with a guess": upgrade(),
    "a line feed after an answer": get() + b"\r\n",
    "asks before it sends": get(b"Expect: 100-continue", b"Content-Length: 9", path=b"/answer"),
    "half a body": chunked(b"5\r\nCa"),
    "a trailer": chunked(b"0\r\nX: " + b"a" * 9000),
}


@contextlib.asynccontextmanager
async def crowd(port: int, sent: bytes, count: int = STRANGERS) -> AsyncIterator[None]:
    """So many connections that send this, and then hold on to what they have."""
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(WAIT_S):
                _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
                writers.append(writer)
                writer.transport.pause_reading()
                writer.write(sent)

    try:
        for _ in range(count // 101):
            await asyncio.gather(*(connect() for _ in range(101)))
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


async def serves(edge: EdgeProcess, port: int = 0) -> None:
    assert (await edge.ask("GET", "/healthz", port)).status_code == 200
    answer = await edge.ask("POST", "/answer", port, data={"CallUUID": "c-1", "From": "911234567891"})
    assert answer.status_code == 200
    assert "<Response" in answer.text


async def test_a_thousand_strangers_of_each_kind_leave_an_edge_serving(valkey_url: str, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # ours: we hold the other ends
    try:
        async with edge_process(valkey_url, tmp_path, DESCRIPTORS) as edge:
            await serves(edge)
            before_mb = edge.memory_mb
            for kind, sent in KINDS.items():
                async with crowd(edge.port, sent):
                    await serves(edge)
                    assert edge.descriptors < 0.75 * DESCRIPTORS, kind
                    assert edge.memory_mb < before_mb + MEMORY_MB, kind
            assert await edge.count("voice_requests_refused_total") > 1000
            assert await edge.count("voice_half_open_closed_total") > 1000
            log = edge.log.read_text("utf-8")
        assert len(log.splitlines()) < 40, log
        assert "Traceback" not in log
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("kind", ["upgrade, many headers", "upgrade with a guess"])
async def test_they_are_no_stronger_behind_nginx(kind: str, valkey_url: str, tmp_path: Path) -> None:
    async with (
        edge_process(valkey_url, tmp_path, DESCRIPTORS) as edge,
        nginx(edge.port) as port,
        crowd(port, KINDS[kind]),
    ):
        await serves(edge)
        await serves(edge, port)
        assert edge.descriptors < 0.75 * DESCRIPTORS


async def test_thirty_megabytes_of_headers_are_refused_before_they_are_kept(valkey_url: str, tmp_path: Path) -> None:
    async with edge_process(valkey_url, tmp_path, DESCRIPTORS) as edge:
        await serves(edge)
        before_mb = edge.memory_mb
        for flood in (b"X: 1\r\n" * 1_000_000, b"X: " + b"a" * 30_000_000, b"\r\n" * 5_000_000):
            _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write((b"" if flood.startswith(b"\r") else b"GET /healthz HTTP/1.1\r\n") + flood)
            await serves(edge)
            assert edge.memory_mb < before_mb + 32
            writer.transport.abort()
        assert await edge.count("voice_requests_refused_total") == 3
