"""The second line against toll fraud: where, how often and how long may be dialled, whoever has the API's token."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import redis

from common.agents.model import Agent, Agents
from common.store.dials import RedisOutboundQueue
from edge.outbound.destinations import Destinations, OperatorLimits
from edge.outbound.dialer import Dialer, DialerOptions
from edge.outbound.state import OutboundCall
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions as Account
from simulators.carrier import Callee, Carrier, CarrierOptions
from tests.e2e.loopback_edge import SECRET, phone, running_edge, start_of
from tests.e2e.test_outbound import dialing as edge_that_dials
from tests.unit.edge.outbound.test_destinations import plain
from tools.ports import free_port

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

BRIEF = Callee(hangs_up_after_ms=200)
TO = "+919876543210"


@asynccontextmanager
async def dialing(
    redis_url: str, prefixes: str = "", day: int = 2000, call_s: int = 14_400
) -> AsyncIterator[tuple[httpx.AsyncClient, Carrier, Dialer]]:
    """An edge that dials, with the operator's limits."""
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    account = CarrierOptions(callee=BRIEF, hangup_delay_ms=10, time_scale=0.1)
    limits = OperatorLimits(Destinations.of(prefixes, "+911234567890"), call_s)
    async with Carrier(account) as carrier, aclosing(RedisOutboundQueue.connect(redis_url, "test", 60)) as queue:
        at = Account(account.auth_id, account.auth_token, carrier.api_url)
        async with VobizClient(at) as client:
            options = DialerOptions(public_url, 50.0, 10, limits.destinations, day, call_s, SECRET)
            dialer = Dialer("test", queue, (client, client), options)
            tokens = (account.auth_token,)
            async with running_edge(
                port=port, public_url=public_url, tokens=tokens, dialer=dialer, limits=limits
            ) as edge:
                running = asyncio.create_task(dialer.run())
                try:
                    yield edge.http, carrier, dialer
                finally:
                    running.cancel()
                    await asyncio.wait([running])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


