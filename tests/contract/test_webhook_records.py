"""What the carrier said of a call: bounded, and of calls without a record kept briefly or not at all."""

import pytest

from common.store import WEBHOOK_FIELDS_BYTES_MAX, WEBHOOK_FIELDS_MAX, CallRecord
from tests.contract.test_call_store import Server, server

__all__ = ["server"]  # the fixture

pytestmark = [pytest.mark.servers, pytest.mark.anyio]


async def test_what_the_carrier_says_of_one_call_has_a_bound(server: Server):
    store = server.store
    await store.create(CallRecord("c-1"))
    assert await store.add_webhook_fields("c-1", {f"a.{number}": "x" for number in range(WEBHOOK_FIELDS_MAX + 50)})
    assert len(await store.webhook_fields("c-1")) == WEBHOOK_FIELDS_MAX
    await store.create(CallRecord("c-2"))
    for number in range(20):
        await store.add_webhook_fields("c-2", {f"b.{number}": "y" * 4000, f"c.{number}": "z"})
    kept = await store.webhook_fields("c-2")
    assert sum(len(name) + len(value) for name, value in kept.items()) <= WEBHOOK_FIELDS_BYTES_MAX
    assert kept["c.19"] == "z"  # what is small has room yet
    await store.add_webhook_fields("c-2", {"b.0": "short"})
    assert (await store.webhook_fields("c-2"))["b.0"] == "short"


async def test_what_is_said_of_a_call_without_a_record_is_kept_briefly_or_not_at_all(server: Server):
    store = server.store
    assert not await store.add_webhook_fields("c-1", {"Ring.Direction": "inbound"}, unknown=False)
    assert await store.webhook_fields("c-1") == {}
    assert not await store.add_webhook_fields("c-1", {"Ring.Direction": "inbound"})
    assert await store.webhook_fields("c-1") == {"Ring.Direction": "inbound"}
    await store.create(CallRecord("c-1"))
    assert await store.add_webhook_fields("c-1", {"StartApp.Direction": "inbound"})
    assert len(await store.webhook_fields("c-1")) == 2


async def test_a_write_is_tried_without_a_trace_for_others(server: Server):
    await server.store.check_write("e-1")
    assert await server.store.live() == []
