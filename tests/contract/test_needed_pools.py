"""Which pools a call needs: a store asks for the calls that need it, and for no others."""

from dataclasses import replace

import pytest

from common.protocol.messages import UserTurn
from common.store import CallRecord
from tests.contract.test_call_store import Server, has_room, server

pytestmark = [pytest.mark.servers, pytest.mark.anyio]
__all__ = ["server"]


async def test_a_pool_of_tools_is_asked_for_the_calls_that_need_it_and_no_others(server: Server):
    store = server.store
    await store.create(CallRecord("c-1", more_pools="tools"))
    await store.create(CallRecord("c-2"))
    await store.create(CallRecord("c-3", more_pools="tools of-a-newer-release"))
    for call_id in ("c-1", "c-2", "c-3"):
        await store.start(call_id, "e-1")
    record = await store.read("c-3")
    assert record is not None
    assert record.pools == ("stt", "llm", "tts", "tools")
    assert sorted(await store.orphans("tools")) == ["c-1", "c-3"]
    assert len(await store.orphans("stt")) == 3
    claim = await store.claim("tools", "c-1", "w-1")
    assert claim is not None
    assert await store.orphans("tools") == ["c-3"]
    for pool in ("stt", "llm", "tts"):
        for call_id in ("c-1", "c-2"):
            await store.claim(pool, call_id, "w-1")
    assert await store.unheld(["c-1", "c-2"]) == {}
    await store.release(claim)
    assert await store.unheld(["c-1", "c-2"]) == {"c-1": {"tools"}}
    await store.renew(has_room("tools", "w-1"))
    assert await store.pools_with_room() == {"tools"}


async def test_a_call_that_redis_lost_still_needs_its_tools(server: Server):
    store = server.store
    await store.create(CallRecord("c-1", more_pools="tools"))
    record = await store.start("c-1", "e-1")
    assert record is not None
    claim = await store.claim("tools", "c-1", "w-1")
    assert claim is not None
    await store.save_checkpoint(claim, "here")
    notes = (await store.state_fields(["c-1"]))["c-1"]
    assert await store.restore(replace(record, epoch=2), notes, [])
    assert await store.orphans("tools") == ["c-1"]
    assert not await store.append(claim, [UserTurn(1, "from before", ())])
    again = await store.claim("tools", "c-1", "w-2")
    assert again is not None
    assert (again.checkpoint, again.token > claim.token) == ("here", True)
