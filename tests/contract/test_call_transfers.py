"""A change of a call's transfer is one step: the document, the call and the event log, or nothing."""

from __future__ import annotations

import asyncio

import pytest

from common.call.log_compaction import compacted
from common.call.transfer import Transfer, TransferChange, read_transfer
from common.protocol.acts import ToolReturned, TransferUpdated
from common.protocol.messages import UserTurn
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from tests.contract.test_call_store import Server, server  # noqa: F401 - the fixture

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

AGENT = {"name": "desk", "instructions": "Be brief."}
ASKED = Transfer(3, 1, "sales", "+911234567890", asked_ms=1).to_text()
FAILED = Transfer(3, 1, "sales", "+911234567890", asked_ms=2).to_text()
NOTED = (TransferUpdated(3, 1, "asked", 1),)
RETURNED = (TransferUpdated(3, 1, "failed", 2), ToolReturned(3, 1, "failed", "Nobody answered."))


async def live_call(server: Server) -> None:  # noqa: F811
    await server.store.create(CallRecord("c-1", agent=AGENT))
    await server.store.start("c-1", "e-1")
    claim = await server.store.claim("llm", "c-1", "w-1")
    assert claim is not None
    await server.store.save_checkpoint(claim, "here")


async def leaves(server: Server, epoch: int = 1, was: str = "") -> bool:  # noqa: F811
    return await server.store.change_transfer("c-1", was, ASKED, TransferChange.LEAVE, NOTED, epoch)


async def state(server: Server) -> tuple[str, str, str]:  # noqa: F811
    record = await server.store.read("c-1")
    assert record is not None
    return record.status, record.ended_because, record.transfer


async def test_a_transferred_call_has_ended_and_cannot_be_started(server: Server):  # noqa: F811
    await live_call(server)
    assert await leaves(server)
    assert await state(server) == ("ended", "transferred", ASKED)
    assert await server.transcript() == list(NOTED)
    assert await server.store.live() == []
    assert not await server.store.reopen("c-1")  # the carrier asks again: the person is being rung
    assert await server.store.start("c-1", "e-2") is None
    assert not await server.store.end("c-1", "caller hung up")


@pytest.mark.parametrize("case", ["another epoch", "another transfer", "ended", "not started", "unknown"])
async def test_nothing_is_written_if_the_call_is_not_as_it_was_read(server: Server, case: str):  # noqa: F811
    if case not in ("unknown", "not started"):
        await live_call(server)
    if case == "not started":
        await server.store.create(CallRecord("c-1", agent=AGENT))
    if case == "ended":
        await server.store.end("c-1", "silence")
    before = await server.store.read("c-1")
    assert not await leaves(
        server, epoch=2 if case == "another epoch" else 1, was="x" if case == "another transfer" else ""
    )
    assert await server.store.read("c-1") == before
    assert await server.transcript() == []


async def test_of_two_that_change_one_transfer_one_wins(server: Server):  # noqa: F811
    await live_call(server)
    won = await asyncio.gather(*(leaves(server) for _ in range(5)))
    assert sorted(won) == [False] * 4 + [True]
    assert await server.transcript() == list(NOTED)


async def test_a_call_whose_transfer_failed_is_started_again_and_goes_on(server: Server):  # noqa: F811
    await live_call(server)
    await leaves(server)
    await asyncio.sleep(0.3)
    assert await server.store.change_transfer("c-1", ASKED, FAILED, TransferChange.COME_BACK, RETURNED)
    assert not await server.store.change_transfer("c-1", ASKED, FAILED, TransferChange.COME_BACK, RETURNED)
    assert await server.transcript() == [*NOTED, *RETURNED]
    again = await server.store.start("c-1", "e-2")
    assert again is not None
    assert (again.epoch, again.status, again.ended_because, again.transfer) == (2, "live", "", FAILED)
    assert again.age_ms < 250  # the time in which nobody spoke with the agent is not counted
    await server.lease_runs_out()
    claim = await server.store.claim("llm", "c-1", "w-2")
    assert claim is not None
    assert (claim.token, claim.checkpoint) == (2, "here")


async def test_a_call_that_the_carrier_ended_meanwhile_does_not_come_back(server: Server):  # noqa: F811
    await live_call(server)
    await leaves(server)
    await server.store.note_end("c-1", 60)
    assert await server.store.change_transfer("c-1", ASKED, FAILED, TransferChange.COME_BACK, RETURNED)
    assert await server.transcript() == [*NOTED, *RETURNED]  # the log has the result all the same
    assert await server.store.start("c-1", "e-2") is None


async def test_a_caller_who_stays_is_still_live(server: Server):  # noqa: F811
    await live_call(server)
    stay = TransferChange.STAY
    assert not await server.store.change_transfer("c-1", "", ASKED, stay, NOTED, 2)
    assert await server.store.change_transfer("c-1", "", ASKED, stay, NOTED, 1)
    assert await state(server) == ("live", "", ASKED)
    assert await server.store.change_transfer("c-1", ASKED, FAILED, TransferChange.COME_BACK, RETURNED)
    assert await state(server) == ("live", "", FAILED)
    record = await server.store.read("c-1")
    assert record is not None
    assert record.reopens_ms == 0


@pytest.mark.parametrize("over", [False, True])
async def test_the_shortened_record_can_come_back_until_the_carrier_ends_the_call(
    server: Server,  # noqa: F811
    over: bool,
):
    await live_call(server)
    claim = await server.store.claim("stt", "c-1", "w-1")
    assert claim is not None
    await server.store.append(claim, [UserTurn(1, "a person, please", ())])
    await leaves(server)
    if over:
        await server.store.note_end("c-1", 60)
    read = await server.bus.read(call_events("c-1"))
    assert await server.store.ended_calls.compact("c-1", "desk", read, compacted(read))
    assert [message for _, message in await server.bus.read(call_events("c-1"))] == [message for _, message in read]
    record = await server.store.read("c-1")
    assert record is not None
    assert record.agent == ({"name": "desk"} if over else AGENT)
    assert record.transfer == ASKED


@pytest.mark.parametrize("text", ["", "{", "[]", "17", '{"turn": 1}', '{"turn": "x"}', "x" * 10_000])
def test_a_transfer_that_cannot_be_read_is_none(text: str):
    assert read_transfer(text) is None
    assert read_transfer(ASKED) == Transfer(3, 1, "sales", "+911234567890", asked_ms=1)