async def over(http: httpx.AsyncClient, call: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (shown := (await http.get(f"/v1/calls/{call['id']}")).json())["state"] not in ("ended", "failed"):
            await asyncio.sleep(0.05)
    return dict(shown)


async def test_a_call_with_signed_urls_goes_its_way(valkey_url: str) -> None:
    async with dialing(valkey_url) as (http, carrier, _):
        response = await http.post("/v1/calls", json={"to": TO})
        shown = await over(http, response.json())
        assert shown["state"] == "ended"
        (record,) = carrier.calls.values()
        assert all("proof=" in webhook.url for webhook in record.webhooks)
        forged = {"CallUUID": record.call_id, "Event": "Hangup"}
        refused = await http.post("/hangup", data=forged)
        assert refused.status_code == 403


async def test_what_the_prefixes_do_not_allow_is_neither_asked_for_nor_placed(valkey_url: str) -> None:
    async with dialing(valkey_url) as (http, carrier, dialer):
        for to in (
            plain("+882_161234567"),
            plain("+252_612345678"),
            plain("+190_05551234"),
            plain("sip:+882_161234567@sip.example.com"),
        ):
            response = await http.post("/v1/calls", json={"to": to})
            assert response.status_code == 422
            assert response.json()["error"]["code"] == "destination_refused"
            assert "DIAL_PREFIXES" in response.text
            assert to not in response.text
        queued = await dialer.outbound.enqueue(
            OutboundCall("", plain("+252_612345678"), "+911234567890"), ""
        )  # under other settings, say
        shown = await over(http, {"id": queued.dial_id})
        assert (shown["state"], "DIAL_PREFIXES" in shown["cause"]) == ("failed", True)
        assert not carrier.calls


async def test_a_day_has_so_many_requests_and_no_more(valkey_url: str) -> None:
    async with dialing(valkey_url, day=2) as (http, carrier, _):
        first = await http.post("/v1/calls", json={"to": TO}, headers={"idempotency-key": "one"})
        calls = [first, await http.post("/v1/calls", json={"to": TO})]
        refused = await http.post("/v1/calls", json={"to": TO})
        assert refused.status_code == 429
        assert "DIALS_PER_DAY" in refused.text
        again = await http.post("/v1/calls", json={"to": TO}, headers={"idempotency-key": "one"})
        assert again.json()["id"] == first.json()["id"]
        for call in calls:
            assert (await over(http, call.json()))["state"] == "ended"
        assert len(carrier.calls) == 2
    async with dialing(valkey_url, day=2) as (http, _, _):  # another process, later
        assert (await http.post("/v1/calls", json={"to": TO})).status_code == 429
    with redis.Redis.from_url(valkey_url) as client:
        assert client.hget("{dials}:day", "count") == b"2"
        client.hset("{dials}:day", "day", "1")  # yesterday
    async with dialing(valkey_url, day=2) as (http, _, _):
        assert (await http.post("/v1/calls", json={"to": TO})).status_code == 202


async def test_no_call_is_asked_to_last_longer_than_the_operator_says(valkey_url: str) -> None:
    async with dialing(valkey_url, call_s=120) as (http, carrier, _):
        refused = await http.post("/v1/calls", json={"to": TO, "call_s_max": 121})
        assert refused.status_code == 422
        assert "CALL_S_MAX" in refused.text
        await over(http, (await http.post("/v1/calls", json={"to": TO})).json())
        placed = [request.body for request in carrier.requests if request.method == "POST" and request.body]
        assert any('"time_limit":120' in str(body).replace(" ", "").replace("'", '"') for body in placed)


BRITISH = plain("+442_071838750")


async def test_an_edge_goes_by_its_operators_settings(valkey_url: str, tmp_path: Path) -> None:
    """A process, because the limits come from its environment; nobody is there who takes its calls."""
    carrier = CarrierOptions(callee=BRIEF, hangup_delay_ms=10, time_scale=0.1)
    limits = {"DIAL_PREFIXES": "+44", "DIALS_PER_DAY": "1", "CALL_S_MAX": "10", "WEBHOOK_SIGNATURES": "off"}
    async with edge_that_dials(valkey_url, tmp_path, carrier, **limits) as desk:
        answer = await desk.http.post("/answer", data={"CallUUID": "c-1"})
        stream = ElementTree.fromstring(answer.content).find("Stream")
        assert stream is not None and stream.text is not None
        assert stream.get("streamTimeout") == "70"
        async with phone(stream.text) as caller:
            await caller.send(start_of("c-1"))

            async def refused(status: int, **call: object) -> str:
                response = await desk.http.post("/v1/calls", json=call)
                assert response.status_code == status, response.text
                return response.text

            assert "destination_refused" in await refused(422, to=TO)
            assert "CALL_S_MAX" in await refused(422, to=BRITISH, call_s_max=11)
            call = await desk.ask(BRITISH)
            assert "DIALS_PER_DAY" in await refused(429, to=BRITISH)
            await desk.until(call, "ended", "failed")
            (placed,) = [request.body for request in desk.carrier.requests if "answer_url" in request.body]
            assert "proof=" in placed["answer_url"]
            assert placed["time_limit"] == 10
            await caller.until_closed()
        assert (await desk.http.get("/v1/calls/c-1")).json()["ended_because"] == "too long"


def desk(fallback: str) -> Agents:
    return Agents(
        {"desk": Agent("desk", greeting="Hello.", instructions="Be brief.", numbers=("*",), fallback_number=fallback)}
    )


@pytest.mark.parametrize(
    ("fallback", "rung"), [("+919876543210", True), (plain("+190_05551234"), False), (plain("+882_161234567"), False)]
)
async def test_a_person_whom_the_prefixes_do_not_allow_is_not_rung(fallback: str, rung: bool) -> None:
    limits = OperatorLimits(Destinations.of("", "+911234567890"), 120)
    async with running_edge(desk(fallback), limits=limits, calls_max=1) as edge:
        edge.calls.draining = True
        response = await edge.http.post("/answer", data={"CallUUID": "c-1", "To": "+911234567890"})
        dial = ElementTree.fromstring(response.content).find("Dial")
        assert (dial is not None) is rung
        if dial is not None:
            assert dial.get("timeLimit") == "120"


async def test_an_agents_call_lasts_no_longer_than_the_operator_says() -> None:
    async with running_edge(limits=OperatorLimits(call_s_max=90)) as edge:
        response = await edge.http.post("/answer", data={"CallUUID": "c-1"})
        stream = ElementTree.fromstring(response.content).find("Stream")
        assert stream is not None
        assert stream.get("streamTimeout") == "150"
