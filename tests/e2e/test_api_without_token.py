"""The API without API_TOKEN, asked by a page, through a proxy, under a foreign name; and with one that is guessed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.loopback_edge import SECONDS, Edge, running_edge
from tests.e2e.nginx import nginx

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

CALL = json.dumps({"to": "+919876543210"}).encode()
JSON = {"content-type": "application/json"}


async def test_a_page_of_another_site_places_no_call_and_reads_nothing() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        for headers in (
            {"content-type": "text/plain"},
            {"content-type": "text/plain", "origin": "https://evil.example.com", "sec-fetch-site": "cross-site"},
            {"content-type": "application/x-www-form-urlencoded"},
            {**JSON, "origin": "https://evil.example.com"},
            {**JSON, "sec-fetch-site": "cross-site"},
            {**JSON, "host": "evil.example.com"},
        ):
            assert (await edge.http.post("/v1/calls", content=CALL, headers=headers)).status_code in (403, 415)
        for path in ("/v1/calls", "/v1/calls/", "/v1/calls/c-1", "/v1/calls/c-1/events"):
            for headers in ({"host": "evil.example.com"}, {"host": f"evil.example.com:{edge.port}"}):
                assert (await edge.http.get(path, headers=headers)).status_code == 403
            assert (await edge.http.get(path, headers={"sec-fetch-site": "cross-site"})).status_code == 403
        assert (await edge.http.delete("/v1/calls/c-1", headers={"origin": "null"})).status_code == 403
        await caller.goes_on()
        for host in (f"localhost:{edge.port}", "127.0.0.1", f"[::1]:{edge.port}"):
            assert (await edge.http.get("/v1/calls/c-1", headers={"host": host})).status_code == 200
        assert (await edge.http.post("/v1/calls", content=CALL, headers=JSON)).json()["error"][
            "code"
        ] != "loopback_only"


async def test_an_absolute_target_does_not_lend_its_host() -> None:
    async with running_edge() as edge:
        for target, host, status in (
            (b"http://evil.example.com/v1/calls", b"127.0.0.1", 403),
            (b"http://127.0.0.1/v1/calls", b"evil.example.com", 200),  # its own host is what counts (RFC 9112)
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, host))
            async with asyncio.timeout(SECONDS):
                assert int((await reader.readline()).split()[1]) == status
            writer.close()


@asynccontextmanager
async def through_nginx(edge: Edge, *settings: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        nginx(edge.port, *settings) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=SECONDS) as http,
    ):
        yield http


async def test_behind_nginx_with_its_defaults_nobody_reads_or_writes() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller, through_nginx(edge) as stranger:
        assert (await stranger.get("/healthz")).status_code == 200
        for path in ("/v1/calls", "/v1/calls/", "/v1/calls/c-1", "/v1/calls/c-1/events"):
            for headers in ({}, {"host": "localhost"}, {"host": f"127.0.0.1:{edge.port}"}):
                assert (await stranger.get(path, headers=headers)).status_code == 403, path
        assert (await stranger.post("/v1/calls", content=CALL, headers=JSON)).status_code == 403
        assert (await stranger.delete("/v1/calls/c-1")).status_code == 403
        await caller.goes_on()
        assert (await edge.http.get("/v1/calls/c-1")).status_code == 200


@pytest.mark.parametrize(
    "setting",
    ["proxy_set_header X-Real-IP $remote_addr;", "proxy_set_header X-Forwarded-Proto $scheme;",
     "proxy_set_header Host $host;", "proxy_set_header Via nginx;"],
)  # fmt: skip
async def test_behind_nginx_that_speaks_of_itself_neither(setting: str) -> None:
    async with running_edge() as edge, through_nginx(edge, "proxy_http_version 1.1;", setting) as stranger:
        host = {"host": "voice.example.com"} if "Host" in setting else {}
        assert (await stranger.get("/v1/calls", headers=host)).status_code == 403


TOKEN = "the token of the test, long enough"


async def test_wrong_tokens_are_slowed_and_the_right_one_never_is() -> None:
    async with running_edge(api_token=TOKEN) as edge:
        right = {"authorization": f"Bearer {TOKEN}"}
        statuses = []
        for number in range(40):
            wrong = await edge.http.get("/v1/calls", headers={"authorization": f"Bearer {TOKEN}{number}"})
            statuses.append(wrong.status_code)
            if wrong.status_code == 429:
                assert int(wrong.headers["retry-after"]) >= 1
            assert (await edge.http.get("/v1/calls", headers=right)).status_code == 200
        assert statuses[:10] == [401] * 10
        assert 429 in statuses[10:12]
        assert statuses.count(401) <= 20
        posted = await edge.http.post("/v1/calls", content=CALL, headers={**right, "content-type": "text/plain"})
        assert posted.status_code == 503  # no dialer here; a page cannot send the token, so any type is taken


async def test_with_a_token_it_is_asked_of_everybody_and_enough() -> None:
    async with running_edge(api_token=TOKEN) as edge, through_nginx(edge) as client:
        for http in (edge.http, client):
            assert (await http.get("/v1/calls")).status_code == 401
            answer: Any = await http.get("/v1/calls", headers={"authorization": f"Bearer {TOKEN}", "host": "x.example"})
            assert answer.status_code == 200
