"""A call of which nothing was heard is looked up: the carrier's rules on who stands in which list, and what follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from common.store.dials import RedisOutboundQueue
from edge.outbound.dialer import Dialer, DialerOptions
from edge.outbound.state import OutboundCall
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.lookup import RECORDS_A_PAGE, Found, Inconclusive, Lookup, LostRequest, Nothing
from edge.vobiz.rest.transport import CarrierOptions as Account
from simulators.carrier import Callee, Carrier, CarrierOptions
from simulators.carrier.refusals import RequestFault
from simulators.lab import FROM, TO, Lab, lab
from tests.deadlines import WAIT_S
from tests.unit.edge.vobiz.rest_standin import Reply, Request, on_the_line

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

RINGS = Callee("no-answer", ring_ms=60_000)
LONG_AGO_MS = 60_000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@asynccontextmanager
async def looking(callee: Callee) -> AsyncIterator[tuple[Lab, Lookup]]:
    async with lab(callee=callee, time_scale=1.0) as it:
        account = Account(it.carrier.options.auth_id, it.carrier.options.auth_token, it.carrier.api_url)
        async with VobizClient(account) as client:
            yield it, Lookup(client)


def lost_request(to: str = TO, sent_ms: int | None = None) -> LostRequest:
    return LostRequest(FROM, to, int(time.time() * 1000) if sent_ms is None else sent_ms)


def known(*call_ids: str) -> Callable[[str], Any]:
    async def is_others(call_id: str) -> bool:
        return call_id in call_ids

    return is_others


async def test_a_ringing_call_stands_among_the_queued_and_is_found() -> None:
    async with looking(RINGS) as (it, lookup):
        call = await it.dial()
        assert await lookup.by_numbers(lost_request(), known()) == Found(call.call_id)
        assert await lookup.by_id(call.call_id) == Found(call.call_id)


async def test_of_two_ringing_calls_to_one_number_each_is_found_for_its_own_request() -> None:
    async with looking(RINGS) as (it, lookup):
        first, second = await it.dial(), await it.dial()
        assert await lookup.by_numbers(lost_request(), known(first.call_id)) == Found(second.call_id)
        assert await lookup.by_numbers(lost_request(), known(second.call_id)) == Found(first.call_id)
        assert isinstance(await lookup.by_numbers(lost_request(), known(first.call_id, second.call_id)), Nothing)


async def test_an_answered_call_is_found_among_the_live() -> None:
    async with looking(Callee()) as (it, lookup):
        call = await it.dial()
        while not it.server.sockets:
            await it.rest.get("Call/?status=live")
        assert await lookup.by_numbers(lost_request(), known()) == Found(call.call_id, answered=True)
        assert await lookup.by_id(call.call_id) == Found(call.call_id, answered=True)


async def test_a_call_that_was_busy_is_found_in_the_records() -> None:
    async with looking(Callee("busy")) as (it, lookup):
        call = await it.whole()
        assert await lookup.by_numbers(lost_request(), known()) == Found(call.call_id, cause="3010")
        assert await lookup.by_id(call.call_id) == Found(call.call_id, cause="3010")
        later = lost_request(sent_ms=int(time.time() * 1000) + LONG_AGO_MS)
        assert isinstance(await lookup.by_numbers(later, known()), Nothing)  # that one was before this request


async def test_a_full_list_of_queued_calls_proves_nothing() -> None:
    async with looking(RINGS) as (it, lookup):
        for count in range(21):
            await it.dial(to=str(919876543210 + count))
        call = await it.dial()
        listed = (await it.rest.get("Call/?status=queued")).json()["calls"]
        assert len(listed) == 20
        assert call.call_id not in listed
        assert isinstance(await lookup.by_numbers(lost_request(), known()), Inconclusive)
        assert await lookup.by_id(call.call_id) == Found(call.call_id)


async def test_a_call_that_was_never_placed_is_not_found() -> None:
    async with looking(RINGS) as (it, lookup):
        await it.dial(to="919876543210")
        await it.dial(**{"from": "911234567899"})  # somebody else's call to this number
        assert isinstance(await lookup.by_numbers(lost_request(), known()), Nothing)
        assert isinstance(await lookup.by_id("no-such-call"), Nothing)


async def test_a_person_who_is_being_rung_is_not_rung_again_although_the_answer_was_lost(valkey_url: str) -> None:
    """Two calls to one number, no webhook comes through, and the second request's answer is lost."""
    options = CarrierOptions(callee=RINGS, numbers=(f"+{FROM}",))
    async with Carrier(options) as carrier, aclosing(RedisOutboundQueue.connect(valkey_url, "test", 60)) as queue:
        account = Account(options.auth_id, options.auth_token, carrier.api_url, total_s=0.5, attempts_max=1)
        async with VobizClient(account) as client:
            dialer = Dialer("test", queue, (client, client), DialerOptions("http://127.0.0.1:9", 50.0, 10))
            running = asyncio.create_task(dialer.run())
            first = await dialer.outbound.enqueue(OutboundCall("", TO, FROM), "")
            await until(dialer, first.dial_id, "placed")
            carrier.faults.add(RequestFault("timeout-after", "/call/", "POST"), 1)
            second = await dialer.outbound.enqueue(OutboundCall("", TO, FROM), "")
            await until(dialer, second.dial_id, "uncertain")
            await look_now(queue, second.dial_id)
            found = await until(dialer, second.dial_id, "ringing")
            running.cancel()
            await asyncio.wait([running])
            placed = await dialer.outbound.read(first.dial_id)
    assert placed is not None
    assert [placed.call_id, found.call_id] == list(carrier.calls)


