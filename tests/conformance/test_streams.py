"""Section 2: the media WebSocket, message by message."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from array import array
from typing import Any

import pytest
from websockets.asyncio.client import connect

from common.audio import g711
from common.messages import (
    AudioIn,
    AudioOut,
    CallEnded,
    CallStarted,
    Digit,
    HangUp,
    Interrupted,
    Played,
    ReplySpoken,
    SpeechEnded,
    SpeechStarted,
)
from common.streams import edge_audio, edge_priority
from edge.carrier.orders import StreamRequest
from edge.server import PING_SECONDS
from edge.xml import BadXml, Stream
from tests.conformance.captured import AGENT, answer, media, post, start, tags
from tests.conformance.scenes import Scenes
from tests.e2e.loopback_edge import EDGE, SECONDS, Edge, Phone, phone, refused, running_edge

SCENES = Scenes()
BAD_INPUT = "voice_bad_input_total"


# --- 2.1 handshake -----------------------------------------------------------------------------------------------


@SCENES.walk("2.1 plain GET upgrade", "2.1 no extensions")
async def _(edge: Edge, call_id: str) -> None:
    """Without a User-Agent; permessage-deflate is not taken even if it is offered."""
    url = await edge.answer(call_id)
    async with connect(url, user_agent_header=None, compression="deflate", proxy=None) as socket:
        assert socket.protocol.extensions == []
        caller = Phone(socket, url)
        caller.take(edge, call_id)
        await caller.send(start(call_id))
        await caller.events.until(CallStarted)
        await caller.goes_on()


@SCENES.walk("2.1 subprotocol offered or not")
async def _(edge: Edge, call_id: str) -> None:
    for offered in ((), ("audio.drachtio.org",), ("other", "audio.drachtio.org")):
        async with phone(await edge.answer(f"{call_id}-{len(offered)}"), *offered) as caller:
            assert caller.socket.subprotocol == (offered[0] if offered else None)


@SCENES.walk("2.1 no auth but the token in the path", "2.1 refused upgrade")
async def _(edge: Edge, call_id: str) -> None:
    """Refused before the handshake completes, in JSON, whatever is wrong with the token."""
    token = (await edge.answer(call_id)).rpartition("/")[2]
    for wrong in ("x", token[:-1], token + "x", token.replace(call_id, "other"), "%00", "x" * 2000):
        status, code = await refused(edge.token_url(wrong))
        assert (status, code) == (403, "bad_token")


# --- 2.2 start ---------------------------------------------------------------------------------------------------


def begins(row: str, message: dict[str, Any], stream_id: str = "s-1") -> None:
    """This `start` begins the call, and what we send names its stream; CALL stands for the call's id."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        async with edge.call(call_id, json.loads(json.dumps(message).replace("CALL", call_id))) as caller:
            await caller.goes_on()
            assert {sent["streamId"] for sent in caller.seen} == {stream_id}


FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
NESTED = {"callId": "CALL", "streamId": "s-1", "accountId": "500025", "tracks": ["inbound"], "mediaFormat": FORMAT}
FLAT = {"event": "start", "streamId": "s-1", "accountId": "MA_XXXXXXXX", "callId": "CALL", "from": "911234567890",
        "to": "919876543210", "direction": "inbound", "contentType": "audio/x-mulaw;rate=8000",
        "audioTrack": "inbound"}  # fmt: skip

begins("2.2 nested start", {"sequenceNumber": 0, "event": "start", "start": NESTED, "extra_headers": "{}"})
begins("2.2 no From and To", {"sequenceNumber": 0, "event": "start", "start": NESTED, "extra_headers": "{}"})
begins("2.2 flat start", FLAT)
begins(
    "2.2 start.callUUID", {"event": "start", "start": {"callUUID": "CALL", "streamId": "s-1", "mediaFormat": FORMAT}}
)
begins("2.2 top-level CallUUID", {"event": "start", "CallUUID": "CALL", "StreamID": "s-1", "start": {}})
begins("2.2 top-level call_uuid", {"event": "start", "call_uuid": "CALL", "stream_id": "s-1"})
begins("2.2 start.auth_id", {"event": "start", "start": {**NESTED, "auth_id": "MA_XXXXXXXX"}})
begins("2.2 streamSid and callSid", {"event": "start", "streamSid": "s-1", "start": {"callSid": "CALL"}})
begins("2.2 start.customParameters", {"event": "start", "start": {**NESTED, "customParameters": {"a": {"b": [1]}}}})
begins(
    "2.2 sequenceNumber from 1 and populated extra_headers",
    {"sequenceNumber": 1, "event": "start", "start": NESTED, "extra_headers": '{"X-VH-Ref":"1"}'},
)


