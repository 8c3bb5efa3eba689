"""The last versions of agents and their pins, which all edges share: in memory, one server and two."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from common.bus.memory import MemoryStreams
from common.store import CallStore
from common.store.agent_versions import DOCUMENT_BYTES_MAX, VERSIONS_MAX, AgentVersions, Pin
from common.store.memory import MemoryCallStore
from common.store.shards import connect_store
from tests.conftest import server_url

pytestmark = [pytest.mark.servers, pytest.mark.anyio]


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CallStore]:
    if request.param == "memory":
        yield MemoryCallStore(MemoryStreams())
        return
    async with connect_store(server_url(request), "test", 60) as connected:
        yield connected


@pytest.fixture
def versions(store: CallStore) -> AgentVersions:
    return store.agent_versions


async def kept(versions: AgentVersions, agent: str = "desk") -> list[str]:
    return [one.version for one in await versions.kept(agent)]


async def test_the_version_that_was_begun_last_comes_first(versions: AgentVersions) -> None:
    assert await kept(versions) == [] and await versions.in_files() == {}
    for version in ("a1", "b2"):
        await versions.keep("desk", version, f'{{"greeting": "नमस्ते {version}"}}')
    await versions.keep("billing", "c3", "{}")
    assert await kept(versions) == ["b2", "a1"] and await versions.in_files() == {"desk": "b2", "billing": "c3"}
    newest, older = await versions.kept("desk")
    assert newest.document == '{"greeting": "नमस्ते b2"}' and newest.since_ms >= older.since_ms > 1_700_000_000_000


async def test_another_edge_changes_nothing_and_a_file_that_goes_back_comes_first(versions: AgentVersions) -> None:
    for version in ("a1", "b2", "b2"):
        await versions.keep("desk", version, "{}")
    before = await versions.kept("desk")
    await versions.keep("desk", "b2", "{}")
    assert await versions.kept("desk") == before
    await versions.keep("desk", "a1", "{}")
    assert await kept(versions) == ["a1", "b2"] and (await versions.in_files())["desk"] == "a1"


async def test_above_the_bound_the_oldest_goes_and_a_huge_one_is_not_kept(versions: AgentVersions) -> None:
    for number in range(VERSIONS_MAX + 3):
        await versions.keep("desk", f"v{number}", "{}")
    assert await kept(versions) == [f"v{number}" for number in range(VERSIONS_MAX + 2, 2, -1)]
    await versions.keep("desk", "huge", "x" * (DOCUMENT_BYTES_MAX + 1))
    assert "huge" not in await kept(versions)


async def test_a_pin_is_there_until_it_is_replaced_or_removed(versions: AgentVersions) -> None:
    assert await versions.pins() == {}
    await versions.pin("desk", Pin("a1", "b2"))
    await versions.pin("desk", Pin("a0", "b2"))
    await versions.pin("billing", Pin("c3", "d4"))
    assert await versions.pins() == {"desk": Pin("a0", "b2"), "billing": Pin("c3", "d4")}
    for _ in range(2):
        await versions.unpin("desk")
    assert await versions.pins() == {"billing": Pin("c3", "d4")}
