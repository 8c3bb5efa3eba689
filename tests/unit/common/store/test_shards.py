"""The call store of several servers: which server each method asks.  tests/contract/test_call_store.py: the rest."""

import inspect

import pytest

from common.bus.memory import MemoryStreams
from common.protocol.redis_keys import shard_index
from common.store import CallRecord, CallStore
from common.store.members import MemberReport, Renewal
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
    await one.renew(MemberReport("stt", "w-1", False, has_room=True, healthy=False))
    await other.renew(MemberReport("stt", "w-2", True, has_room=False, healthy=True))
    await other.renew(MemberReport("tts", "w-3", False, has_room=True, healthy=False))
    members = await store.members("stt")
    assert (members.with_room, members.healthy) == ({"w-1"}, {"w-2"})
    assert await store.pools_with_room() == {"stt", "tts"}


def test_of_two_servers_answers_the_one_that_asks_for_more_counts() -> None:
    assert Renewal(True, False, 500) | Renewal(False, True, 300) == Renewal(False, True, 300)
    assert Renewal(True, False, None) | Renewal(True, False, 300) == Renewal(True, False, 300)
    assert Renewal(True, False, None) | Renewal(True, False, None) == Renewal(True, False, None)
