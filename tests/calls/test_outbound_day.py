"""A day of outbound calls at the default settings, on the virtual clock: nobody waits for ever, no line is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest

from common.settings import Settings
from common.store.outbound_memory import MemoryOutboundQueue
from edge.outbound.calls import DAY_IS_SPENT
from edge.outbound.destinations import Destinations
from edge.outbound.dialer import Dialer, DialerOptions
from edge.outbound.state import Answered, Ended, OutboundCall, Sent
from edge.vobiz.rest.errors import CarrierLimited, Refused, Unavailable

pytestmark = [pytest.mark.fast, pytest.mark.exhaustive, pytest.mark.anyio]

TALK_SECONDS = 180.0
FROM, TO = "911234567891", "911234567890"


@dataclass
class Carrier:
    """Takes calls that last three minutes; of some it tells no end, by no webhook."""

    told: Callable[[int], bool] = lambda number: True
    answers: Callable[[str], dict[str, Any]] | None = None
    """What it says when it is asked about a call; by default what a call record says, once the call is over."""
    refuses: list[Exception] = field(default_factory=list)
    """What it answers to the first requests."""
    placed: dict[str, float] = field(default_factory=dict)
    time_limits: set[int] = field(default_factory=set)
    """Of the requests, in seconds."""
    dialer: Dialer | None = None
    talking: set[asyncio.Task[None]] = field(default_factory=set)
    most: int = 0

    async def make_call(self, request: Any) -> tuple[str, ...]:
        if self.refuses:
            raise self.refuses.pop()
        call_id = f"call-{len(self.placed)}"
        self.placed[call_id] = asyncio.get_running_loop().time()
        self.time_limits.add(request.time_limit_s)
        dial_id = request.answer_url.partition("dial=")[2].partition("&")[0]
        task = asyncio.create_task(self._talk(dial_id, call_id, len(self.placed)))
        self.talking.add(task)
        task.add_done_callback(self.talking.discard)
        self.most = max(self.most, len(self.talking))
        return (call_id,)

    async def _talk(self, dial_id: str, call_id: str, number: int) -> None:
        assert self.dialer is not None
        await asyncio.sleep(5)
        await self.dialer.outbound.apply(dial_id, Answered(call_id))
        await asyncio.sleep(TALK_SECONDS)
        if self.told(number):
            await self.dialer.outbound.apply(dial_id, Ended("4000", call_id, answered=True))

    async def call_details(self, call_id: str, status: str = "live") -> dict[str, Any]:
        raise Refused(404, "no such call")

    async def cdr_of(self, call_id: str) -> dict[str, Any]:
        if self.answers is not None:
            return self.answers(call_id)
        return {"uuid": call_id, "hangup_cause_code": 4000, "answer_time": "2026-07-21T13:38:41Z", "billsec": 180}

    async def queued_calls(self) -> list[str]:
        return []

    async def live_calls(self) -> list[str]:
        return []

    async def cdr(self, page: int = 1, per_page: int = 20, filters: Any = None) -> dict[str, Any]:
        return {"data": []}


@dataclass
class Office:
    """An edge that dials, as the default settings have it."""

    queue: MemoryOutboundQueue
    carrier: Carrier
    dialer: Dialer

    async def asks(self, count: int) -> list[str]:
        return [(await self.dialer.outbound.enqueue(OutboundCall("", TO, FROM), "")).dial_id for _ in range(count)]

    async def until_all_are_over(self, hours: float) -> None:
        """Of every call that waits or is open."""
        async with asyncio.timeout(hours * 3600):
            while self.queue.queued or self.queue.open:
                await asyncio.sleep(60)

    async def states(self, dial_ids: list[str]) -> Counter[str]:
        found = [await self.dialer.outbound.read(dial_id) for dial_id in dial_ids]
        return Counter(dial.state if dial else "gone" for dial in found)


@asynccontextmanager
async def dialing(carrier: Carrier | None = None, day: int = 10_000, **more: Any) -> AsyncIterator[Office]:
    carrier = carrier or Carrier()
    queue = MemoryOutboundQueue(Settings().call_retention_s)
    options = DialerOptions("https://voice.example.com", poll_s=10.0, dials_per_day=day, **more)
    client: Any = carrier
    dialer = carrier.dialer = Dialer("edge-1", queue, (client, client), options)
    running = asyncio.create_task(dialer.run())
    try:
        yield Office(queue, carrier, dialer)
        assert not running.done()
    finally:
        for task in [running, *carrier.talking]:
            task.cancel()
        await asyncio.gather(running, *carrier.talking, return_exceptions=True)


async def test_1440_calls_of_three_minutes_are_all_placed_though_the_last_waits_for_longer_than_a_day() -> None:
    async with dialing() as office:
        await office.asks(1440)
        await office.until_all_are_over(hours=30)
        assert len(office.carrier.placed) == 1440
        assert office.carrier.most == DialerOptions("").calls_at_once
        last_at = max(office.carrier.placed.values())
        assert last_at - min(office.carrier.placed.values()) > Settings().call_retention_s


async def test_calls_that_end_unseen_give_their_lines_back() -> None:
    async with dialing(Carrier(told=lambda number: number % 3 > 0)) as office:
        dials = await office.asks(60)
        await office.until_all_are_over(hours=8)
        assert await office.states(dials) == {"ended": 60}


@pytest.mark.parametrize(
    "answers",
    [{"data": 17}, {"data": ["x"]}, {"data": {"uuid": ["x"], "hangup_cause_code": {"a": 1}, "billsec": [1]}}, {}],
    ids=repr,
)
async def test_records_of_another_shape_cost_no_line_and_no_dialer(answers: dict[str, Any]) -> None:
    def records(call_id: str) -> dict[str, Any]:
        return answers

    async with dialing(Carrier(told=lambda number: False, answers=records)) as office:
        dials = await office.asks(9)
        await office.until_all_are_over(hours=20)
        assert (await office.states(dials)).keys() <= {"ended"}
        assert len(office.carrier.placed) == 9


@pytest.mark.parametrize("error", [Unavailable("away", sent=True), TypeError("a fault of ours"), KeyError("uuid")])
async def test_a_carrier_that_tells_nothing_keeps_no_line_for_longer_than_a_call_may_last(error: Exception) -> None:
    def fails(call_id: str) -> dict[str, Any]:
        raise error

    async with dialing(Carrier(told=lambda number: False, answers=fails)) as office:
        dials = await office.asks(6)
        await office.until_all_are_over(hours=12)
        assert await office.states(dials) == {"ended": 6}


DOCUMENTS: list[Any] = [
    [], 17, None, "text", {}, {"to": 1}, {"plan": []}, {"requests": 5}, {"state": "queued", "due_ms": float("nan")},
    {"state": "unheard of"}, {"requests": [{"name": "one"}]}, {"plan": {"call_s_max": "long"}}, {"dial_id": ["x"]},
    {"due_ms": -1}, {"due_ms": 2**63}, {"variables": {"name": 1}}, {"dial_id": "out-00000000000000000000000ff"},
]  # fmt: skip


@pytest.mark.parametrize("where", ["queued", "open"])
@pytest.mark.parametrize("document", DOCUMENTS, ids=repr)
async def test_a_document_that_cannot_be_read_blocks_no_queue_and_keeps_no_line(document: Any, where: str) -> None:
    async with dialing(calls_at_once=1) as office:
        bad, good = await office.asks(2)
        if where == "open":
            await office.dialer.outbound.apply(bad, Sent())
        entry = await office.queue.read(bad)
        assert entry is not None
        changed = {**entry.body, **document} if isinstance(document, dict) and document else document
        office.queue.overwrite(bad, msgpack.packb(changed))
        await office.until_all_are_over(hours=1)
        assert await office.states([bad, good]) == {"gone": 1, "ended": 1}
        assert office.queue.unreadable == [bad]


async def test_a_document_with_fields_of_a_newer_release_is_placed() -> None:
    async with dialing() as office:
        (dial_id,) = await office.asks(1)
        entry = await office.queue.read(dial_id)
        assert entry is not None
        plan = {**entry.body["plan"], "a new option": [1]}
        office.queue.overwrite(dial_id, msgpack.packb({**entry.body, "plan": plan, "a new field": {"x": 1}}))
        await office.until_all_are_over(hours=1)
        assert await office.states([dial_id]) == {"ended": 1}


@pytest.mark.parametrize("where", ["queued", "open"])
async def test_a_document_that_is_gone_blocks_no_queue_and_keeps_no_line(where: str) -> None:
    async with dialing(calls_at_once=1) as office:
        lost, good = await office.asks(2)
        if where == "open":
            await office.dialer.outbound.apply(lost, Sent())
        office.queue.lose(lost)
        await office.until_all_are_over(hours=1)
        assert await office.states([lost, good]) == {"gone": 1, "ended": 1}


@pytest.mark.parametrize("state", ["ended", "failed", "answered", "queued"])
async def test_an_id_in_the_wrong_set_is_put_where_its_document_says(state: str) -> None:
    async with dialing(calls_at_once=1) as office:
        odd, good = await office.asks(2)
        entry = await office.queue.read(odd)
        assert entry is not None
        office.queue.overwrite(
            odd, msgpack.packb({**entry.body, "state": state, "changed_ms": await office.queue.now_ms()})
        )
        if state == "queued":
            office.queue.open[odd] = office.queue.queued.pop(odd)
        await office.until_all_are_over(hours=6)
        assert (await office.states([good])) == {"ended": 1}


async def test_a_call_that_the_settings_forbid_by_now_fails_and_counts_for_no_day() -> None:
    async with dialing(destinations=Destinations(("+1",))) as office:
        (dial_id,) = await office.asks(1)
        await office.until_all_are_over(hours=1)
        assert await office.states([dial_id]) == {"failed": 1}
        assert office.carrier.placed == {}
        assert await office.queue.spent_today() == 0


async def test_a_day_counts_what_has_rung_and_not_what_the_carrier_had_no_line_for() -> None:
    refuses: list[Exception] = [CarrierLimited(1.0), Unavailable("away", sent=False), CarrierLimited(1.0)]
    async with dialing(Carrier(refuses=refuses)) as office:
        dials = await office.asks(3)
        await office.until_all_are_over(hours=1)
        assert await office.states(dials) == {"ended": 3}
        assert await office.queue.spent_today() == len(office.carrier.placed) == 3


async def test_a_request_whose_outcome_is_unknown_counts_for_the_day() -> None:
    async with dialing(Carrier(refuses=[Unavailable("away", sent=True)])) as office:
        await office.asks(1)
        await office.until_all_are_over(hours=1)
        assert await office.queue.spent_today() == len(office.carrier.placed) + 1 == 2


async def test_calls_that_the_day_has_no_room_for_wait_for_the_next_one_and_the_edge_says_so() -> None:
    async with dialing(day=3) as office:
        dials = await office.asks(3)
        for _ in range(2):
            assert await office.queue.spend(3)  # second attempts of calls of another edge
        await asyncio.sleep(3600)
        assert len(office.carrier.placed) == 1
        assert office.dialer.waits == DAY_IS_SPENT
        await office.until_all_are_over(hours=30)
        assert await office.states(dials) == {"ended": 3}
        assert office.dialer.waits == ""


async def test_a_ceiling_that_was_lowered_holds_for_calls_that_wait() -> None:
    async with dialing(call_s_max=60) as office:
        await office.asks(1)  # as long as any call, when it was asked for
        await office.until_all_are_over(hours=1)
        assert office.carrier.time_limits == {60}
