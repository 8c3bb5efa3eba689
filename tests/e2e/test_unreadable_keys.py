"""Real processes on a Redis in which somebody wrote garbage into every key, before a call and in the middle of one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.protocol import redis_keys
from tests.e2e.poison import call_keys, client_of, edges_of, poison_entries, poison_types, shared_keys
from tests.e2e.two_releases import ROOT, Caller, Deployment, calling, deployed

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

ANSWERS = {"ask one": "It is one.", "ask two": "It is two.", "ask three": "It is three."}
TREES = dict.fromkeys(("edge", *redis_keys.POOLS), ROOT)
MENDED_SECONDS = 15.0
"""An edge looks for keys that cannot be used every 5 s; then a worker says that it has room."""


@contextlib.asynccontextmanager
async def office(redis_url: str, folder: Path) -> AsyncIterator[tuple[Deployment, Any]]:
    """Real processes, all of which are there at the end."""
    async with deployed(redis_url, folder, TREES, ANSWERS) as system:
        with contextlib.closing(client_of(redis_url)) as client:
            yield system, client
        ended = {name: process.poll() for name, process in system.processes.items() if process.poll() is not None}
        assert ended == {}
        assert not [line for line in system.complaints() if "Traceback" in line]


async def asks(caller: Caller, what: str) -> None:
    await caller.says(f"ask {what}")
    await caller.hears(f"It is {what}.")


async def test_all_keys_hold_garbage_before_the_phone_rings(valkey_url: str, tmp_path: Path) -> None:
    with contextlib.closing(client_of(valkey_url)) as client:
        poison_types(client, shared_keys(()))
    async with office(valkey_url, tmp_path) as (system, client):
        edges = await there(client)
        poison_types(client, [*call_keys("call-1"), *shared_keys(edges)])
        await mended(client, edges)
        poison_entries(client, ["call-1"], edges)
        async with calling(system) as caller:
            await asks(caller, "one")
            await asks(caller, "two")


async def test_all_keys_hold_garbage_in_the_middle_of_a_call(valkey_url: str, tmp_path: Path) -> None:
    async with office(valkey_url, tmp_path) as (system, client), calling(system) as caller:
        await asks(caller, "one")
        edges = await there(client)
        poison_entries(client, ["call-1"], edges)
        await asks(caller, "two")
        poison_types(client, shared_keys(edges))
        await mended(client, edges)
        await asks(caller, "three")
        poison_types(client, call_keys("call-1"))
        await asyncio.sleep(MENDED_SECONDS / 2)  # the edge has all that it needs to write the call again
        await asks(caller, "one")
        await asks(caller, "two")


async def there(client: Any) -> list[str]:
    """The edges, once they can say that they are there."""
    async with asyncio.timeout(MENDED_SECONDS):
        while not (edges := edges_of(client)):
            await asyncio.sleep(0.1)
    return edges


async def mended(client: Any, edges: list[str]) -> None:
    """Until nothing that all calls need holds another type."""
    needed = [
        redis_keys.CALLS_LIVE,
        *(name(edge) for edge in edges for name in (redis_keys.edge_audio, redis_keys.edge_priority)),
    ]
    needed += [name(pool) for pool in redis_keys.POOLS for name in (redis_keys.pool_calls, redis_keys.pool_ready)]
    async with asyncio.timeout(MENDED_SECONDS):
        while any(client.type(key) in (b"set", b"list") for key in needed):
            await asyncio.sleep(0.1)
