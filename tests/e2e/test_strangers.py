"""What a stranger can do with a connection before it is a stream or an answered request: it is answered, and ends."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest

from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.http.limits.request_size import HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_BYTES_MAX
from edge.http.protocol import PIPELINED_BYTES_MAX
from edge.media.stream_token import mint
from tests.e2e.loopback_edge import SECRET, running_edge
from tests.e2e.nginx import nginx
from tests.e2e.test_http_defaults import Client, body, connected, post

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"


def upgrade(*lines: bytes, key: bytes = KEY, version: bytes = VERSION, method: bytes = b"GET") -> bytes:
    """A handshake without a token, with further header lines."""
    more = b"".join(line + b"\r\n" for line in lines)
    return (
        b"%b /ws/guessed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" % method
        + key + version + more + b"\r\n"
    )  # fmt: skip


def get(*lines: bytes, path: bytes = b"/healthz") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: x\r\n" % path + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def chunked(chunks: bytes) -> bytes:
    return b"POST /answer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


MANY = [b"X-%d: 1" % number for number in range(HEADERS_MAX + 1)]
LONG = b"X: " + b"a" * HEAD_BYTES_MAX

REFUSED: dict[str, tuple[bytes, int, str]] = {
    "upgrade, a line that websockets does not take": (upgrade(b"X: " + b"a" * 9000), 431, "head too large"),
    "upgrade, a request line that it does not take": (
        upgrade().replace(b"guessed", b"a" * 9000), 414, "head too large",
    ),
    "upgrade, many headers": (upgrade(*MANY), 431, "too many headers"),
    "upgrade, a long head": (upgrade(LONG), 431, "head too large"),
    "upgrade with a body": (upgrade(b"Content-Length: 5") + b"hello", 400, "bad handshake"),
    "upgrade with chunks": (upgrade(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", 400, "bad handshake"),
    "upgrade without a key": (upgrade(key=b""), 400, "bad handshake"),
    "upgrade with two keys": (upgrade(key=KEY * 2), 400, "bad handshake"),
    "upgrade with a bad key": (upgrade(key=b"Sec-WebSocket-Key: short\r\n"), 400, "bad handshake"),
    "upgrade of another version": (upgrade(version=b"Sec-WebSocket-Version: 8\r\n"), 400, "bad handshake"),
    "upgrade with two versions": (upgrade(version=VERSION * 2), 400, "bad handshake"),
    "upgrade with broken protocols": (upgrade(b"Sec-WebSocket-Protocol: \x22,"), 400, "bad handshake"),
    "upgrade by POST": (upgrade(method=b"POST"), 405, "bad handshake"),
    "a long head": (get(LONG), 431, "head too large"),
    "many headers": (get(*MANY), 431, "too many headers"),
    "a long target": (get(path=b"/" + b"a" * HEAD_BYTES_MAX), 431, "head too large"),
    "spaces in a header": (get(b"X:" + b" " * HEAD_BYTES_MAX + b"1"), 431, "head too large"),
    "line feeds": (b"\r\n" * HEAD_BYTES_MAX, 431, "head too large"),
    "carriage returns": (b"\r" * (HEAD_BYTES_MAX + 1), 431, "head too large"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x01" * 500, 400, "malformed"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", 400, "malformed"),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed"),
    "two lengths": (get(b"Content-Length: 1", b"Content-Length: 2"), 400, "malformed"),
    "a chunk that is none": (chunked(b"zz\r\n"), 400, "malformed"),
    "trailers": (chunked(b"0\r\n" + b"".join(line + b"\r\n" for line in MANY) + b"\r\n"), 431, "too many headers"),
    "an endless trailer": (chunked(b"0\r\nX: " + b"a" * REQUEST_BYTES_MAX), 413, "request too large"),
    "an endless chunk extension": (chunked(b"5;" + b"a" * REQUEST_BYTES_MAX), 413, "request too large"),
    "a body of crumbs": (chunked(b"1\r\na\r\n" * (REQUEST_BYTES_MAX // 6 + 1)), 413, "request too large"),
    "a head behind a good request": (get() + get(LONG * 2), 431, "head too large"),
    "many headers behind a good request": (get() + get(*MANY), 431, "too many headers"),
}  # fmt: skip


async def _answered(client: Client, sent: bytes, status: int) -> tuple[int, bytes]:
    """The last answer on the connection; the peer of a refusal need not have sent everything."""
    client.writer.write(sent)
    while (got := await client.answer())[0] == 200 != status:
        pass
    return got[0], got[2]


@pytest.mark.parametrize("name", REFUSED)
async def test_it_is_answered_closed_and_counted(name: str) -> None:
    sent, status, reason = REFUSED[name]
    async with running_edge() as edge, connected(edge) as client:
        before = await edge.count("voice_requests_refused_total", reason=reason)
        answered, text = await _answered(client, sent, status)
        assert answered == status, text
        assert await client.closed()
        assert await edge.counted(before, "voice_requests_refused_total", reason=reason) == before + 1
        assert (await edge.http.get("/healthz")).status_code == 200


@pytest.mark.parametrize("sent", [get(LONG), get(*MANY), b"nonsense\r\n\r\n", chunked(b"0\r\n" + b"X: 1\r\n" * 200)])
async def test_a_refusal_is_an_error_like_all_others(sent: bytes) -> None:
    async with running_edge() as edge, connected(edge) as client:
        _, text = await _answered(client, sent, 0)
        assert set(json.loads(text)["error"]) == {"code", "message"}


async def test_the_largest_head_that_is_allowed_is_served() -> None:
    async with running_edge() as edge, connected(edge) as client:
        for head in (get(b"X: " + b"a" * (HEAD_BYTES_MAX - len(get(b"X: ")))), get(*MANY[1:HEADERS_MAX])):
            assert len(head) <= HEAD_BYTES_MAX
            client.writer.write(head)
            assert (await client.answer())[0] == 200


async def test_a_head_of_one_byte_too_many_is_refused_however_it_is_cut() -> None:
    head = get(b"X: " + b"a" * (HEAD_BYTES_MAX + 1 - len(get(b"X: "))))
    assert len(head) == HEAD_BYTES_MAX + 1
    for size in (len(head), 1000, 4096):
        async with running_edge() as edge, connected(edge) as client:
            for at in range(0, len(head), size):
                client.writer.write(head[at : at + size])
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await client.answer())[0] == 431


async def test_trailers_do_not_become_headers() -> None:
    """They come behind the signature's back, and a second X-Forwarded-For could be one."""
    async with running_edge() as edge, connected(edge) as client:
        form = body("c-1")
        head = post("c-1").partition(b"\r\n\r\n")[0].rpartition(b"\r\n")[0] + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.writer.write(head + b"%x\r\n%b\r\n0\r\nHost: evil.example.com\r\n\r\n" % (len(form), form))
        _, _, xml = await client.answer()
        assert b"/ws/c-1." in xml
        assert b"evil" not in xml


