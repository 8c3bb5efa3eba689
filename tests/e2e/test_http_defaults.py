"""HTTP as clients really speak it: slashes, upgrades, idle connections, half a request, methods nobody asked for.

What a framework does by default here was never chosen by anybody; each of these is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest

from common.protocol.messages import CallStarted
from edge.http.limits.request_size import HEAD_BYTES_MAX
from edge.http.limits.slow_clients import IDLE_MAX, Idle
from edge.http.server import KEEPALIVE_SECONDS, make_server
from tests.e2e.loopback_edge import FROM, SECONDS, TO, Edge, given, phone, running_edge, start_of
from tests.e2e.test_edge_http import xml_of
from tests.e2e.test_flood import TOKEN, signature

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


class Client:
    """A bare HTTP/1.1 client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next final response: status, headers, body."""
        async with asyncio.timeout(SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            if status == 100:
                return await self.answer()
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            return status, headers, await self.reader.readexactly(int(headers.get("content-length", "0")))

    async def closed(self) -> bool:
        async with asyncio.timeout(SECONDS):
            return await self.reader.read() == b""


@asynccontextmanager
async def connected(edge: Edge) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def body(call_id: str) -> bytes:
    return urlencode({"CallUUID": call_id, "From": FROM, "To": TO, "Event": "StartApp"}).encode()


def post(call_id: str, headers: bytes = b"", target: bytes = b"/answer", host: bytes = b"edge.example.com") -> bytes:
    form = body(call_id)
    return (
        b"POST %b HTTP/1.1\r\nHost: %b\r\n%b%bContent-Length: %d\r\n\r\n" % (target, host, headers, FORM, len(form))
    ) + form


# --- spellings of the path ----------------------------------------------------------------------------------------

PATHS = ["/answer", "/fallback", "/hangup", "/ring", "/machine", "/voicemail", "/after-stream", "/stream-status",
         "/dial-status", "/record-status"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_a_webhook_is_served_with_and_without_a_slash_and_never_redirected(path: str) -> None:
    async with running_edge(public_url="https://voice.example.com", tokens=(TOKEN,)) as edge:
        for number, spelt in enumerate((path, f"{path}/")):
            for method in ("POST", "GET"):
                nonce = f"1234567890123456789{number}" if method == "POST" else f"2234567890123456789{number}"
                headers = signature(f"https://voice.example.com{spelt}", nonce)  # of the URL as it was called
                fields = {"CallUUID": "c-1"}
                about = {"data": fields} if method == "POST" else {"params": fields}
                response = await edge.http.request(method, spelt, headers=headers, **about)  # type: ignore[arg-type]
                assert response.status_code == 200, (method, spelt)


async def test_every_other_route_takes_both_spellings_too() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        for path in ("/healthz", "/readyz", "/metrics", "/v1/calls", "/v1/calls/c-1"):
            assert (await edge.http.get(path)).status_code == (await edge.http.get(f"{path}/")).status_code == 200
        async with phone(f"{await edge.answer('c-2')}/") as other:
            other.take(edge, "c-2")
            await other.send(start_of("c-2"))
            await other.events.until(CallStarted)
            await other.goes_on()
        await caller.goes_on()


async def test_nothing_is_redirected() -> None:
    async with running_edge() as edge:
        for path in ("/nothing", "/nothing/", "/answer//", "//answer", "/v1", "/v1/", "/ws", "/ws/"):
            assert (await edge.http.get(path)).status_code == 404, path


@pytest.mark.parametrize("target", [b"http://voice.example.com/answer", b"https://voice.example.com:8443/answer?x=1"])
async def test_an_absolute_target_is_served_like_its_path_and_its_host_counts(target: bytes) -> None:
    async with running_edge() as edge, connected(edge) as client:
        client.writer.write(post("c-1", target=target, host=b"other.example.com"))
        status, _, xml = await client.answer()
        assert status == 200
        place = b"ws://voice.example.com" + (b":8443" if b"8443" in target else b"")
        assert place + b"/ws/c-1." in xml
        assert b"other" not in xml


QUERIES = [b"x=\xff", b"CallUUID=c-1&From=\xff\xfe", b"%ff=%ff", b"&&=&", b"=", b"CallUUID=%ed%a0%80", b"x=%00",
           b"a" * 5000, b"CallUUID=c-1;From=x", b"dial=\xff&attempt=\xd9\xa1", b"a?b#c", b"x=\xc3\xab"]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: repr(query[:20]))
async def test_a_query_may_be_bytes_of_any_kind(query: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with running_edge(public_url="https://voice.example.com", tokens=(TOKEN,)) as edge:
        for number, path in enumerate((b"/answer", b"/hangup", b"/v1/calls/x")):
            signed = signature(f"https://voice.example.com{path.decode()}", f"1234567890123456789{number}")
            headers = "".join(f"{name}: {value}\r\n" for name, value in signed.items()).encode()
            async with connected(edge) as client:
                client.writer.write(post("c-1", headers, path + b"?" + query))
                assert (await client.answer())[0] < 500
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("target", [b"http://", b"answer", b"://x/answer", b"host:80", b"?x", b"*", b"http:///answer"])
async def test_a_target_that_is_none_is_refused_and_logs_no_error(
    target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_edge() as edge, connected(edge) as client:
        client.writer.write(post("c-1", target=target))
        assert (await client.answer())[0] in (400, 404)
        assert (await edge.http.get("/healthz")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# --- Upgrade, Expect, chunks --------------------------------------------------------------------------------------

OFFERS = {
    "curl --http2": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQC\r\n",
    "java": b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nConnection: Upgrade, HTTP2-Settings\r\n",
    "tls": b"Connection: upgrade\r\nUpgrade: TLS/1.2\r\n",
    "several": b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c, HTTP/2.0\r\n",
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_an_upgrade_that_is_not_to_a_websocket_is_ignored_and_the_body_is_kept(offer: bytes) -> None:
    async with running_edge() as edge, connected(edge) as client:
        for number in range(3):  # on one connection, in one piece
            client.writer.write(post(f"c-{number}", offer))
            status, headers, xml = await client.answer()
            assert (status, headers["content-type"]) == (200, "application/xml")
            assert f"/ws/c-{number}.".encode() in xml
        for part in (post("c-3", offer)[cut : cut + 7] for cut in range(0, len(post("c-3", offer)), 7)):
            client.writer.write(part)
            await client.writer.drain()
        assert b"/ws/c-3." in (await client.answer())[2]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body("c-4")[:9], body("c-4")[9:]))
        head = post("c-4", offer).partition(b"\r\n\r\n")[0].rpartition(b"\r\n")[0]
        client.writer.write(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert b"/ws/c-4." in (await client.answer())[2]
        client.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n")
        assert (await client.answer())[0] == 200


async def test_pipelined_offers_are_each_answered() -> None:
    async with running_edge() as edge, connected(edge) as client:
        get = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        client.writer.write(get * 500)
        for _ in range(500):
            assert (await client.answer())[0] == 200


async def test_to_be_a_proxy_is_refused() -> None:
    async with running_edge() as edge, connected(edge) as client:
        client.writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert (await client.answer())[0] == 400
        assert await client.closed()


@pytest.mark.parametrize("expects", [b"100-continue", b"100-Continue"])
async def test_a_sender_that_asks_before_it_sends_is_told_to_go_on(expects: bytes) -> None:
    async with running_edge() as edge, connected(edge) as client:
        head, _, form = post("c-1", b"Expect: %b\r\n" % expects).partition(b"\r\n\r\n")
        client.writer.write(head + b"\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        client.writer.write(form)
        assert b"/ws/c-1." in (await client.answer())[2]


async def test_chunks_with_extensions_and_trailers_are_a_body() -> None:
    async with running_edge() as edge, connected(edge) as client:
        head = post("c-1").partition(b"\r\n\r\n")[0].rpartition(b"\r\n")[0]
        form = body("c-1")
        client.writer.write(
            head
            + b"\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(form), form)
        )
        assert b"/ws/c-1." in (await client.answer())[2]


async def test_a_sender_that_closes_its_side_still_gets_the_answer() -> None:
    async with running_edge() as edge, connected(edge) as client:
        client.writer.write(post("c-1"))
        client.writer.write_eof()
        assert b"/ws/c-1." in (await client.answer())[2]
        assert await client.closed()


async def test_a_head_without_an_end_is_refused() -> None:
    async with running_edge() as edge:
        for flood in (b"GET /healthz HTTP/1.1\r\nX: ", b"GET /", b"GET /healthz HTTP/1.1\r\n" + b"X: 1\r\n" * 9000):
            async with connected(edge) as client:
                client.writer.write(flood + b"a" * (HEAD_BYTES_MAX + 1))
                assert (await client.answer())[0] in (400, 431)
                assert await client.closed()


# --- idle connections ---------------------------------------------------------------------------------------------


def test_an_idle_connection_is_kept_longer_than_a_proxy_keeps_it() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        """Never asked."""

    assert make_server(app, "127.0.0.1", 0).config.timeout_keep_alive == KEEPALIVE_SECONDS == 75
    assert make_server(app, "127.0.0.1", 0, 9).config.timeout_keep_alive == 9


def test_idle_connections_are_counted_and_the_longest_idle_goes_first() -> None:
    closed: list[int] = []
    idle = Idle(most=3)
    for number in range(5):
        idle.enter(number, lambda number=number: closed.append(number))  # type: ignore[misc]
    assert (closed, len(idle)) == ([0, 1], 3)
    idle.leave(3)  # it asks again
    idle.enter(3, lambda: closed.append(3))
    idle.enter(5, lambda: closed.append(5))
    assert closed == [0, 1, 2]
    assert IDLE_MAX == 1024


# --- senders that go away -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/answer", "/hangup", "/v1/calls"])
async def test_senders_that_go_away_leave_one_counted_word_and_no_line(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running_edge() as edge, edge.call("other") as other:
        before = await edge.count("voice_bad_input_total", kind="sender went away")
        for number in range(20):
            async with connected(edge) as client:
                client.writer.write(
                    b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: 500\r\n\r\nCall" % (path.encode(), FORM)
                )
                await client.writer.drain()
                if number % 2:
                    client.writer.transport.abort()
        if path != "/v1/calls":
            for number in range(20):
                await edge.counted(before + number, "voice_bad_input_total", kind="sender went away")
        await other.goes_on()
        assert (await edge.http.get("/healthz")).status_code == 200
    noise = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in noise if "connection broke" not in record.getMessage()] == []


async def test_a_reader_of_events_who_goes_away_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        for aborts in (True, False):
            async with connected(edge) as client:
                client.writer.write(b"GET /v1/calls/c-1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                async with asyncio.timeout(SECONDS):
                    head = await client.reader.readuntil(b"\r\n\r\n")
                    await client.reader.readuntil(b"CallStarted")
                assert b"x-accel-buffering: no" in head
                assert b"cache-control: no-store" in head
                if aborts:
                    client.writer.transport.abort()
        await caller.goes_on()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_websocket_whose_peer_goes_away_at_once_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with running_edge() as edge:
        for number in range(20):
            path = (await edge.answer(f"c-{number}")).rpartition("/ws/")[2] if number % 3 else "guessed"
            async with connected(edge) as client:
                client.writer.write(
                    b"GET /ws/%b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % path.encode()
                )
                await client.writer.drain()
                if number % 2:
                    client.writer.transport.abort()
        assert (await edge.http.get("/healthz")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


# --- methods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_to_look_whether_a_webhook_is_there_changes_nothing(path: str) -> None:
    async with running_edge(tokens=(TOKEN,)) as edge:
        for method, status in (("HEAD", 200), ("OPTIONS", 204)):
            for spelt in (path, f"{path}/", f"{path}?CallUUID=c-1&Event=StartApp"):
                response = await edge.http.request(method, spelt)
                assert (response.status_code, response.content) == (status, b""), (method, spelt)
                assert set(response.headers["allow"].split(", ")) == {"GET", "POST", "HEAD", "OPTIONS"}
        assert await edge.store.read("c-1") is None
        assert edge.calls.refusal() == ""
        for method in ("PUT", "PATCH", "DELETE", "TRACE"):
            refused = await edge.http.request(method, path)
            assert refused.status_code == 405
            assert {"GET", "POST"} <= set(refused.headers["allow"].split(", "))


async def test_the_api_says_what_it_takes_and_its_heads_have_an_end() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        for path, methods in {
            "/v1/calls": {"GET", "POST"}, "/v1/calls/c-1": {"GET", "DELETE"}, "/v1/calls/c-1/events": {"GET"},
        }.items():  # fmt: skip
            assert methods <= set((await edge.http.options(path)).headers["allow"].split(", "))
            async with asyncio.timeout(SECONDS):
                assert (await edge.http.head(path)).status_code == 200
        await caller.goes_on()


async def test_an_answer_is_not_kept_by_a_cache() -> None:
    async with running_edge() as edge:
        for path in ("/answer", given("/after-stream", "c-1")):
            response = await edge.http.post(path, data={"CallUUID": "c-1"})
            assert xml_of(response)
            assert response.headers["cache-control"] == "no-store"
