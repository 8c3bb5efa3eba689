"""A media socket whose pings are not answered: media are a sign of life, and only silence is none.

The real protocol on a virtual clock; the carrier's end is bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from edge.http.server import PING_SECONDS
from edge.media.websocket import EXTENSION, MediaSocketProtocol
from tests.clock import VirtualLoop

pytestmark = pytest.mark.fast

HANDSHAKE = (
    b"GET /ws/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, PONG, PING = 0x81, 0x8A, 0x89


def frame(kind: int, payload: bytes) -> bytes:
    """From a client: masked, here with zeros."""
    return bytes([kind, 0x80 | len(payload)]) + bytes(4) + payload


class Wire(asyncio.Transport):
    """What the edge writes, and whether it closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pings: list[bytes] = []
        self.closed_s = 0.0

    def write(self, data: Any) -> None:
        if data[:1] == bytes([PING]):
            self.pings.append(bytes(data[2 : 2 + data[1]]))

    def close(self) -> None:
        self.closed_s = self.closed_s or asyncio.get_running_loop().time()

    def is_closing(self) -> bool:
        return self.closed_s > 0

    def pause_reading(self) -> None:
        """Nothing is read but what a test sends."""

    def resume_reading(self) -> None:
        """Likewise."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    line = cast(MediaSocketProtocol, scope["extensions"][EXTENSION])
    line.attach(lambda text: None, lambda: None, lambda clean: None)
    await asyncio.Event().wait()


async def socket() -> tuple[MediaSocketProtocol, Wire]:
    config = uvicorn.Config(
        app, ws_ping_interval=PING_SECONDS, ws_ping_timeout=PING_SECONDS, ws_per_message_deflate=False, log_config=None
    )
    line, wire = MediaSocketProtocol(config, ServerState(), {}, asyncio.get_running_loop()), Wire()
    line.connection_made(wire)
    line.data_received(HANDSHAKE)
    await asyncio.sleep(0.01)
    return line, wire


def run(call: Coroutine[Any, Any, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(call)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()


@pytest.mark.parametrize(
    "sign", [frame(TEXT, b'{"event":"media"}'), frame(PING, b"x"), frame(PONG, b"another ping's")],
    ids=["media", "its own pings", "other pongs"],
)  # fmt: skip
def test_whoever_sends_is_there_whether_or_not_they_answer_pings(sign: bytes) -> None:
    async def call() -> None:
        line, wire = await socket()
        for _ in range(30):
            await asyncio.sleep(10)
            line.data_received(sign)
            assert not wire.is_closing()
        assert len(wire.pings) > 5  # they are still asked
        silent_s = asyncio.get_running_loop().time()
        await asyncio.sleep(10 * PING_SECONDS)
        assert wire.is_closing()
        assert PING_SECONDS <= wire.closed_s - silent_s <= 3 * PING_SECONDS

    run(call())


def test_who_answers_and_says_nothing_is_there_too() -> None:
    async def call() -> None:
        line, wire = await socket()
        answered = 0
        for _ in range(300):
            await asyncio.sleep(1)
            for ping in wire.pings[answered:]:
                line.data_received(frame(PONG, ping))
            answered = len(wire.pings)
        assert not wire.is_closing()
        assert answered > 10

    run(call())


def test_who_does_neither_is_gone() -> None:
    async def call() -> None:
        _, wire = await socket()
        await asyncio.sleep(3 * PING_SECONDS)
        assert wire.is_closing()

    run(call())
