"""What a broken or hostile carrier may send: it is counted, and neither its own call nor another one suffers."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.audio import g711
from common.protocol.messages import (
    AudioIn,
    AudioStarted,
    CallEnded,
    CallStarted,
    DtmfReceived,
    Message,
    PlaybackStarted,
)
from edge.session.lifecycle import State
from edge.session.reconnect_silence import GAP_MS
from edge.vobiz.stream_protocol import MESSAGE_BYTES_MAX
from tests.e2e.loopback_edge import SECONDS, Edge, Phone, phone, running_edge, start_of

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

BAD_INPUT = "voice_bad_input_total"


@asynccontextmanager
async def two_calls() -> AsyncIterator[tuple[Edge, Phone, Phone]]:
    """An edge, a call that will be treated badly, and another one."""
    async with running_edge() as edge, edge.call("other") as other, edge.call("c-1") as caller:
        yield edge, caller, other


def frames(messages: list[Message]) -> list[bytes]:
    return [message.mulaw for message in messages if isinstance(message, AudioIn)]


def media(payload: bytes) -> dict[str, object]:
    return {"event": "media", "media": {"track": "inbound", "payload": base64.b64encode(payload).decode()}}


# --- messages that a call survives ------------------------------------------------------------------------------

BAD_MESSAGES: list[tuple[str | bytes, str]] = [
    ("", "bad json"),
    ("hello", "bad json"),
    ('{"event":"media","media":{"payl', "bad json"),
    ("[1,2,3]", "bad json"),
    ("null", "bad json"),
    ("[" * 60_000, "bad json"),
    ('{"event":"media","x":' + "[" * 60_000, "bad json"),
    ("{}", "no event"),
    ('{"event":7}', "no event"),
    ('{"event":"media"}', "bad media"),
    ('{"event":"media","media":{"payload":17}}', "bad media"),
    ('{"event":"media","media":{"payload":"abcde"}}', "bad base64"),
    (json.dumps(media(bytes(17_000))), "too large"),
    ('{"event":"dtmf","digit":"1x2"}', "bad dtmf"),
    ('{"event":"degradedStream"}', "unknown event"),
    ('{"event":"media","media":{"track":"outbound","payload":"//8="}}', "unknown event"),
    (json.dumps(start_of("c-1")), "second start"),
    (json.dumps(start_of("other")), "second start"),
    (json.dumps(start_of("c-1", encoding="audio/opus")), "bad format"),
    (b"\x00\x01\x02", "binary message"),
    (json.dumps(media(bytes(160))).encode(), "binary message"),
]


async def test_what_cannot_be_understood_is_counted_and_both_calls_go_on() -> None:
    async with two_calls() as (edge, caller, other):
        errors = await edge.count("voice_session_errors_total", process="edge")
        for message, kind in BAD_MESSAGES:
            before = await edge.count(BAD_INPUT, kind=kind)
            await caller.socket.send(message)
            assert await edge.counted(before, BAD_INPUT, kind=kind) == before + 1, message[:60]
            await caller.goes_on()
            await other.goes_on()
        assert len(await caller.events.until(CallStarted)) == 1
        assert await edge.count("voice_session_errors_total", process="edge") == errors


async def test_text_that_is_not_utf8_is_counted_and_both_calls_go_on() -> None:
    async with two_calls() as (edge, caller, other):
        for text in (b"\xff\xfe", b'{"event":"media","media":{"payload":"","track":"\xff"}}'):
            before = await edge.count(BAD_INPUT, kind="bad json")
            await caller.socket.send(text, text=True)
            await edge.counted(before, BAD_INPUT, kind="bad json")
            await caller.goes_on()
            await other.goes_on()


async def test_names_of_checkpoints_that_are_not_ours_do_nothing() -> None:
    async with two_calls() as (edge, caller, other):
        for name in ("", "hello", "1.1", "1.1.0.0", "2.1.0", "-1.1.0", "1.1." + "9" * 200, "1.\u0661.0", " 1.1.0"):
            await caller.send({"event": "playedStream", "name": name})
        await caller.goes_on()
        await other.goes_on()
        assert [type(message) for message in caller.events.got] == [CallStarted, PlaybackStarted]
        assert edge.calls.get("c-1") is not None


async def test_a_message_in_pieces_is_put_together() -> None:
    async with two_calls() as (_, caller, other):
        text = json.dumps({"event": "dtmf", "dtmf": {"digit": "5"}})
        await caller.socket.send([text[:5], text[5:6], text[6:]])
        assert [message.digit for message in await caller.events.until(DtmfReceived)] == ["5"]
        await caller.goes_on()
        await other.goes_on()


async def test_several_keys_in_one_message_are_as_many_events() -> None:
    async with two_calls() as (_, caller, other):
        await caller.send({"event": "dtmf", "dtmf": {"digits": "42#"}})
        await caller.send({"event": "dtmf", "dtmf": "d"})
        assert [message.digit for message in await caller.events.until(DtmfReceived, 4)] == ["4", "2", "#", "D"]
        await other.goes_on()


async def test_payloads_of_odd_sizes_are_joined_to_frames() -> None:
    async with two_calls() as (_, caller, other):
        speech = bytes(n * 3 % 256 for n in range(480))
        at = 0
        for size in (1, 0, 158, 2, 319):
            await caller.say(speech[at : at + size])
            at += size
        heard = await caller.audio.until(AudioIn, 3)
        assert b"".join(frames(heard)) == speech
        assert [message.position_ms for message in heard] == [0, 20, 40]
        await other.goes_on()


# --- messages that end a socket ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [MESSAGE_BYTES_MAX + 1, 1_000_000])
async def test_a_message_that_is_too_large_ends_its_own_call_only(size: int) -> None:
    async with two_calls() as (edge, caller, other):
        before = await edge.count(BAD_INPUT, kind="message too large")
        await caller.socket.send('{"event":"media","media":{"payload":"' + "A" * size)
        assert await caller.until_closed() == 1009
        assert await edge.counted(before, BAD_INPUT, kind="message too large") == before + 1
        await caller.events.until(CallEnded)
        await other.goes_on()
        assert await edge.store.live() == ["other"]


async def test_the_largest_message_that_is_allowed_is_read() -> None:
    async with two_calls() as (_, caller, other):
        await caller.socket.send(json.dumps(media(bytes(160))).ljust(MESSAGE_BYTES_MAX))
        await caller.audio.until(AudioIn)
        await caller.goes_on()
        await other.goes_on()


async def test_a_call_whose_line_breaks_goes_on_where_it_was_when_the_carrier_comes_back() -> None:
    async with two_calls() as (edge, caller, other):
        for number in range(3):
            await caller.send(media(bytes([number]) * 160))
        await caller.audio.until(AudioIn, 3)
        caller.socket.transport.abort()
        await other.goes_on()
        async with phone(caller.url) as again:
            again.take(edge, "c-1")
            await again.send(start_of("c-1"))
            assert [message.epoch for message in await again.events.until(CallStarted, 2)] == [1, 2]
            again.epoch = 2
            await again.send(media(b"\x07" * 160))
            heard = await again.audio.until(AudioIn, 4)
            assert [(frame.epoch, frame.position_ms) for frame in heard] == [(1, 0), (1, 20), (1, 40), (2, 60 + GAP_MS)]
            await again.goes_on()
            assert not [message for message in again.events.got if isinstance(message, CallEnded)]


async def test_a_second_line_of_a_call_replaces_the_first_and_its_end_ends_nothing() -> None:
    async with two_calls() as (edge, caller, other), phone(caller.url) as again:
        again.take(edge, "c-1")
        await again.send(start_of("c-1"))
        await again.events.until(CallStarted, 2)
        again.epoch = 2
        assert await caller.until_closed() == 1000
        await again.goes_on()
        await other.goes_on()
        assert sorted(await edge.store.live()) == ["c-1", "other"]


async def test_bytes_that_are_no_websocket_end_their_own_call_only() -> None:
    async with two_calls() as (edge, caller, other):
        before = await edge.count(BAD_INPUT, kind="bad websocket frame")
        caller.socket.transport.write(b"\xf7" * 64)
        await caller.events.until(CallEnded)
        assert await edge.counted(before, BAD_INPUT, kind="bad websocket frame") == before + 1
        await other.goes_on()


async def test_a_call_that_we_stop_in_the_moment_in_which_its_line_closes_is_written_down_as_over() -> None:
    async with two_calls() as (edge, _, other):
        call = edge.calls.get("c-1")
        assert call is not None
        call.stop("operator hung up")
        call.closed()
        await until_only_the_other_is_live(edge)
        await other.goes_on()


async def test_a_call_that_is_stopped_while_its_line_is_broken_is_written_down_as_over() -> None:
    async with two_calls() as (edge, caller, other):
        call = edge.calls.get("c-1")
        assert call is not None
        caller.socket.transport.abort()
        async with asyncio.timeout(SECONDS):
            await call.reaches(State.BROKEN)
        call.stop("operator hung up")
        await until_only_the_other_is_live(edge)
        await other.goes_on()


async def until_only_the_other_is_live(edge: Edge) -> None:
    async with asyncio.timeout(SECONDS):
        while await edge.store.live() != ["other"]:
            await asyncio.sleep(0)


async def test_a_stop_ends_the_call_once() -> None:
    async with two_calls() as (_, caller, other):
        stop = {"event": "stop", "streamId": "stream-of-c-1", "reason": "call_ended"}
        await caller.send(stop)
        await caller.send(stop)
        assert await caller.until_closed() == 1000
        assert len(await caller.events.until(CallEnded)) == 1
        await other.goes_on()


# --- how a stream begins ----------------------------------------------------------------------------------------


async def test_media_before_the_start_is_kept_and_comes_first() -> None:
    async with running_edge() as edge, phone(await edge.answer("c-1")) as caller:
        caller.take(edge, "c-1")
        for number in range(5):
            await caller.say(bytes([number]) * 160)
        await caller.send(start_of("c-1"))
        await caller.say(bytes([5]) * 160)
        assert [frame[0] for frame in frames(await caller.audio.until(AudioIn, 6))] == [0, 1, 2, 3, 4, 5]
        assert caller.audio.got[0] == AudioStarted(1, "edge-a")
        await caller.goes_on()


async def test_too_much_media_before_the_start_is_dropped_and_counted() -> None:
    async with running_edge() as edge, phone(await edge.answer("c-1")) as caller:
        caller.take(edge, "c-1")
        before = await edge.count("voice_frames_dropped_total", reason="too early")
        for number in range(253):
            await caller.say(bytes([number]) * 160)
        await caller.send(start_of("c-1"))
        heard = frames(await caller.audio.until(AudioIn, 250))
        assert [frame[0] for frame in heard] == list(range(250))
        assert await edge.count("voice_frames_dropped_total", reason="too early") == before + 3


async def test_nonsense_before_the_start_is_counted_and_the_call_begins_all_the_same() -> None:
    async with running_edge() as edge, phone(await edge.answer("c-1")) as caller:
        caller.take(edge, "c-1")
        json_before, binary_before = [await edge.count(BAD_INPUT, kind=kind) for kind in ("bad json", "binary message")]
        await caller.socket.send("hello")
        await caller.socket.send(b"hello")
        await caller.send(start_of("c-1"))
        await caller.events.until(CallStarted)
        await caller.goes_on()
        assert await edge.count(BAD_INPUT, kind="bad json") == json_before + 1
        assert await edge.count(BAD_INPUT, kind="binary message") == binary_before + 1


async def test_the_old_flat_start_is_understood() -> None:
    flat = {
        "event": "start",
        "streamId": "STREAM_abc",
        "accountId": "MA_XXXXXXXX",
        "callId": "c-1",
        "from": "911234567891",
        "to": "911234567890",
        "direction": "inbound",
        "contentType": "audio/x-mulaw;rate=8000",
        "audioTrack": "inbound",
    }
    async with running_edge() as edge, edge.call("c-1", flat) as caller:
        await caller.goes_on()
        assert {message["streamId"] for message in caller.seen} == {"STREAM_abc"}


async def test_a_start_that_says_nothing_is_enough_with_a_token() -> None:
    async with running_edge() as edge, edge.call("c-1", {"event": "start"}) as caller:
        await caller.goes_on()


@pytest.mark.parametrize("rate", [8000, 16000])
async def test_l16_is_converted(rate: int) -> None:
    pcm = array("h", (round(8000 * math.sin(2 * math.pi * 500 * n / rate)) for n in range(rate // 10)))
    size = 2 * rate // 50
    async with running_edge() as edge, edge.call("c-1", start_of("c-1", "audio/x-l16", rate)) as caller:
        for at in range(0, 2 * len(pcm), size):
            await caller.say(pcm.tobytes()[at : at + size])
        heard = array("h", g711.decode(b"".join(frames(await caller.audio.until(AudioIn, 5)))))
    assert len(heard) == 800
    wanted = [8000 * math.sin(2 * math.pi * 500 * n / 8000) for n in range(800)]
    error = min(  # the filter for 16 kHz is late by a sample or two
        sum((heard[n + late] - wanted[n]) ** 2 for n in range(100, 700)) for late in range(4)
    )
    assert 10 * math.log10(600 * 8000**2 / 2 / error) > (30 if rate == 8000 else 12)


@pytest.mark.parametrize(("encoding", "rate"), [("audio/opus", 48000), ("audio/x-l16", 44100), ("audio/x-l16", 24000)])
async def test_a_format_that_cannot_be_received_is_refused(encoding: str, rate: int) -> None:
    async with running_edge() as edge, edge.call("other") as other:
        before = await edge.count("voice_calls_refused_total", reason="bad format")
        async with phone(await edge.answer("c-1")) as caller:
            await caller.send(start_of("c-1", encoding, rate))
            assert await caller.until_closed() == 1008
        assert await edge.counted(before, "voice_calls_refused_total", reason="bad format") == before + 1
        await other.goes_on()


async def test_a_socket_that_closes_without_a_word_leaves_nothing_behind() -> None:
    async with running_edge(calls_max=1) as edge:
        url = await edge.answer("c-1")
        for _ in range(3):
            async with phone(url):
                assert edge.calls.refusal() == "full"
        async with phone(url) as caller:  # the same token, and the only place
            caller.take(edge, "c-1")
            await caller.send(start_of("c-1"))
            await caller.events.until(CallStarted)
            await caller.goes_on()


@pytest.mark.parametrize("call_id", ["", "\ud800", "a/b", "{s00}", "x" * 300])
async def test_a_bare_stream_with_an_id_that_is_none_is_refused(call_id: str) -> None:
    async with running_edge(secret=None) as edge:
        before = await edge.count("voice_calls_refused_total", reason="no call id")
        async with phone(f"ws://127.0.0.1:{edge.port}/ws") as caller:
            await caller.send(start_of(call_id))
            assert await caller.until_closed() == 1008
        assert await edge.counted(before, "voice_calls_refused_total", reason="no call id") == before + 1
        assert await edge.store.live() == []