@SCENES.walk("9.1 start")
async def _(_: Edge, call_id: str) -> None:
    """Nested ids win over those at the top; without a token to say so, the call is the one that `start` names."""
    async with running_edge(secret=None) as edge, phone(f"ws://127.0.0.1:{edge.port}/ws") as caller:
        caller.take(edge, call_id)
        await caller.send({**FLAT, "callId": "another", "streamId": "s-2", "start": {**NESTED, "callId": call_id}})
        await caller.events.until(CallStarted)
        await caller.goes_on()
        assert caller.seen[0]["streamId"] == "s-1"


# --- 2.3 media ---------------------------------------------------------------------------------------------------


def text(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def heard(row: str, *messages: dict[str, Any], audio: bytes) -> None:
    """These messages bring this audio to the call's stream."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        async with edge.call(call_id) as caller:
            for message in messages:
                await caller.send(message)
            frames = await caller.audio.until(AudioIn, len(audio) // 160)
            assert b"".join(frame.mulaw for frame in frames) == audio
            await caller.goes_on()


SPEECH = bytes(number % 251 for number in range(160 * 12))
OLD = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "timestamp": 1_700_000_000_000}

heard("2.3 current media", media(text(SPEECH[:160])), audio=SPEECH[:160])
heard(
    "2.3 old media",
    {"event": "media", "streamId": "s", "media": {"payload": text(SPEECH[:160]), **OLD}},
    audio=SPEECH[:160],
)
heard(
    "2.3 timestamp a text or a number",
    media(text(SPEECH[:160]), timestamp="1778597597091", chunk="7"),
    media(text(SPEECH[160:320]), timestamp=1778597597091, chunk=8),
    media(text(SPEECH[320:480]), timestamp=None, chunk=9.5),
    audio=SPEECH[:480],
)
heard(
    "2.3 payloads of 160, 320, 640 and any other length",
    *(media(text(SPEECH[start:end])) for start, end in ((0, 160), (160, 480), (480, 1120), (1120, 1121), (1121, 1920))),
    audio=SPEECH,
)
heard(
    "2.3 track outbound",
    media(text(SPEECH[:160])),
    media(text(SPEECH[160:320]), track="outbound"),
    media(text(SPEECH[320:480])),
    audio=SPEECH[:160] + SPEECH[320:480],
)
heard("2.3 all 0xFF is silence", *(media(text(b"\xff" * 160)) for _ in range(60)), audio=b"\xff" * 160 * 60)
heard(
    "9.18 media cadence",
    *(media(text(SPEECH[at : at + 160])) for at in range(0, len(SPEECH), 160)),
    audio=SPEECH,
)


@SCENES.walk("2.3 media before start")
async def _(edge: Edge, call_id: str) -> None:
    async with phone(await edge.answer(call_id)) as caller:
        caller.take(edge, call_id)
        await caller.send(media(text(SPEECH[:160])))
        await caller.send(start(call_id))
        await caller.send(media(text(SPEECH[160:320])))
        frames = await caller.audio.until(AudioIn, 2)
        assert b"".join(frame.mulaw for frame in frames) == SPEECH[:320]


# --- 2.4 what else Vobiz says ------------------------------------------------------------------------------------


def confirms(row: str, *played: dict[str, Any]) -> None:
    """Each of these says that the checkpoint was played; NAME stands for its name."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        async with edge.call(call_id) as caller:
            for clause, message in enumerate(played):
                await caller.goes_on()
                name = caller.seen[-1]["name"]
                await caller.send(json.loads(json.dumps(message).replace("NAME", name)))
                assert (await caller.events.until(Played, clause + 1))[-1] == Played(1, clause)


BARE: dict[str, Any] = {"event": "playedStream", "name": "NAME"}
confirms("2.4 playedStream without streamId", BARE)
confirms("2.4 playedStream with streamId", {**BARE, "streamId": "anything"})
confirms("2.4 playedStream with sequenceNumber", {**BARE, "streamId": "s", "sequenceNumber": 3})
confirms("9.3 playedStream without streamId", BARE, {**BARE, "streamId": "s"}, {**BARE, "sequenceNumber": "3"})


async def interrupted(edge: Edge, caller: Phone) -> None:
    """The agent is stopped in the middle of a reply (2), and has another (3) ready at once."""
    edge.workers.publish(edge_audio(EDGE), AudioOut(caller.call_id, 1, 1, 2, 0, 0, b"\x22" * 160 * 500, last=True))
    await caller.until("playAudio")
    edge.workers.publish(edge_priority(EDGE), SpeechStarted(caller.call_id, 1, 1, 1000))
    assert await caller.until("clearAudio") == {"event": "clearAudio", "streamId": f"stream-of-{caller.call_id}"}
    (cut,) = await caller.events.until(Interrupted)
    assert cut.turn == 2
    edge.workers.publish(edge_audio(EDGE), AudioOut(caller.call_id, 1, 1, 2, 0, 500, b"\x22" * 160, last=True))
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


@SCENES.walk("2.4 dtmf nested", "2.4 dtmf top-level")
async def _(edge: Edge, call_id: str) -> None:
    nested = {"track": "inbound", "digit": "1", "timestamp": "1778597597091"}
    async with edge.call(call_id) as caller:
        await caller.send(
            {"event": "dtmf", "sequenceNumber": 5, "streamId": "s", "dtmf": nested, "extra_headers": "{}"}
        )
        await caller.send({"event": "dtmf", "digit": "#"})
        await caller.send({"event": "dtmf", "digit": 0})
        assert [digit.digit for digit in await caller.events.until(Digit, 3)] == ["1", "#", "0"]


@SCENES.walk("2.4 stop")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id) as caller:
        await caller.send({"event": "stop", "streamId": "s", "reason": "call_ended"})
        assert await caller.until_closed() == 1000
        assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["caller hung up"]


