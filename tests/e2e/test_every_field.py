"""Each field of each route, with what a field may hold by mistake or malice: served or refused, never a 500.

The application itself, over the real ledger and book in Redis, without a socket: an exception reaches the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.store.dials import RedisOutboundQueue
from common.store.shards import connect_store
from edge.http.api import Api
from edge.http.app import EdgeApp
from edge.http.limits.rate_limit import Buckets
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.ticker import Ticker
from edge.outbound.dialer import Dialer, DialerOptions
from edge.outbound.state import Accepted, OutboundCall, Plan, Sent
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions
from edge.vobiz.signatures import Policy
from tests.e2e.loopback_edge import ANY_AGENT, FROM, SECRET, TO

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

TOKEN = "a token of the API"
PATHS = ["/answer", "/fallback", "/hangup", "/ring", "/machine", "/voicemail", "/after-stream", "/stream-status",
         "/dial-status", "/record-status"]  # fmt: skip
FIELDS = ["CallUUID", "ALegUUID", "From", "To", "Direction", "Event", "CallStatus", "HangupCause", "HangupCauseCode",
          "StartTime", "SessionStart", "Machine", "DialStatus", "dial", "attempt", "X-VH-a", "BillRate"]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 2**80, 1e308, "", " ", "\0", "\ud800", "a\udfffb", "\U0001f600", "\u0663", "x" * 4096, [], ["x"],
    {}, {"a": None}, "queued", "open", "dialer", "key:k", "{s00}", "../..", "%00", "a\r\nb: c", "<&>\"'", "out-\ud800",
    "9" * 4000, "2026-13-45T99:99:99Z", "9999-12-31 23:59:59.999999", "-9999999999", "1e5", "NaN",
]  # fmt: skip


class Desk:
    """An edge's routes, and an outbound call that was accepted as c-1."""

    def __init__(self, http: httpx.AsyncClient, dialer: Dialer, dial: OutboundCall) -> None:
        self.http, self.dialer, self.dial = http, dialer, dial

    async def harmless(self, request: httpx.Request, about: object) -> httpx.Response:
        """Its answer, which is none of a 5xx, and says in JSON why if it is a refusal."""
        response = await self.http.send(request)
        assert response.status_code < 500, about
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"code", "message"}, about
        return response

    async def post(self, path: str, body: object) -> httpx.Response:
        text = json.dumps(body).encode()
        return await self.harmless(self.http.build_request("POST", path, content=text), (path, str(body)[:200]))


@asynccontextmanager
async def desk(redis_url: str) -> AsyncIterator[Desk]:
    entries, options = MemoryStreams(), CarrierOptions("MA_XXXXXXXX", "token")
    bus, refuses = MemoryBus(entries), httpx.MockTransport(lambda request: httpx.Response(404))
    async with (
        connect_store(redis_url, "test", 60) as store,
        aclosing(RedisOutboundQueue.connect(redis_url, "test", 60)) as queue,
        VobizClient(options, refuses) as client,
    ):
        ticker, calls = Ticker(asyncio.get_running_loop()), Calls("edge-a", bus, store, 10_000)
        dialer = Dialer("test", queue, (client, client), DialerOptions("http://edge.example.com"))
        dial = await dialer.outbound.enqueue(
            OutboundCall("", TO, FROM, plan=Plan(machine="message", message="Call back.")), "k"
        )
        await dialer.outbound.apply(dial.dial_id, Sent())
        await dialer.outbound.apply(dial.dial_id, Accepted("c-1"))
        await dialer.outbound.enqueue(OutboundCall("", TO, FROM), "k-2")  # so that every key of the book is there
        await queue.lead("test", 60_000)
        hooks = Webhooks(calls, store, ANY_AGENT, WebhookAuth(store, Policy.OFF, (), "", ()), dialer, "", SECRET)
        streams = MediaStreams(calls, store, bus, ticker, ANY_AGENT, SECRET, 200, dialer)
        api = Api(ANY_AGENT, store, bus, dialer, TOKEN, FROM)
        app = EdgeApp(calls, streams, hooks, api, Buckets(at_once=1_000_000)).app()
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
        headers = {"authorization": f"Bearer {TOKEN}"}
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url="http://edge.example.com", headers=headers
            ) as http:
                yield Desk(http, dialer, dial)
        finally:
            ticker.close()