async def until(dialer: Dialer, dial_id: str, state: str) -> OutboundCall:
    async with asyncio.timeout(WAIT_S):
        while (dial := await dialer.outbound.read(dial_id)) is None or dial.state != state:
            await asyncio.sleep(0.01)
    return dial


async def look_now(queue: RedisOutboundQueue, dial_id: str) -> None:
    """As if the time until the next look-up were over."""
    entry = await queue.read(dial_id)
    assert entry is not None
    assert await queue.write(dial_id, entry.version, {**entry.body, "due_ms": 0}, "open", 0)


# --- what the fake is too tame for ------------------------------------------------------------------------------------


def record(call_id: str, start_time: str, **more: Any) -> dict[str, Any]:
    return {
        "uuid": call_id,
        "caller_id_number": FROM,
        "destination_number": TO,
        "start_time": start_time,
        "hangup_cause_code": "3010",
        **more,
    }


OTHERS = [record(f"other-{count}", "2026-07-21T09:00:00Z", destination_number="919876543210") for count in range(100)]
PAGE = {"data": [], "pagination": {"has_next": False}}
SENT_MS = 1_784_621_321_000  # 2026-07-21T08:08:41Z


def answering(**answers: Any) -> Callable[[Request], Reply]:
    """A carrier with these calls in its lists, these details by status, and these pages of records."""

    def answer(request: Request) -> Reply:
        path, _, query = request.target.partition("?")
        if "/cdr" in path:
            pages = answers.get("records", [PAGE])
            number = int(query.partition("page=")[2].partition("&")[0])
            return Reply(200, pages[min(number, len(pages)) - 1])
        status = "live" if "status=live" in query else "queued"
        if path.endswith("/Call/"):
            return Reply(200, {"calls": answers.get(status, [])})
        details = answers.get(f"{status}_details")
        return Reply(200, details) if details else Reply(404, {"error": "call not found"})

    return answer


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        pytest.param(
            {"queued": ["c-1"], "live_details": {"to": TO, "from": FROM, "call_status": "in-progress"}},
            Found("c-1", answered=True),
            id="answered between the list and the question",
        ),
        pytest.param({"queued": ["c-1"]}, Inconclusive, id="ended just now, its record is not there yet"),
        pytest.param({"live": [f"c-{count}" for count in range(20)]}, Inconclusive, id="a full list of live calls"),
        pytest.param(
            {
                "queued": ["c-1"],
                "queued_details": {"to": TO, "from": FROM, "session_start": "2026-07-21 08:00:00.000000"},
            },
            Nothing,
            id="a call that began before the request",
        ),
        pytest.param(
            {"records": [{"data": OTHERS}, {"data": [record("c-1", "2026-07-21T08:08:42Z")]}]},
            Found("c-1", cause="3010"),
            id="its record stands on the second page",
        ),
        pytest.param({"records": [{"data": OTHERS}]}, Inconclusive, id="more records than are read"),
        pytest.param(
            {"records": [{"data": [record("c-1", "2026-07-21 13:38:42")]}]},
            Found("c-1", cause="3010"),
            id="a time without a zone is Indian time",
        ),
        pytest.param(
            {"records": [{"data": [record("c-1", "2026-07-21 08:08:42")]}]},
            Nothing,
            id="and no other: that was in the night before",
        ),
        pytest.param({"records": [{"data": [record("c-1", "yesterday")]}]}, Nothing, id="a time that is none"),
        pytest.param(
            {
                "records": [
                    {
                        "data": [
                            record(
                                "c-1",
                                "2026-07-21T08:08:42Z",
                                hangup_cause_code="17",
                                hangup_cause="USER_BUSY",
                                answer_time=None,
                            )
                        ]
                    }
                ]
            },
            Found("c-1", cause="3010"),
            id="busy, by another table's number and by its text",
        ),
        pytest.param(
            {"records": [{"data": [record("c-1", "2026-07-21T08:08:42Z", answer_time="2026-07-21T08:08:50Z")]}]},
            Found("c-1", answered=True, cause="3010"),
            id="somebody had answered",
        ),
    ],
)
async def test_only_what_follows_from_the_answers_is_concluded(answers: dict[str, Any], found: Any) -> None:
    async with on_the_line() as line:
        line.vobiz.answers = answering(**answers)
        seen = await Lookup(line.client).by_numbers(LostRequest(FROM, TO, SENT_MS), known())
    assert seen == found if isinstance(found, Found) else isinstance(seen, found)
    assert len(OTHERS) == RECORDS_A_PAGE
