"""A lease for each member and an owner for each call: who owns what, when, and who looks for calls without an owner."""

import asyncio
from dataclasses import replace

import pytest

from common.protocol.messages import UserTurn
from common.store import CallRecord
from common.store.leases_redis import SCAN_MS
from tests.contract.test_call_store import LEASE_MS, RECORD, Server, holds, server

pytestmark = [pytest.mark.servers, pytest.mark.anyio]
__all__ = ["server"]


async def test_a_dead_members_call_is_an_orphan_once_its_lease_has_run_out(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    assert await store.orphans("llm") == ["c-1"]
    await store.claim("llm", "c-1", "w-1")
    assert await store.orphans("llm") == []
    await server.lease_runs_out()
    assert await store.orphans("llm") == ["c-1"]


async def test_of_a_pool_one_member_scans_and_another_as_soon_as_a_lease_runs_out(server: Server):
    store = server.store
    assert (await store.renew(holds("w-1"))).scan
    assert not (await store.renew(holds("w-2"))).scan
    assert not (await store.renew(holds("w-1"))).scan
    assert (await store.renew(holds("w-3", "tts"))).scan  # each pool by itself
    await server.lease_runs_out()
    assert not (await store.renew(replace(holds("w-2"), may_scan=False))).scan
    assert (await store.renew(holds("w-3"))).scan
    assert not (await store.renew(holds("w-4"))).scan


async def test_without_any_event_a_scan_is_due_every_second(server: Server):
    store, idle = server.store, replace(holds("w-1"), holds_calls=False)
    assert (await store.renew(idle)).scan
    assert not (await store.renew(idle)).scan
    await asyncio.sleep(SCAN_MS / 1000 + 0.01)
    assert (await store.renew(idle)).scan


async def test_a_member_is_told_when_the_next_lease_of_another_runs_out(server: Server):
    store = server.store
    assert (await store.renew(holds("w-1"))).next_end_ms is None
    ends_ms = (await store.renew(holds("w-2"))).next_end_ms
    assert ends_ms is not None
    assert 0 < ends_ms <= LEASE_MS
    await asyncio.sleep(0.02)
    assert (await store.renew(holds("w-1"))).next_end_ms == pytest.approx(LEASE_MS - 20, abs=25)  # w-2's, not its own
    assert (await store.renew(replace(holds("w-3"), holds_calls=False))).next_end_ms is not None
    await server.lease_runs_out()
    assert (await store.renew(holds("w-1"))).next_end_ms is None


async def test_a_renewal_tells_whether_the_lease_had_run_out(server: Server):
    store = server.store
    assert not (await store.renew(holds("w-1"))).kept
    assert (await store.renew(holds("w-1"))).kept
    await server.lease_runs_out()
    assert not (await store.renew(holds("w-1"))).kept
    assert not (await store.renew(replace(holds("w-2"), holds_calls=False))).kept
    assert not (await store.renew(holds("w-2"))).kept  # a member without calls has no lease


async def test_one_lease_holds_all_calls_of_a_member(server: Server):
    store, calls = server.store, [f"c-{number}" for number in range(5)]
    for call_id in calls:
        await store.create(CallRecord(call_id))
        await store.start(call_id, "e-1")
        assert await store.claim("llm", call_id, "w-1") is not None
    for _ in range(4):
        await asyncio.sleep(LEASE_MS / 2000)
        await store.renew(holds("w-1"))
        await store.renew(holds("w-2"))
    assert await store.orphans("llm") == []
    await server.lease_runs_out()
    await store.renew(holds("w-2"))
    assert sorted(await store.orphans("llm")) == calls


async def test_a_call_that_its_living_owner_does_not_confirm_has_none(server: Server):
    """The answer to its claim was lost, or a failover took its release back: it does not know the call."""
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    forgotten = await store.claim("llm", "c-1", "w-1")
    assert forgotten is not None
    await store.renew(holds("w-1"))
    await server.nobody_confirms("llm")
    assert await store.confirm([forgotten]) == []  # this is how it says that it runs the call
    assert await store.orphans("llm") == []
    await server.nobody_confirms("llm")
    await store.renew(holds("w-1"))
    assert await store.orphans("llm") == ["c-1"]
    assert await store.unheld(["c-1"]) == {"c-1": {"stt", "llm", "tts"}}
    claim = await store.claim("llm", "c-1", "w-2")
    assert claim is not None
    assert claim.crashes == 0, "nobody died of it"
    assert await store.confirm([forgotten]) == [forgotten]


async def test_an_owner_that_does_not_know_whether_it_owns_a_call_may_claim_it_again(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    first = await store.claim("llm", "c-1", "w-1")
    again = await store.claim("llm", "c-1", "w-1")
    assert first is not None
    assert again is not None
    assert (again.token, again.crashes) == (2, 0)
    assert await store.confirm([first, again]) == [first]
    assert not await store.append(first, [UserTurn(1, "from before", ())])
    assert await store.append(again, [UserTurn(1, "hello", ())])


async def test_a_member_that_gave_a_call_up_can_write_nothing(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    claim = await store.claim("llm", "c-1", "w-1")
    assert claim is not None
    await store.release(claim)
    assert not await store.append(claim, [UserTurn(1, "from the grave", ())])
    assert not await store.save_checkpoint(claim, "from the grave")


async def test_a_reopened_call_is_free_though_its_last_owner_is_alive(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    claim = await store.claim("llm", "c-1", "w-1")
    assert claim is not None
    await store.end("c-1", "carrier")
    assert await store.confirm([claim]) == [claim]
    assert await store.reopen("c-1")
    await store.start("c-1", "e-2")
    await store.renew(holds("w-1"))
    assert await store.orphans("llm") == ["c-1"]


async def test_the_end_of_a_call_leaves_it_without_owners(server: Server):
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    claim = await store.claim("llm", "c-1", "w-1")
    assert claim is not None
    await store.end("c-1", "caller hung up")
    assert await store.confirm([claim]) == [claim]
    assert await store.claim("llm", "c-1", "w-2") is None


async def test_a_call_that_is_written_again_has_no_owner_though_its_last_one_is_alive(server: Server):
    """Redis fell back to an older state: who owned the call then may own it no more."""
    store = server.store
    await store.create(RECORD)
    await store.start("c-1", "e-1")
    old = await store.claim("llm", "c-1", "w-1")
    assert old is not None
    assert await store.restore(replace(RECORD, epoch=3, edge="e-2"), {"epoch": "2"}, [])
    await store.renew(holds("w-1"))
    assert await store.orphans("llm") == ["c-1"]
    assert await store.confirm([old]) == [old]
    assert not await store.append(old, [UserTurn(1, "from before", ())])
