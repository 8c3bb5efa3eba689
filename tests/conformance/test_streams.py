"""Sections 2.1 to 2.4: the media WebSocket as Vobiz opens it, and what it says on it, in every spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from common.protocol.messages import AudioIn, CallEnded, CallStarted, ClausePlayed, DtmfReceived
from tests.conformance.captured import media, start, text
from tests.conformance.scenes import Scenes
from tests.e2e.loopback_edge import Edge, Phone, phone, refused, running_edge

pytestmark = pytest.mark.processes

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
                assert (await caller.events.until(ClausePlayed, clause + 1))[-1] == ClausePlayed(1, clause)


BARE: dict[str, Any] = {"event": "playedStream", "name": "NAME"}
confirms("2.4 playedStream without streamId", BARE)
confirms("2.4 playedStream with streamId", {**BARE, "streamId": "anything"})
confirms("2.4 playedStream with sequenceNumber", {**BARE, "streamId": "s", "sequenceNumber": 3})
confirms("9.3 playedStream without streamId", BARE, {**BARE, "streamId": "s"}, {**BARE, "sequenceNumber": "3"})


@SCENES.walk("2.4 dtmf nested", "2.4 dtmf top-level")
async def _(edge: Edge, call_id: str) -> None:
    nested = {"track": "inbound", "digit": "1", "timestamp": "1778597597091"}
    async with edge.call(call_id) as caller:
        await caller.send(
            {"event": "dtmf", "sequenceNumber": 5, "streamId": "s", "dtmf": nested, "extra_headers": "{}"}
        )
        await caller.send({"event": "dtmf", "digit": "#"})
        await caller.send({"event": "dtmf", "digit": 0})
        assert [digit.digit for digit in await caller.events.until(DtmfReceived, 3)] == ["1", "#", "0"]


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


test_streams = SCENES.test()
