"""A call that is over is freed by its last reference, not by the cyclic garbage collector.

Garbage that waits for the collector grew an edge by 1 MiB a minute, and a full collection stops every call meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest

from edge.http.protocol import RequestProtocol
from edge.media.websocket import MediaSocketProtocol
from edge.session.call import Call
from tests.deadlines import SOON_S
from tests.e2e.loopback_edge import running_edge

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

KINDS = (Call, MediaSocketProtocol, RequestProtocol)


def alive() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects() if type(one) in KINDS)


async def test_nothing_of_a_call_waits_for_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        async with running_edge() as edge:
            await edge.http.get("/healthz")  # the client keeps this connection, and asks `/answer` on it
            before = alive()
            for number in range(3):
                async with edge.call(f"call-{number}"):
                    assert alive() - before == Counter(Call=1, MediaSocketProtocol=1)
                async with asyncio.timeout(SOON_S):
                    while alive() - before:
                        await asyncio.sleep(0.01)
    finally:
        gc.enable()
