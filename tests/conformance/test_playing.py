"""Sections 2.5 to 2.7: what we say on the media WebSocket, the encodings, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import math
from array import array
from typing import Any

import pytest

from common.audio import g711
from common.protocol.messages import (
    AudioIn,
    AudioOut,
    CallEnded,
    CallStarted,
    HangUp,
    Interrupted,
    ReplySynthesized,
    SpeechEnded,
    SpeechStarted,
)
from common.protocol.redis_keys import edge_audio, edge_priority
from edge.http.server import PING_SECONDS
from edge.session.reconnect_silence import GAP_MS
from edge.vobiz.rest.requests import StreamRequest
from edge.vobiz.xml import BadXml, Stream
from tests.conformance.captured import AGENT, answer, media, post, start, tags, text
from tests.conformance.scenes import Scenes
from tests.e2e.loopback_edge import EDGE, SECONDS, Edge, Phone, phone, refused

pytestmark = pytest.mark.processes

SCENES = Scenes()


# --- 2.5 what we say ---------------------------------------------------------------------------------------------


@SCENES.walk(
    "2.5 playAudio", "2.5 checkpoint", "2.6 out mu-law 8000", "2.7 whole frames of 20 ms", "2.7 message sizes",
    "9.4 playAudio streamId", "9.5 sampleRate type",
)  # fmt: skip
async def _(edge: Edge, call_id: str) -> None:
    speech = bytes(number % 255 for number in range(160 * 9))
    async with edge.call(call_id) as caller:
        edge.workers.publish(edge_audio(EDGE), AudioOut(call_id, 1, 1, 1, 0, 0, speech, last=True))
        checkpoint = await caller.until("checkpoint")
        assert checkpoint == {"event": "checkpoint", "streamId": f"stream-of-{call_id}", "name": "1.1.0"}
        played = caller.seen[:-1]
        assert [base64.b64decode(message["media"].pop("payload")) for message in played] == [
            speech[at : at + 160] for at in range(0, len(speech), 160)
        ]
        form = {"contentType": "audio/x-mulaw", "sampleRate": 8000}
        assert played == [{"event": "playAudio", "streamId": f"stream-of-{call_id}", "media": form}] * 9
        assert all(type(message["media"]["sampleRate"]) is int for message in played)


async def interrupted(edge: Edge, caller: Phone) -> None:
    """The agent is stopped in the middle of a reply (2), and has another (3) ready at once."""
    edge.workers.publish(edge_audio(EDGE), AudioOut(caller.call_id, 1, 1, 2, 0, 0, b"\x22" * 160 * 400, last=True))
    await caller.until("playAudio")
    edge.workers.publish(edge_priority(EDGE), SpeechStarted(caller.call_id, 1, 1, 1000))
    assert await caller.until("clearAudio") == {"event": "clearAudio", "streamId": f"stream-of-{caller.call_id}"}
    (cut,) = await caller.events.until(Interrupted)
    assert cut.turn == 2
    edge.workers.publish(edge_audio(EDGE), AudioOut(caller.call_id, 1, 1, 2, 0, 400, b"\x22" * 160, last=True))
    edge.workers.publish(edge_audio(EDGE), AudioOut(caller.call_id, 1, 1, 3, 0, 0, b"\x33" * 160, last=True))
    edge.workers.publish(edge_priority(EDGE), SpeechEnded(caller.call_id, 1, 1, 2000))


async def first_frame(caller: Phone) -> tuple[bytes, float]:
    """The next frame that is heard, and how long it took to come, in ms."""
    began = asyncio.get_running_loop().time()
    frame = base64.b64decode((await caller.until("playAudio"))["media"]["payload"])
    return frame, 1000 * (asyncio.get_running_loop().time() - began)


def clears(row: str, ack: dict[str, Any] | None) -> None:
    """After `clearAudio` nothing is played until the answer, or until a second is over; then only the new reply."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        async with edge.call(call_id) as caller:
            await interrupted(edge, caller)
            held = edge.calls.get(call_id)
            assert held is not None
            for _ in range(50):
                await asyncio.sleep(0)
            assert "held 1>" in repr(held)
            if ack is not None:
                await caller.send(ack)
            frame, waited_ms = await first_frame(caller)
            assert frame == b"\x33" * 160
            assert waited_ms < 700 if ack is not None else waited_ms > 700


clears("2.4 clearedAudio with sequenceNumber", {"sequenceNumber": 0, "event": "clearedAudio", "streamId": "s"})
clears("2.4 clearedAudio without sequenceNumber", {"event": "clearedAudio", "streamId": "s"})
clears("2.5 clearAudio", {"event": "clearedAudio"})
clears("2.5 clearAudio holds what follows until clearedAudio", {"event": "clearedAudio"})
clears("2.5 clearAudio without clearedAudio", None)


