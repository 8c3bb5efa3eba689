"""How a vendor's socket opens, or does not, and how its connection ends: over TCP, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

from tests.deadlines import SOON_S, WAIT_S
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected
from workers.providers.vendor_socket import CLOSE_SECONDS, WRITABLE_BYTES, SocketClosed, VendorSocket
from workers.providers.websocket import MESSAGE_BYTES_MAX, open_socket

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

Handle = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECRET = "key-0123456789"
TEXT, BINARY, CLOSE = 0x81, 0x82, 0x88


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@contextlib.asynccontextmanager
async def vendor(handle: Handle) -> AsyncIterator[str]:
    """A server whose answer to the handshake, and all after it, is written by `handle`; it gets the key to sign."""

    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
            await handle(key, reader, writer)
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1?key={SECRET}"
        for writer in writers:
            writer.transport.abort()
    await asyncio.sleep(0)  # until they are gone


async def opened(url: str, seconds: float = WAIT_S) -> VendorSocket:
    return await open_socket("vendor/x", url, {"Authorization": SECRET}, seconds, "VENDOR_API_KEY")


async def refusal(url: str, seconds: float = WAIT_S) -> ProviderError:
    with pytest.raises(ProviderError) as error:
        await opened(url, seconds)
    assert SECRET not in str(error.value) and "127.0.0.1" not in str(error.value)
    return error.value


def accepted(key: str, more: str = "") -> bytes:
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{more}\r\n"
    ).encode()


def answers(answer: Callable[[str], bytes]) -> Handle:
    """Answers the handshake with bytes, and waits for the end."""

    async def handle(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(key))
        while await reader.read(65536):
            pass

    return handle


STATUSES = {
    429: (Busy, "at its limit"),
    401: (Rejected, "VENDOR_API_KEY"),
    403: (Rejected, "VENDOR_API_KEY"),
    402: (Rejected, "paid"),
    404: (Rejected, "404"),
    408: (Down, "408"),
    302: (Down, "302"),
    200: (Down, "200"),
    500: (Down, "500"),
    503: (Down, "503"),
}


@pytest.mark.parametrize("status", STATUSES)
async def test_a_refused_handshake_is_busy_rejected_or_down_by_its_status(status: int) -> None:
    kind, text = STATUSES[status]
    answer = f"HTTP/1.1 {status} X\r\nLocation: ws://elsewhere/\r\nContent-Length: 4\r\n\r\nbody".encode()
    async with vendor(answers(lambda key: answer)) as url:
        error = await refusal(url)
    assert type(error) is kind and text in str(error)


BAD_ANSWERS: dict[str, Callable[[str], bytes]] = {
    "no HTTP": lambda key: b"220 smtp ready\r\n",
    "a header line of 9,000 bytes": lambda key: accepted(key, f"X: {'a' * 9000}\r\n"),
    "a status line of 9,000 bytes": lambda key: b"HTTP/1.1 101 " + b"a" * 9000 + b"\r\n\r\n",
    "200 headers": lambda key: accepted(key, "X: a\r\n" * 200),
    "another key's answer": lambda key: accepted("dGhlIHNhbXBsZSBub25jZQ=="),
    "no answer to the key": lambda key: b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "no upgrade": lambda key: accepted(key).replace(b"Upgrade: websocket\r\n", b""),
    "compression nobody asked for": lambda key: accepted(key, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    "a subprotocol nobody asked for": lambda key: accepted(key, "Sec-WebSocket-Protocol: chat\r\n"),
    "a body of 2 MiB": lambda key: b"HTTP/1.1 503 X\r\nContent-Length: 2097152\r\n\r\n" + bytes(2097152),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_answer_that_is_no_handshake_means_that_the_vendor_is_down(name: str) -> None:
    async with vendor(answers(BAD_ANSWERS[name])) as url:
        error = await refusal(url)
    assert type(error) is Down and "cannot be reached" in str(error)


async def test_a_vendor_that_hangs_up_in_the_handshake_is_down() -> None:
    async def handle(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(key)[:30])

    async with vendor(handle) as url:
        assert "cannot be reached" in str(await refusal(url))


SLOW = {
    "nothing": lambda key: b"",
    "half a handshake": lambda key: accepted(key)[:-2],
    "a refusal without an end": lambda key: b"HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\nhalf",
}


@pytest.mark.parametrize("name", SLOW)
async def test_a_slow_handshake_ends_at_its_deadline(name: str) -> None:
    async with vendor(answers(SLOW[name])) as url:
        assert "in time" in str(await refusal(url, 0.2))


async def test_a_slow_handshake_within_the_deadline_is_none() -> None:
    async def handle(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in accepted(key):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await reader.read(1)

    async with vendor(handle) as url:
        connection = await opened(url)
        assert connection.is_open
        await connection.close()


async def test_a_message_in_the_segment_of_the_handshake_is_not_lost() -> None:
    async with vendor(answers(lambda key: accepted(key) + bytes([TEXT, 2]) + b"hi")) as url:
        connection = await opened(url)
        assert await connection.recv() == "hi"
        connection.abort()


async def test_a_vendor_that_sends_no_more_has_ended_the_socket_though_it_would_read() -> None:
    over = asyncio.Event()

    async def handle(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(key) + bytes([TEXT, 3]) + b"bye")
        writer.write_eof()
        while await reader.read(65536):
            pass
        over.set()

    async with vendor(handle) as url, asyncio.timeout(SOON_S):
        connection = await opened(url)
        assert await connection.recv() == "bye"
        with pytest.raises(SocketClosed, match="1006"):
            await connection.recv()
        await over.wait()


async def test_a_vendor_that_closes_and_keeps_the_connection_is_known_at_once_and_cut() -> None:
    over = asyncio.Event()

    async def handle(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(key) + bytes([CLOSE, 2]) + (1013).to_bytes(2, "big"))
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        over.set()

    async with vendor(handle) as url, asyncio.timeout(SOON_S):
        connection = await opened(url)
        began = asyncio.get_running_loop().time()
        with pytest.raises(SocketClosed, match="1013"):
            await connection.recv()
        assert asyncio.get_running_loop().time() - began < CLOSE_SECONDS / 2
        await over.wait()


async def test_a_message_longer_than_the_limit_ends_the_socket_before_it_is_read() -> None:
    heard: list[bytes] = []

    async def handle(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(key) + bytes([BINARY, 127]) + (MESSAGE_BYTES_MAX + 1).to_bytes(8, "big"))
        heard.append(await reader.read(65536))

    async with vendor(handle) as url, asyncio.timeout(SOON_S):
        connection = await opened(url)
        with pytest.raises(SocketClosed, match="1006"):
            await connection.recv()
        await connection.close()
    assert heard[0][0] == CLOSE


async def test_messages_of_all_sizes_go_both_ways() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    sizes = [0, 125, 126, 65535, 65536, 1_000_000]
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server, asyncio.timeout(SOON_S):
        connection = await opened(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")  # type: ignore[index]
        for size in sizes:
            await connection.send_within(bytes(size), SOON_S)
            assert await connection.recv() == bytes(size)
            await connection.send_within("ä" * size, SOON_S)
            assert await connection.recv() == "ä" * size
        await connection.close()
        assert not connection.is_open


async def test_a_vendor_that_reads_nothing_leaves_the_socket_unwritable_and_a_close_does_not_wait_for_it() -> None:
    release = asyncio.Event()

    async def handle(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(key))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await release.wait()

    async with vendor(handle) as url, asyncio.timeout(SOON_S):
        connection = await opened(url)
        while connection.writable:  # the system's buffers take some megabytes
            connection.send(bytes(WRITABLE_BYTES))
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await connection.send_within(b"more", 0.1)
        began = asyncio.get_running_loop().time()
        await connection.close()
        assert asyncio.get_running_loop().time() - began < 2 * CLOSE_SECONDS
        release.set()