async def test_refusals_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running_edge() as edge:
        for _ in range(5):
            for sent in (get(*MANY), upgrade(b"X: " + b"a" * 9000), upgrade(key=b""), b"nonsense\r\n\r\n"):
                async with connected(edge) as client:
                    client.writer.write(sent)
                    await client.answer()
    lines = [record for record in caplog.records if record.getMessage() == "requests were refused"]
    assert sorted(record.reason for record in lines) == sorted(  # type: ignore[attr-defined]
        ["too many headers", "head too large", "bad handshake", "malformed"]
    )
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_connection_header_in_two_lines_is_one_list() -> None:
    sent = upgrade().replace(b"Connection: Upgrade\r\n", b"Connection: Upgrade\r\nConnection: keep-alive\r\n")
    async with running_edge() as edge, connected(edge) as client:
        client.writer.write(sent)
        assert (await client.answer())[0] == 403  # as any other handshake with a guessed token


async def test_a_line_feed_after_an_answer_is_no_way_to_stay() -> None:
    async with running_edge() as edge:
        crowded = await edge.count("voice_half_open_closed_total", reason="crowded out")
        clients = []
        for _ in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(get())
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\r\n")
            clients.append(writer)
        await edge.counted(crowded + 30, "voice_half_open_closed_total", reason="crowded out")
        for writer in clients:
            writer.transport.abort()


async def test_handshakes_that_wait_for_us_are_in_the_table_of_those_that_have_not_asked() -> None:
    """The ledger is slow; 300 upgrades with well-formed tokens wait for it."""
    ledger_answers = asyncio.Event()

    class SlowLedger(MemoryCallStore):
        async def read(self, call_id: str) -> CallRecord | None:
            await ledger_answers.wait()
            return None

    async with running_edge(ledgers=SlowLedger) as edge:
        crowded = await edge.count("voice_half_open_closed_total", reason="crowded out")
        token = mint(SECRET, "c-1", time.time()).encode()
        writers = []
        for _ in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(upgrade().replace(b"guessed", token))
            writers.append(writer)
        await edge.counted(crowded + 40, "voice_half_open_closed_total", reason="crowded out")
        ledger_answers.set()
        for writer in writers:
            writer.transport.abort()


async def test_few_pipelined_requests_are_served_ahead_of_their_answers() -> None:
    async with running_edge() as edge, connected(edge) as client:
        client.writer.write(get() * 500)
        for _ in range(500):
            assert (await client.answer())[0] == 200
        before = await edge.count("voice_requests_refused_total", reason="too many pipelined")
        client.writer.write(get() * (4 * PIPELINED_BYTES_MAX // len(get())))
        status = 200
        while status == 200:
            status, _, _ = await client.answer()
        assert status == 429
        assert await client.closed()
        assert await edge.count("voice_requests_refused_total", reason="too many pipelined") == before + 1


# --- through nginx ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/healthz", b"/ws/guessed"])
async def test_what_nginx_passes_on_is_answered(path: bytes) -> None:
    """Its defaults pass on 32 KB of headers, and lines of 8 KB with what it adds."""
    heads = [get(*MANY, path=path), get(*(b"X: " + b"a" * 7000,) * 3, path=path)]
    async with running_edge() as edge, nginx(edge.port) as port:
        for head in heads:
            for more in (b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY + VERSION):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head.replace(b"Host: x\r\n", b"Host: x\r\n" + more))
                assert (await Client(reader, writer).answer())[0] == 431
                writer.close()
        assert (await edge.http.get("/healthz")).status_code == 200
