"""The edge over HTTP: webhooks in every spelling, probes, tokens, and one whole call."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from common.agents.model import Agent, Agents
from common.protocol.messages import (
    AudioOut,
    CallEnded,
    CallOffered,
    CallStarted,
    ClausePlayed,
    HangUp,
    Interrupted,
    ReplyPlayed,
    ReplySynthesized,
    SpeechStarted,
)
from common.protocol.redis_keys import POOLS, edge_audio, edge_priority, pool_calls
from common.store import CallRecord
from edge.media.stream_token import mint, verify
from tests.e2e.loopback_edge import EDGE, FROM, SECRET, TO, phone, refused, running_edge, start_of

pytestmark = [pytest.mark.processes, pytest.mark.anyio]


def xml_of(response: httpx.Response) -> list[ElementTree.Element]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/xml")
    root = ElementTree.fromstring(response.content)
    assert root.tag == "Response"
    return list(root)


# --- /answer ----------------------------------------------------------------------------------------------------

FIELDS = {
    "CallUUID": "c-1",
    "From": FROM,
    "To": TO,
    "Direction": "inbound",
    "CallStatus": "ringing",
    "Event": "StartApp",
    "ParentAuthID": "MA_XXXXXXXX",
    "SessionStart": "2026-01-15 06:19:42.652502",
}


def asked(call_id: str) -> dict[str, str]:
    return {**FIELDS, "CallUUID": call_id}


SPELLINGS: dict[str, dict[str, Any]] = {
    "form": {"method": "POST", "data": asked("form")},
    "query": {"method": "POST", "params": asked("query")},
    "get": {"method": "GET", "params": asked("get")},
    "json": {"method": "POST", "json": asked("json")},
    "multipart": {"method": "POST", "files": {name: (None, value) for name, value in asked("multipart").items()}},
    "body": {"method": "POST", "params": {"To": TO, "CallUUID": "query-is-second"}, "data": asked("body")},
}


async def test_a_call_is_answered_by_a_stream_however_it_is_asked() -> None:
    async with running_edge() as edge:
        for call_id, request in SPELLINGS.items():
            stream, after = xml_of(await edge.http.request(url="/answer", **request))
            assert (after.tag, (after.text or "").partition("?")[0].rpartition("/")[2]) == ("Redirect", "after-stream")
            assert (stream.tag, stream.get("bidirectional"), stream.get("keepCallAlive")) == ("Stream", "true", "true")
            assert (stream.get("audioTrack"), stream.get("contentType")) == ("inbound", "audio/x-mulaw;rate=8000")
            place, _, token = (stream.text or "").rpartition("/")
            assert place == f"ws://127.0.0.1:{edge.port}/ws"
            assert verify(SECRET, token).call_id == call_id
            record = await edge.store.read(call_id)
            assert record is not None
            assert (record.from_number, record.to_number, record.status) == (FROM, TO, "new")
            assert record.agent["name"] == "desk"


async def test_the_public_url_is_what_vobiz_is_told_and_an_ampersand_is_escaped() -> None:
    async with running_edge(public_url="https://voice.example.com/a&b/") as edge:
        response = await edge.http.post("/answer", data=FIELDS)
        assert b"/a&amp;b/ws/" in response.content
        assert (xml_of(response)[0].text or "").startswith("wss://voice.example.com/a&b/ws/c-1.")


async def test_the_same_webhook_three_times_is_one_call() -> None:
    async with running_edge() as edge:
        for _ in range(3):
            await edge.answer("c-1")
        async with edge.call("c-1"):
            assert xml_of(await edge.http.post("/answer", data=FIELDS))[0].tag == "Stream"
            record = await edge.store.read("c-1")
            assert record is not None
            assert (record.status, record.epoch) == ("live", 1)


TWO_AGENTS = Agents(
    {
        name: Agent(name, greeting="Hello.", instructions="Be brief.", numbers=(number,))
        for name, number in (("sales", "+91 12345 67890"), ("clinic", "+91 12345 67891"))
    }
)


async def test_the_number_that_was_called_chooses_the_agent() -> None:
    cases = [
        ({"To": "911234567890"}, "sales"),
        ({"To": "+911234567891"}, "clinic"),
        ({"To": "01234567891", "Direction": "inbound"}, "clinic"),
        ({"From": "911234567890", "To": "911234567899", "Direction": "outbound"}, "sales"),
    ]
    async with running_edge(TWO_AGENTS) as edge:
        for number, (fields, name) in enumerate(cases):
            fields["CallUUID"] = f"c-{number}"
            assert xml_of(await edge.http.post("/answer", data=fields))[0].tag == "Stream"
            record = await edge.store.read(f"c-{number}")
            assert record is not None
            assert record.agent["name"] == name


async def test_a_number_that_nobody_answers_gets_an_apology() -> None:
    async with running_edge(TWO_AGENTS) as edge:
        before = await edge.count("voice_calls_refused_total", reason="no agent")
        speak, hangup = xml_of(await edge.http.post("/answer", data={"CallUUID": "c-1", "To": "911234567899"}))
        assert (speak.tag, hangup.tag) == ("Speak", "Hangup")
        assert await edge.count("voice_calls_refused_total", reason="no agent") == before + 1
        assert await edge.store.read("c-1") is None


async def test_an_edge_that_is_full_apologises_and_is_not_ready_until_a_call_ends() -> None:
    async with running_edge(calls_max=1) as edge:
        late = await edge.answer("c-2")
        async with edge.call("c-1") as caller:
            assert [child.tag for child in xml_of(await edge.http.post("/answer", data={"CallUUID": "c-3"}))] == [
                "Speak",
                "Hangup",
            ]
            ready = await edge.http.get("/readyz")
            assert (ready.status_code, ready.text) == (503, "not ready: full\n")
            assert (await edge.http.get("/healthz")).status_code == 200
            assert await refused(late) == (503, "full")
            await caller.goes_on()
        await caller.events.until(CallEnded)
        await edge.calls.drained()
        assert (await edge.http.get("/readyz")).text == "ready\n"
        async with edge.call("c-2") as caller:
            await caller.goes_on()


async def test_an_edge_that_drains_takes_no_call_and_keeps_those_it_has() -> None:
    async with running_edge() as edge:
        late = await edge.answer("c-2")
        async with edge.call("c-1") as caller:
            edge.calls.draining = True
            assert xml_of(await edge.http.post("/answer", data={"CallUUID": "c-3"}))[0].tag == "Speak"
            assert (await edge.http.get("/readyz")).text == "not ready: draining\n"
            assert await refused(late) == (503, "draining")
            await caller.goes_on()


async def test_the_probes_answer() -> None:
    async with running_edge() as edge:
        assert (await edge.http.get("/healthz")).text == "alive\n"
        assert (await edge.http.get("/readyz")).text == "ready\n"
        assert 'voice_calls_max{process="edge"} 10.0' in (await edge.http.get("/metrics")).text


BAD_REQUESTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 400, "bad_call_uuid"),
    "no id": ({"data": {"From": FROM}}, 400, "bad_call_uuid"),
    "empty id": ({"data": {"CallUUID": ""}}, 400, "bad_call_uuid"),
    "id with a slash": ({"data": {"CallUUID": "a/b"}}, 400, "bad_call_uuid"),
    "id with braces": ({"data": {"CallUUID": "{s00}"}}, 400, "bad_call_uuid"),
    "id with a line end": ({"data": {"CallUUID": "c-1\n"}}, 400, "bad_call_uuid"),
    "long id": ({"data": {"CallUUID": "x" * 65}}, 400, "bad_call_uuid"),
    "id is a list": ({"json": {"CallUUID": ["c-1"]}}, 400, "bad_call_uuid"),
    "json cut off": ({"content": b'{"CallUUID":', "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    "json array": ({"json": ["c-1"]}, 400, "bad_json"),
    "json too deep": ({"content": b"[" * 60_000, "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    "json not utf-8": ({"content": b'{"a":"\xff"}', "headers": {"content-type": "application/json"}}, 400, "bad_json"),
    "xml": ({"content": b"<a/>", "headers": {"content-type": "text/xml"}}, 415, "unsupported_media_type"),
    "multipart without boundary": (
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "bad_form",
    ),
    "multipart garbage": (
        {"content": b"garbage", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        400,
        "bad_form",
    ),
    "multipart with a file": ({"files": {"CallUUID": ("a.txt", b"c-1")}}, 400, "bad_form"),
    "large body": ({"content": b"a=" + b"x" * 70_000}, 413, "too_large"),
    "long value": ({"data": {"CallUUID": "c-1", "From": "x" * 5000}}, 413, "too_large"),
    "long query value": ({"params": {"CallUUID": "c-1", "From": "x" * 5000}}, 413, "too_large"),
    "many query fields": ({"params": {f"f{n}": "x" for n in range(300)}}, 413, "too_large"),
}


async def test_a_request_that_cannot_be_understood_is_a_counted_4xx_in_json_and_harms_no_call() -> None:
    async with running_edge() as edge, edge.call("other") as other:
        for name, (request, status, code) in BAD_REQUESTS.items():
            before = await edge.count("voice_bad_input_total", kind="request")
            response = await edge.http.post("/answer", **request)
            assert (response.status_code, response.json()["error"]["code"]) == (status, code), name
            assert set(response.json()["error"]) == {"code", "message"}
            assert FROM not in response.text
            assert await edge.count("voice_bad_input_total", kind="request") == before + 1, name
            await other.goes_on()
        assert await edge.store.live() == ["other"]


async def test_a_body_without_a_length_is_bounded_too_and_so_is_the_number_of_fields() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 8192

    form = {"content-type": "application/x-www-form-urlencoded"}
    async with running_edge() as edge:
        response = await edge.http.post("/answer", content=endless(), headers=form)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
        many = await edge.http.post("/answer", data={"CallUUID": "c-1", **{f"f{n}": "x" for n in range(300)}})
        assert many.status_code in (400, 413)
        assert "error" in many.json()


async def test_unknown_paths_and_methods_are_json_errors() -> None:
    async with running_edge() as edge:
        for method, path, status in (("GET", "/", 404), ("GET", "/ws", 404), ("PUT", "/answer", 405)):
            response = await edge.http.request(method, path)
            assert response.status_code == status
            assert set(response.json()["error"]) == {"code", "message"}


# --- hangup -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/answer", "/hangup"])
async def test_a_hangup_ends_the_call_once_and_is_never_answered_by_a_stream(path: str) -> None:
    fields = {**FIELDS, "Event": "Hangup", "CallStatus": "completed"}
    async with running_edge() as edge, edge.call("c-1") as caller, edge.call("other") as other:
        for _ in range(3):
            response = await edge.http.post(path, data=fields)
            assert response.status_code == 200
            assert b"Stream" not in response.content
        assert await caller.until_closed() == 1000
        assert [message.reason for message in await caller.events.until(CallEnded)] == ["caller hung up"]
        await other.goes_on()
        assert await edge.store.live() == ["other"]


async def test_a_hangup_before_the_stream_ends_the_call_and_its_token() -> None:
    async with running_edge() as edge:
        url = await edge.answer("c-1")
        tags = [child.tag for child in xml_of(await edge.http.post("/answer", data={**FIELDS, "Event": "Hangup"}))]
        assert tags == ["Hangup"]
        assert await refused(url) == (403, "call_is_over")


async def test_a_hangup_of_a_call_elsewhere_is_passed_on_to_its_edge() -> None:
    async with running_edge() as edge:
        await edge.store.create(CallRecord("far"))
        await edge.store.start("far", "edge-b")
        there = edge.follow(edge_priority("edge-b"))
        assert (await edge.http.post("/hangup", data={"CallUUID": "far"})).status_code == 200
        assert await there.until(HangUp) == [HangUp("far", "caller hung up", epoch=1)]


async def test_a_hangup_of_a_call_that_nobody_knows_is_accepted() -> None:
    async with running_edge() as edge:
        assert (await edge.http.post("/hangup", data={"CallUUID": "unheard-of"})).status_code == 200
        assert (await edge.http.post("/hangup", data={})).status_code == 400


# --- tokens -----------------------------------------------------------------------------------------------------


async def test_a_stream_without_a_good_token_is_refused_before_the_handshake_completes() -> None:
    async with running_edge() as edge, edge.call("other") as other:
        good = (await edge.answer("c-1")).rpartition("/")[2]
        call_id, expires, signature = good.split(".")
        await edge.store.create(CallRecord("ended"))
        await edge.store.end("ended", "carrier")
        cases = {
            edge.token_url("")[:-1]: "bad_token",
            edge.token_url("guessed"): "bad_token",
            edge.token_url(f"other.{expires}.{signature}"): "bad_token",
            edge.token_url(f"{call_id}.{int(expires) + 60}.{signature}"): "bad_token",
            edge.token_url(mint(b"another deployment", "c-1", time.time())): "bad_token",
            edge.token_url(mint(SECRET, "c-1", time.time() - 61)): "token_expired",
            edge.token_url(mint(SECRET, "unheard-of", time.time())): "call_is_over",
            edge.token_url(mint(SECRET, "ended", time.time())): "call_is_over",
        }
        for url, code in cases.items():
            reason = code.replace("_", " ")
            before = await edge.count("voice_calls_refused_total", reason=reason)
            assert await refused(url) == (403, code), url
            assert await edge.count("voice_calls_refused_total", reason=reason) == before + 1
        await other.goes_on()
        async with phone(edge.token_url(good)) as caller:  # the good one still is
            await caller.send(start_of("c-1"))


async def test_a_token_works_again_and_past_its_minute_for_as_long_as_its_call_lives() -> None:
    async with running_edge() as edge, edge.call("c-1") as first:
        old = edge.token_url(mint(SECRET, "c-1", time.time() - 3600))
        async with phone(old) as second:
            await second.send(start_of("c-1"))
            started = await first.events.until(CallStarted, 2)
            assert [message.epoch for message in started] == [1, 2]
            for epoch, frame in ((1, b"\x10" * 160), (2, b"\x11" * 160)):  # the mouth's last words to the old socket
                edge.workers.publish(edge_audio(EDGE), AudioOut("c-1", epoch, 1, 1, 0, 0, frame, last=True))
            assert b64decode((await second.until("playAudio"))["media"]["payload"]) == b"\x11" * 160
            await edge.http.post("/hangup", data={"CallUUID": "c-1"})
            await second.until_closed()
        assert await refused(old) == (403, "call_is_over")


async def test_a_token_opens_no_other_call() -> None:
    async with running_edge() as edge, edge.call("other") as other:
        before = await edge.count("voice_calls_refused_total", reason="another call's token")
        async with phone(await edge.answer("c-1")) as caller:
            await caller.send(start_of("other"))
            assert await caller.until_closed() == 1008
        assert await edge.count("voice_calls_refused_total", reason="another call's token") == before + 1
        await other.goes_on()


async def test_without_a_secret_a_bare_stream_is_taken() -> None:
    async with running_edge(secret=None) as edge:
        assert (await edge.answer("c-1")).endswith("/ws")
        async with phone(f"ws://127.0.0.1:{edge.port}/ws") as caller:
            caller.take(edge, "nobody-announced-me")
            await caller.send(start_of("nobody-announced-me"))
            await caller.events.until(CallStarted)
            await caller.goes_on()


async def test_a_subprotocol_is_echoed_if_it_was_offered() -> None:
    async with running_edge() as edge:
        async with phone(await edge.answer("c-1"), "audio.drachtio.org") as caller:
            assert caller.socket.subprotocol == "audio.drachtio.org"
        async with phone(await edge.answer("c-2")) as caller:
            assert caller.socket.subprotocol is None


# --- one whole call ---------------------------------------------------------------------------------------------


async def test_one_whole_call() -> None:
    async with running_edge() as edge:
        pools = [edge.follow(pool_calls(pool)) for pool in POOLS]
        async with edge.call("c-1") as caller:
            for pool in pools:
                assert await pool.until(CallOffered) == [CallOffered("c-1")]
            await caller.goes_on()
            await caller.send({"event": "playedStream", "name": "1.1.0"})
            assert await caller.events.until(ClausePlayed) == [ClausePlayed(1, 0)]
            edge.workers.publish(edge_audio(EDGE), ReplySynthesized("c-1", 1, 1, 1))
            await caller.events.until(ReplyPlayed)

            edge.workers.publish(edge_audio(EDGE), AudioOut("c-1", 1, 1, 2, 0, 0, b"\x22" * 160 * 400, last=True))
            for _ in range(11):  # it is interrupted while it plays: the eleventh leaves once the first was heard
                await caller.until("playAudio")
            edge.workers.publish(edge_priority(EDGE), SpeechStarted("c-1", 1, 1, 1000))
            assert await caller.until("clearAudio") == {"event": "clearAudio", "streamId": "stream-of-c-1"}
            (cut,) = await caller.events.until(Interrupted)
            assert (cut.turn, cut.clause) == (2, 0)
            assert cut.heard_ms <= 20 * sum(message["event"] == "playAudio" for message in caller.seen)
        assert [message.reason for message in await caller.events.until(CallEnded)] == ["caller hung up"]
        await edge.calls.drained()
        record = await edge.store.read("c-1")
        assert record is not None
        assert (record.status, record.ended_because) == ("ended", "caller hung up")


async def test_an_agent_that_hangs_up_says_stop_and_the_carrier_closes() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        edge.workers.publish(edge_audio(EDGE), AudioOut("c-1", 1, 1, 1, 0, 0, b"\x22" * 160, last=True))
        edge.workers.publish(edge_audio(EDGE), ReplySynthesized("c-1", 1, 1, 1, "hangup"))
        name = (await caller.until("checkpoint"))["name"]
        await caller.send({"event": "playedStream", "name": name})
        assert await caller.until("stop") == {"event": "stop", "streamId": "stream-of-c-1"}
        await caller.socket.close()
        assert [message.reason for message in await caller.events.until(CallEnded)] == ["agent hung up"]


async def test_no_metric_names_a_call_or_a_number() -> None:
    async with running_edge() as edge, edge.call("call-with-a-name") as caller:
        await caller.goes_on()
        shown = (await edge.http.get("/metrics")).text
        assert not [secret for secret in ("call-with-a-name", FROM, TO) if secret in shown]
