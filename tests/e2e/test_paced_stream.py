"""Somebody has the URL of a live stream, and sends more than a line can: the socket ends, the call does not."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from common.audio.g711 import FRAME_MS
from common.protocol.messages import AudioIn, CallEnded, CallStarted, DtmfReceived
from edge.media.stream_pace import AHEAD_MS_MAX, EVENTS_AT_ONCE
from edge.media.websocket import FRAGMENTS_MAX
from tests.e2e.loopback_edge import Edge, Phone, phone, running_edge, start_of
from tests.e2e.nginx import nginx
from tests.e2e.test_bad_input import media

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

TOO_FAST = "voice_streams_too_fast_total"
WORD = bytes(range(16, 176))
"""20 ms that are no silence."""


def raw(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, data, fin).serialize(mask=True)


def text(message: object) -> bytes:
    return raw(Opcode.TEXT, json.dumps(message).encode())


FLOODS: dict[str, tuple[bytes, str]] = {
    "audio": (text(media(WORD)) * 2000, "audio"),
    "audio in large messages": (text(media(WORD * 100)) * 20, "audio"),
    "audio of the other track": (
        text({"event": "media", "media": {"track": "outbound", "payload": "//8="}}) * 2000, "audio",
    ),
    "keys": (text({"event": "dtmf", "dtmf": {"digit": "5"}}) * 2000, "events"),
    "keys, many in each message": (text({"event": "dtmf", "dtmf": {"digits": "1234567890" * 3}}) * 10, "events"),
    "playedStream": (text({"event": "playedStream", "name": "1.1.0"}) * 2000, "events"),
    "clearedAudio": (text({"event": "clearedAudio"}) * 2000, "events"),
    "events that nobody knows": (text({"event": "x"}) * 2000, "events"),
    "starts": (text(start_of("c-1")) * 2000, "events"),
    "no JSON": (raw(Opcode.TEXT, b"x") * 2000, "events"),
    "empty messages": (raw(Opcode.TEXT) * 2000, "events"),
    "binary messages": (raw(Opcode.BINARY, b"x") * 2000, "events"),
    "empty audio": (text(media(b"")) * 2000, "frames"),
    "audio in crumbs": (text(media(b"\x10")) * 2000, "frames"),
    "empty pieces": (raw(Opcode.TEXT, b"", False) + raw(Opcode.CONT, b"", False) * 2000, "frames"),
    "one message in many pieces": (
        raw(Opcode.TEXT, b"{", False) + raw(Opcode.CONT, b" ", False) * (FRAGMENTS_MAX + 1), "frames",
    ),
    "pings": (raw(Opcode.PING, b"x" * 125) * 5000, "pings"),
    "pongs": (raw(Opcode.PONG) * 5000, "pings"),
}  # fmt: skip


async def closed_with(caller: Phone) -> int:
    """The code with which the edge closed the socket, which reads no more: so nobody waits for its other half."""
    code = await caller.until_closed()
    caller.socket.transport.abort()
    return code


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_its_socket_and_the_call_goes_on_with_the_next(name: str) -> None:
    sent, reason = FLOODS[name]
    began_s = time.monotonic()
    async with running_edge() as edge, edge.call("other") as other, edge.call("c-1") as caller:
        before = await edge.count(TOO_FAST, reason=reason)
        caller.socket.transport.write(sent)
        assert await closed_with(caller) == 1008
        assert await edge.counted(before, TOO_FAST, reason=reason) == before + 1
        heard = [message for message in caller.audio.got if isinstance(message, AudioIn)]
        line_ms = (time.monotonic() - began_s) * 1000  # at most so much time has passed on the line
        assert len(heard) * FRAME_MS <= AHEAD_MS_MAX + line_ms + 1000
        assert (
            len([message for message in caller.events.got if isinstance(message, DtmfReceived)]) <= EVENTS_AT_ONCE + 20
        )
        assert not [message for message in caller.events.got if isinstance(message, CallEnded)]
        await other.goes_on()
        await _comes_back(edge, caller)


async def _comes_back(edge: Edge, caller: Phone) -> None:
    """As the carrier does (`maxRetries`), with the same URL."""
    async with phone(caller.url) as again:
        again.take(edge, "c-1")
        await again.send(start_of("c-1"))
        await again.events.until(CallStarted, 2)
        call = edge.calls.get("c-1")
        assert call is not None
        assert call.epoch == 2
        await again.socket.close()
        edge.hangup("c-1")


async def test_to_connect_again_begins_no_new_credit() -> None:
    """Else five seconds of audio for each connection would reach a vendor that bills by the second."""
    began_s = asyncio.get_running_loop().time()
    async with running_edge() as edge, edge.call("c-1") as caller:
        caller.socket.transport.write(FLOODS["audio"][0])
        await closed_with(caller)
        for _ in range(4):
            with suppress(ConnectionClosed):
                async with phone(caller.url) as again:
                    await again.send(start_of("c-1"))
                    again.socket.transport.write(FLOODS["audio"][0])
                    await closed_with(again)
        passed_ms = 1000 * (asyncio.get_running_loop().time() - began_s)
        loud = [message for message in caller.audio.got if isinstance(message, AudioIn) and message.mulaw == WORD]
        assert len(loud) * FRAME_MS <= AHEAD_MS_MAX + passed_ms
        edge.hangup("c-1")


async def test_media_before_start_is_paced_too() -> None:
    async with running_edge() as edge:
        before = await edge.count(TOO_FAST, reason="frames")
        async with phone(await edge.answer("c-1")) as early:
            early.socket.transport.write(text(media(WORD)) * 3000)
            assert await closed_with(early) == 1008
        assert await edge.counted(before, TOO_FAST, reason="frames") == before + 1


async def test_a_stall_of_four_seconds_and_its_burst_fit() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        for number in range(200):
            await caller.say(bytes([16 + number % 100]) * 160)
        assert len(await caller.audio.until(AudioIn, 200)) >= 200
        await caller.goes_on()


async def test_floods_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running_edge() as edge:
        for number in range(4):
            async with phone(await edge.answer(f"c-{number}")) as caller:
                caller.socket.transport.write(raw(Opcode.PING) * 500)
                await closed_with(caller)
    said = [record for record in caplog.records if record.getMessage().startswith("streams were closed")]
    assert len(said) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("name", ["audio", "keys", "pings", "empty pieces"])
async def test_nginx_in_front_changes_nothing(name: str) -> None:
    sent, reason = FLOODS[name]
    async with running_edge() as edge, nginx(edge.port) as port:
        url = (await edge.answer("c-1")).replace(str(edge.port), str(port))
        before = await edge.count(TOO_FAST, reason=reason)
        async with phone(url) as caller:
            caller.take(edge, "c-1")
            await caller.send(start_of("c-1"))
            await caller.events.until(CallStarted)
            caller.socket.transport.write(sent)
            assert await closed_with(caller) in (
                1008,
                1006,
            )  # nginx may drop our last frame with a connection it writes to
        assert await edge.counted(before, TOO_FAST, reason=reason) == before + 1
        edge.hangup("c-1")