@SCENES.walk("2.5 stop")
async def _(edge: Edge, call_id: str) -> None:
    """Said once; the call ends when the carrier closes, with our reason."""
    async with edge.call(call_id) as caller:
        for _ in range(2):
            edge.workers.publish(edge_priority(EDGE), HangUp(call_id, "agent hung up"))
        assert await caller.until("stop") == {"event": "stop", "streamId": f"stream-of-{call_id}"}
        await caller.socket.close()
        assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["agent hung up"]
        assert [message["event"] for message in caller.seen] == ["stop"]


@SCENES.walk("2.5 playedStream that never comes")
async def _(edge: Edge, call_id: str) -> None:
    """A farewell whose checkpoint nobody answers ends the call all the same."""
    async with edge.call(call_id) as caller:
        edge.workers.publish(edge_audio(EDGE), AudioOut(call_id, 1, 1, 1, 0, 0, b"\x22" * 160, last=True))
        edge.workers.publish(edge_audio(EDGE), ReplySynthesized(call_id, 1, 1, 1, "hangup"))
        await caller.until("checkpoint")
        kept = edge.calls.get(call_id)
        assert kept is not None
        kept.housekeep(later_ms(2000))
        assert not kept.lifecycle.stopped  # for all we know the line broke before the farewell was heard
        await asyncio.sleep(0.25)  # what was sent is over
        await caller.say(b"\x55" * 160)
        async with asyncio.timeout(SECONDS):
            while b"\x55" * 160 not in [frame.mulaw for frame in caller.audio.got if isinstance(frame, AudioIn)]:
                await asyncio.sleep(0)
        kept.housekeep(later_ms(2000))
        await caller.until("stop")


def later_ms(ms: float) -> float:
    """On the clock that the edge reads."""
    return asyncio.get_running_loop().time() * 1000 + ms


# --- 2.6 encodings -----------------------------------------------------------------------------------------------


def converted(row: str, encoding: str, rate: int) -> None:
    """A tone in the carrier's format is the same tone in ours; L16 in the wrong byte order would be noise."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        pcm = array("h", (round(8000 * math.sin(2 * math.pi * 500 * n / rate)) for n in range(rate // 10)))
        wire = pcm.tobytes() if encoding == "audio/x-l16" else g711.encode(pcm.tobytes())
        size = len(wire) // 5
        async with edge.call(call_id, start(call_id, encoding, rate)) as caller:
            for at in range(0, len(wire), size):
                await caller.send(media(text(wire[at : at + size])))
            frames = await caller.audio.until(AudioIn, 5)
        tone = array("h", g711.decode(b"".join(frame.mulaw for frame in frames)))
        wanted = [8000 * math.sin(2 * math.pi * 500 * n / 8000) for n in range(800)]
        error = min(sum((tone[n + late] - wanted[n]) ** 2 for n in range(100, 700)) for late in range(4))
        assert error < 0.1 * sum(sample * sample for sample in wanted[100:700])


converted("2.6 in mu-law 8000", "audio/x-mulaw", 8000)
converted("2.6 in L16 8000", "audio/x-l16", 8000)
converted("2.6 in L16 16000", "audio/x-l16", 16000)
converted("2.6 L16 is little-endian", "audio/x-l16", 16000)
converted("9.6 L16 byte order", "audio/x-l16", 8000)


@SCENES.walk("9.7 L16 24 kHz inbound")
async def _(edge: Edge, call_id: str) -> None:
    """Never asked for, and refused if it comes."""
    asked: Any = "audio/x-l16;rate=24000"
    with pytest.raises(BadXml):
        Stream("wss://voice.example.com/ws", content_type=asked)
    async with phone(await edge.answer(call_id)) as caller:
        await caller.send(start(call_id, "audio/x-l16", 24000))
        assert await caller.until_closed() == 1008


@SCENES.walk("9.11 REST bidirectional")
async def _(edge: Edge, call_id: str) -> None:
    body = StreamRequest(service_url="wss://voice.example.com/ws").json()
    assert (body["bidirectional"], body["audio_track"]) == ("true", "inbound")


# --- 2.7 pacing, keepalive, close --------------------------------------------------------------------------------


@SCENES.walk("2.7 paced with a small lead")
async def _(edge: Edge, call_id: str) -> None:
    """200 ms at once, then real time: the 30th frame leaves 400 ms after the first."""
    async with edge.call(call_id) as caller:
        edge.workers.publish(edge_audio(EDGE), AudioOut(call_id, 1, 1, 1, 0, 0, b"\x22" * 160 * 100, last=True))
        await caller.until("playAudio")
        began = asyncio.get_running_loop().time()
        for _ in range(29):
            await caller.until("playAudio")
        assert asyncio.get_running_loop().time() - began > 0.3


@SCENES.walk("2.7 ping and pong")
async def _(edge: Edge, call_id: str) -> None:
    """Its pings are answered in the middle of a call; ours come well within the timeouts of proxies."""
    async with edge.call(call_id) as caller, asyncio.timeout(SECONDS):
        await (await caller.socket.ping(b"are you there?"))
        await caller.goes_on()
    assert PING_SECONDS <= 30


def closes(row: str, code: int | None) -> None:
    """The call may go on (a proxy closes sockets, too): it is over with the carrier's word for it."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        async with edge.call(call_id) as caller:
            if code is None:
                caller.socket.transport.write(b"\x88\x80\x00\x00\x00\x00")  # a close frame without a code
            else:
                await caller.socket.close(code)
            await caller.until_closed()
        async with phone(caller.url) as again:
            again.take(edge, call_id)
            await again.send(start(call_id))
            assert [begun.epoch for begun in await again.events.until(CallStarted, 2)] == [1, 2]
            again.epoch = 2
            await again.goes_on()
            assert not [message for message in again.events.got if isinstance(message, CallEnded)]
        await post(edge, "/hangup", answer(call_id, Event="Hangup"))
        assert [ended.reason for ended in await again.events.until(CallEnded)] == ["caller hung up"]


