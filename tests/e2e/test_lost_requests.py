"""Requests for a call whose answers are lost, told as the carrier's webhooks come in at an edge that dials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from common.store.dials import RedisOutboundQueue
from edge.outbound.dialer import Dialer, DialerOptions
from edge.outbound.state import Ended, NotFound, OutboundCall, OutcomeUnknown, Plan, Sent
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions as Account
from tests.deadlines import WAIT_S
from tests.e2e.loopback_edge import FROM, TO, Edge, phone, running_edge, start_of
from tests.unit.edge.vobiz.rest_standin import ID, TOKEN, standing_in

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

URL = "https://voice.example.com"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Person:
    """One call that was asked for, and the webhooks that the carrier sends of it."""

    def __init__(self, edge: Edge, dialer: Dialer, dial_id: str) -> None:
        self.edge, self.dialer, self.dial_id = edge, dialer, dial_id

    async def lose_request(self) -> None:
        """A request leaves, nobody hears its answer, and the carrier seems not to know it."""
        for news in (Sent(), OutcomeUnknown(), NotFound(), NotFound()):
            await self.dialer.outbound.apply(self.dial_id, news)

    async def send_request(self) -> None:
        await self.dialer.outbound.apply(self.dial_id, Sent())

    async def hook(self, path: str, request: int, call_id: str, **fields: str) -> httpx.Response:
        data = {"CallUUID": call_id, "From": FROM, "To": TO, "Direction": "outbound", **fields}
        return await self.edge.http.post(f"{path}?dial={self.dial_id}&attempt={request}", data=data)

    async def hangup(self, request: int, call_id: str, **fields: str) -> None:
        reply = await self.hook("/hangup", request, call_id, Event="Hangup", **fields)
        assert reply.status_code == 200

    async def state(self) -> str:
        dial = await self.dialer.outbound.read(self.dial_id)
        assert dial is not None
        return dial.state

    async def becomes(self, state: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while await self.state() != state:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def asked_for(redis_url: str, attempts_max: int = 3) -> AsyncIterator[Person]:
    async with AsyncExitStack() as stack:
        vobiz = await stack.enter_async_context(standing_in())
        queue = await stack.enter_async_context(aclosing(RedisOutboundQueue.connect(redis_url, "test", 60)))
        client = await stack.enter_async_context(VobizClient(Account(ID, TOKEN, vobiz.url)))
        dialer = Dialer("test", queue, (client, client), DialerOptions(URL))
        edge = await stack.enter_async_context(running_edge(dialer=dialer))
        plan = Plan(attempts_max=attempts_max, retry_after_s=60)
        dial = await dialer.outbound.enqueue(OutboundCall("", TO, FROM, plan=plan), "")
        yield Person(edge, dialer, dial.dial_id)


BUSY = {"HangupCauseCode": "3010", "HangupCause": "USER_BUSY", "CallStatus": "busy"}


async def test_the_late_busy_of_a_lost_request_does_not_make_a_third_call(valkey_url: str) -> None:
    async with asked_for(valkey_url) as person:
        await person.lose_request()
        await person.send_request()
        await person.hook("/ring", 2, "c-2", Event="Ring", CallStatus="ringing")
        assert await person.state() == "ringing"
        await person.hangup(1, "c-1", **BUSY)
        assert await person.state() == "ringing"


@pytest.mark.parametrize("path", ["/ring", "/answer", "/machine", "/fallback"])
async def test_any_webhook_of_a_lost_request_takes_the_person_out_of_the_queue(valkey_url: str, path: str) -> None:
    async with asked_for(valkey_url) as person:
        await person.lose_request()
        assert await person.state() == "queued"
        await person.hook(path, 1, "c-1", Event="StartApp", CallStatus="in-progress", Machine="false")
        assert await person.state() == "ringing"


async def test_busy_after_the_answer_url_was_fetched_is_tried_again(valkey_url: str) -> None:
    """Others saw the answer URL fetched for a call that ended busy, without an answer time."""
    async with asked_for(valkey_url) as person:
        await person.send_request()
        reply = await person.hook("/answer", 1, "c-1", Event="StartApp", CallStatus="in-progress")
        assert "<Stream" in reply.text
        await person.hangup(1, "c-1", **BUSY)
        assert await person.state() == "queued"


async def test_the_start_of_the_stream_is_the_answer(valkey_url: str) -> None:
    async with asked_for(valkey_url) as person:
        await person.send_request()
        reply = await person.hook("/answer", 1, "c-1", Event="StartApp", CallStatus="in-progress")
        stream = ElementTree.fromstring(reply.content).find("Stream")
        assert stream is not None
        async with phone(str(stream.text).strip()) as caller:
            assert await person.state() == "ringing"
            await caller.send(start_of("c-1"))
            await person.becomes("answered")
        await person.hangup(1, "c-1", **BUSY)
        assert await person.state() == "ended"


@pytest.mark.parametrize(
    "fields",
    [
        {"HangupCauseCode": "17", "HangupCause": "USER_BUSY"},
        {"HangupCauseName": "Busy Line"},
        {"HangupCause": "17", "CallStatus": "busy"},
        {"CallStatus": "no-answer"},
    ],
)
async def test_busy_is_understood_in_whichever_field_it_is_told(valkey_url: str, fields: dict[str, str]) -> None:
    async with asked_for(valkey_url) as person:
        await person.send_request()
        await person.hangup(1, "c-1", **fields)
        assert await person.state() == "queued"


async def test_each_request_that_leaves_has_another_name(valkey_url: str) -> None:
    async with asked_for(valkey_url) as person:
        names = []
        for _ in range(3):
            await person.lose_request()
            dial = await person.dialer.outbound.read(person.dial_id)
            assert dial is not None
            query = urlsplit(person.dialer._request(dial).json()["answer_url"]).query
            names += parse_qs(query)["attempt"]
        assert names == ["1", "2", "3"]


async def test_news_without_our_parameters_finds_its_call_by_the_carriers_id(valkey_url: str) -> None:
    async with asked_for(valkey_url) as person:
        await person.send_request()
        await person.hook("/ring", 1, "c-1", Event="Ring", CallStatus="ringing")
        dial = await person.dialer.outbound.apply("", Ended("3010", "c-1"))
        assert dial is not None
        assert (dial.dial_id, dial.state) == (person.dial_id, "queued")
        assert await person.dialer.outbound.apply("", Ended("3010", "somebody else's")) is None