@SCENES.walk("2.4 unknown events")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id) as caller:
        before = await edge.count(BAD_INPUT, kind="unknown event")
        for event in ("networkQuality", "DegradedStream", "hold", ""):
            await caller.send({"event": event, "streamId": "s"})
        await caller.goes_on()
        assert await edge.count(BAD_INPUT, kind="unknown event") == before + 4


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
        edge.workers.publish(edge_audio(EDGE), ReplySpoken(call_id, 1, 1, 1, "hangup"))
        await caller.until("checkpoint")
        kept = edge.calls.get(call_id)
        assert kept is not None
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
    """The call is over at once: no waiting for the carrier to come back."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        async with edge.call(call_id) as caller:
            if code is None:
                caller.socket.transport.write(b"\x88\x80\x00\x00\x00\x00")  # a close frame without a code
            else:
                await caller.socket.close(code)
            assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["caller hung up"]


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
        assert (await again.audio.until(AudioIn, 4))[3].position_ms == 60
        assert not [message for message in again.events.got if isinstance(message, CallEnded)]


@SCENES.walk("2.7 crash of the app")
async def _(edge: Edge, call_id: str) -> None:
    """The edge that had the call is gone: the carrier comes back, finds this one, and the call is this one's."""
    url = await edge.answer(call_id)
    first = await edge.ledger.start(call_id, "edge-that-died")
    assert first is not None
    assert first.epoch == 1
    async with phone(url) as caller:
        caller.take(edge, call_id)
        await caller.send(start(call_id))
        assert [begun.epoch for begun in await caller.events.until(CallStarted)] == [2]
        caller.epoch = 2
        await caller.goes_on()
    record = await edge.ledger.read(call_id)
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


test_streams = SCENES.test()