@pytest.mark.parametrize("path", PATHS)
async def test_every_field_of_a_webhook_may_hold_anything(path: str, valkey_url: str) -> None:
    async with desk(valkey_url) as at:
        usual = {"CallUUID": "c-1", "From": FROM, "To": TO, "dial": at.dial.dial_id, "attempt": "1"}
        for field in FIELDS:
            for value in VALUES:
                response = await at.post(path, usual | {field: value})
                assert response.status_code in (200, 400, 413), (field, value)
        for value in VALUES[:20]:
            await at.post(path, {str(value): "x", "CallUUID": "c-1"})
            await at.post(path, value)
        now = await at.dialer.outbound.read(at.dial.dial_id)
        assert now is not None
        shown = (await at.http.get(f"/v1/calls/{at.dial.dial_id}")).json()
        assert shown["id"] == at.dial.dial_id


ORDER = ["to", "from", "agent", "variables", "ring_timeout_s", "attempts_max", "retry_after_s", "machine", "message",
         "call_s_max", "unheard_of"]  # fmt: skip


async def test_every_field_of_a_call_that_is_asked_for_may_hold_anything(valkey_url: str) -> None:
    async with desk(valkey_url) as at:
        for field in ORDER:
            for value in [*VALUES, {"name": "\ud800"}, {"\ud800": "x"}, {"name": 1}, {"name": None}]:
                response = await at.post("/v1/calls", {"to": TO, field: value})
                assert response.status_code in (202, 422), (field, value)
                if response.status_code == 202:
                    shown = await at.http.get(f"/v1/calls/{response.json()['id']}")
                    assert shown.status_code == 200
        for value in VALUES:
            assert (await at.post("/v1/calls", value)).status_code == 422, value
        for content in (
            b"\xff",
            b'{"to":"\xff"}',
            b"[" * 16_000,
            b'{"to":' + b"9" * 5000 + b"}",
            b"",
            b"\xef\xbb\xbf{}",
        ):
            request = at.http.build_request("POST", "/v1/calls", content=content)
            assert (await at.harmless(request, content[:20])).status_code == 422


@pytest.mark.parametrize("message", [" ", "\t\n", "\0", "\u200b\u0001", None])
async def test_a_message_that_says_nothing_is_refused_when_it_is_asked_for(
    message: str | None, valkey_url: str
) -> None:
    async with desk(valkey_url) as at:
        response = await at.post("/v1/calls", {"to": TO, "machine": "message", "message": message})
        if message == "\u200b\u0001":  # a mark of no width is a character all the same
            assert response.status_code == 202
            voicemail = await at.post(f"/voicemail?dial={response.json()['id']}", {})
            assert voicemail.status_code == 200
        else:
            assert response.status_code == 422


NULLS = {"from": None, "agent": None, "variables": None, "machine": None, "message": None, "attempts_max": None}


async def test_null_in_the_api_is_as_if_the_field_were_not_there(valkey_url: str) -> None:
    async with desk(valkey_url) as at:
        call = (await at.post("/v1/calls", {"to": TO, **NULLS})).json()
        assert (call["from"], call["agent"], call["state"]) == (FROM, "", "queued")
        assert (await at.post("/v1/calls", {"to": None})).status_code == 422


IDS = ["queued", "open", "dialer", "key:k", "key%3Ak", "%00", "%ff", "%ed%a0%80", "x" * 3000, "{s00}", "..", "*",
       "out-", "out-%00", "out-" + "x" * 60, "c-2", "%20", "a%2Fb", "0", "-", "null", "\U0001f600"]  # fmt: skip


@pytest.mark.parametrize("name", IDS, ids=lambda name: name[:12])
async def test_every_name_of_a_call_is_one_or_unknown(name: str, valkey_url: str) -> None:
    async with desk(valkey_url) as at:
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("HEAD", ""), ("GET", "/")):
            response = await at.http.request(method, f"/v1/calls/{name}{path}")
            assert response.status_code in (404, 405), (method, path)


@pytest.mark.parametrize(
    "after",
    ["99999999999999999999", "18446744073709551616-0", "0-18446744073709551616", "1-", "-1", "\u00e9", "0" * 21],
)
async def test_an_event_id_that_redis_could_not_hold_is_refused_before_the_stream_begins(
    after: str, valkey_url: str
) -> None:
    async with desk(valkey_url) as at:
        await at.post("/answer", {"CallUUID": "c-1", "From": FROM, "To": TO})
        headers = {"last-event-id": after.encode("latin-1")}
        response = await at.http.get("/v1/calls/c-1/events", headers=headers)  # type: ignore[arg-type]
        assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_event_id")


@pytest.mark.parametrize("given", ["Bearer", "bearer", "BEARER", " Bearer "])
async def test_the_scheme_of_the_token_is_read_without_case(given: str, valkey_url: str) -> None:
    async with desk(valkey_url) as at:
        for token, status in ((TOKEN, 200), ("another", 401), ("", 401)):
            headers = {"authorization": f"{given} {token}"}
            assert (await at.http.get("/v1/calls", headers=headers)).status_code == status
