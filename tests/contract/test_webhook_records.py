"""What the carrier said of a call: bounded, and of calls without a record kept briefly or not at all."""

from dataclasses import replace
from unittest.mock import ANY

import pytest

from common.store import WEBHOOK_FIELDS_BYTES_MAX, WEBHOOK_FIELDS_MAX, CallLookup, CallRecord
from tests.contract.test_call_store import RECORD, Server, server

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


async def test_an_end_is_noted_for_a_call_without_a_record_and_makes_none(server: Server):
    assert not (await server.store.look_up("c-1")).end_noted
    assert await server.store.note_end("c-1", 60) is None
    assert await server.store.note_end("c-1", 60) is None
    assert (await server.store.look_up("c-1")).end_noted
    assert not (await server.store.look_up("c-2")).end_noted
    assert await server.store.read("c-1") is None


async def test_who_creates_or_ends_a_call_learns_what_is_known_of_it(server: Server):
    first = await server.store.create(RECORD)
    again = await server.store.create(replace(RECORD, from_number="another"))
    assert first.record is not None
    assert first.record == again.record == await server.store.read("c-1")
    assert (first.end_noted, again.end_noted) == (False, False)
    assert 0 <= again.now_ms - first.now_ms < 5_000
    assert await server.store.note_end("c-1", 60) == first.record
    assert (await server.store.create(RECORD)).end_noted
    looked = await server.store.look_up("c-1")
    assert (looked.record, looked.end_noted) == (first.record, True)
    assert await server.store.look_up("c-2") == CallLookup(None, False, ANY)