closes("2.7 close 1000", 1000)
closes("2.7 close 1001", 1001)
closes("2.7 close 1005", None)


@SCENES.walk("2.7 close 1006 and back with a new streamId")
async def _(edge: Edge, call_id: str) -> None:
    """The same token, a new stream: the call goes on as epoch 2, and says so with the new streamId."""
    async with edge.call(call_id) as caller:
        for _ in range(3):
            await caller.say(b"\x55" * 160)
        await caller.audio.until(AudioIn, 3)
        caller.socket.transport.abort()
    async with phone(caller.url) as again:
        again.take(edge, call_id)
        begun = start(call_id)
        begun["start"]["streamId"] = "a new stream"
        await again.send(begun)
        assert [begun.epoch for begun in await again.events.until(CallStarted, 2)] == [1, 2]
        again.epoch = 2
        await again.goes_on()
        assert {message["streamId"] for message in again.seen} == {"a new stream"}
        assert (await again.audio.until(AudioIn, 4))[3].position_ms == 60 + GAP_MS
        assert not [message for message in again.events.got if isinstance(message, CallEnded)]


@SCENES.walk("2.7 crash of the app")
async def _(edge: Edge, call_id: str) -> None:
    """The edge that had the call is gone: the carrier comes back, finds this one, and the call is this one's."""
    url = await edge.answer(call_id)
    first = await edge.store.start(call_id, "edge-that-died")
    assert first is not None
    assert first.epoch == 1
    async with phone(url) as caller:
        caller.take(edge, call_id)
        await caller.send(start(call_id))
        assert [begun.epoch for begun in await caller.events.until(CallStarted)] == [2]
        caller.epoch = 2
        await caller.goes_on()
    record = await edge.store.read(call_id)
    assert record is not None
    assert record.edge == EDGE


@SCENES.walk("2.7 late reconnect after the end")
async def _(edge: Edge, call_id: str) -> None:
    """A phantom: refused, and the call stays over."""
    async with edge.call(call_id) as caller:
        await post(edge, "/hangup", answer(call_id, Event="Hangup"))
        await caller.until_closed()
    for _ in range(3):
        assert await refused(caller.url) == (403, "call_is_over")
    assert len(await caller.events.until(CallEnded)) == 1
    again = await edge.http.post("/answer", data=answer(call_id, Event="Hangup"), headers=AGENT)
    assert tags(again) == ["Hangup"]


@SCENES.walk("2.7 media inactivity 60 s")
async def _(edge: Edge, call_id: str) -> None:
    """A gap is survived; a minute without any media is the carrier's end of the call, as it is for Vobiz itself."""
    async with edge.call(call_id) as caller:
        await caller.goes_on()
        kept = edge.calls.get(call_id)
        assert kept is not None
        kept.housekeep(later_ms(59_000))
        await caller.goes_on()
        kept.housekeep(later_ms(60_500))
        assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["carrier"]


test_playing = SCENES.test()
