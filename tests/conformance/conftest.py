"""One edge for all scenes of a module, a call id of its own for each, and how fast the webhooks were answered."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.loopback_edge import Edge, running_edge

_numbers = itertools.count(1)
_answered_ms: dict[str, list[float]] = defaultdict(list)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop of the real processes, one for the scenes of a module."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module", autouse=True)
def no_proxy() -> Iterator[None]:
    """The machine's own proxy settings do not concern loopback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture(scope="module")
async def edge(anyio_backend: object) -> AsyncIterator[Edge]:
    async with running_edge(calls_max=1000) as edge:
        edge.http.event_hooks = {"request": [_asked], "response": [_answered]}
        yield edge


@pytest.fixture
def call_id() -> str:
    return f"call-{next(_numbers)}"


async def _asked(request: httpx.Request) -> None:
    request.extensions["asked_s"] = time.perf_counter()


async def _answered(response: httpx.Response) -> None:
    if response.status_code == 200 and not response.request.url.path.startswith(("/v1", "/metrics", "/readyz")):
        took_s = time.perf_counter() - response.request.extensions["asked_s"]
        _answered_ms[response.request.url.path].append(took_s * 1000)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Measured, not asserted: a busy machine is no fault of the edge."""
    if not _answered_ms:
        return
    terminalreporter.section("webhooks answered in ms, client included (aim: 50)")
    for path, times in sorted(_answered_ms.items()):
        ranked = sorted(times)
        late = sum(took_ms > 50 for took_ms in ranked)
        median, most = ranked[len(ranked) // 2], ranked[-1]
        terminalreporter.write_line(f"{path:16} {len(ranked):5} times  p50 {median:6.1f}  max {most:6.1f}  late {late}")
