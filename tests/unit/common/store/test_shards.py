"""The call store of several servers: which server each method asks.  tests/contract/test_call_store.py: the rest."""

import inspect

import pytest

from common.bus.memory import MemoryStreams
from common.protocol.redis_keys import shard_index
from common.store import CallRecord, CallStore
from common.store.memory import MemoryCallStore
from common.store.shards import ShardedCallStore

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

METHODS = sorted(name for name, _ in inspect.getmembers(CallStore, inspect.isfunction) if not name.startswith("_"))


class Away(MemoryCallStore):
    """A server that is away."""

    async def live(self) -> list[str]:
        raise ConnectionError("unreachable")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_asks_for_the_method_of_its_name(name: str) -> None:
    method = getattr(ShardedCallStore, name)
    assert method.__name__ == name
    assert inspect.signature(method) == inspect.signature(getattr(CallStore, name))


async def test_a_call_is_on_its_server_whether_its_id_comes_by_position_or_by_name() -> None:
    shards = [MemoryCallStore(MemoryStreams()), MemoryCallStore(MemoryStreams())]
    store = ShardedCallStore([*shards])
    for call_id in ("c-1", "c-2", "c-3", "c-4"):
        own = shard_index(call_id, 2)
        await store.create(record=CallRecord(call_id))
        assert [await shard.read(call_id) is not None for shard in shards] == [own == 0, own == 1]
        assert (started := await store.start(edge="e-1", call_id=call_id)) and started.call_id == call_id
        assert (claim := await store.claim("stt", owner="w-1", call_id=call_id)) and claim.call_id == call_id
        assert await store.save_checkpoint(claim, "half way")
    assert {shard_index(call_id, 2) for call_id in await store.live()} == {0, 1}


async def test_the_answers_of_the_servers_that_are_there_are_merged() -> None:
    there = MemoryCallStore(MemoryStreams())
    await there.create(CallRecord("c-1"))
    await there.start("c-1", "e-1")
    assert await ShardedCallStore([Away(MemoryStreams()), there]).live() == ["c-1"]
    with pytest.raises(ConnectionError):
        await ShardedCallStore([Away(MemoryStreams()), Away(MemoryStreams())]).live()


async def test_what_one_server_says_of_a_pool_adds_to_what_another_says() -> None:
    one, other = MemoryCallStore(MemoryStreams()), MemoryCallStore(MemoryStreams())
    store = ShardedCallStore([one, other])
    await one.report_room("stt", "w-1", True)
    await other.report_health("stt", "w-2", True)
    await other.report_room("tts", "w-3", True)
    members = await store.members("stt")
    assert (members.with_room, members.healthy) == ({"w-1"}, {"w-2"})
    assert await store.pools_with_room() == {"stt", "tts"}
    assert await one.try_scan_lock("stt", "w-1", 1000)
    assert await store.try_scan_lock("stt", "w-1", 1000)  # the other server's is free
    assert not await store.try_scan_lock("stt", "w-1", 1000)
