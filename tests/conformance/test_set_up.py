"""Sections 1.1 to 1.4: Vobiz asks what to do with a call, and what it is answered."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import urlencode

import pytest

from common.agents.model import Agent, Agents
from common.protocol.messages import CallEnded, CallStarted, HangUp
from common.protocol.redis_keys import call_events, edge_priority
from edge.media.stream_token import verify
from simulators.answer import read_answer
from simulators.carrier import Callee, Carrier, CarrierOptions, Target
from simulators.script import HangUp as HangsUp
from simulators.script import Wait
from tests.conformance.captured import AGENT, answer, facts, hangup, post, shown, tags, until_ended, verbs
from tests.conformance.scenes import Scenes
from tests.e2e.loopback_edge import EDGE, FROM, SECRET, TO, Edge, given, phone, running_edge, start_of

pytestmark = pytest.mark.processes

SCENES = Scenes()
HELPED = Agents({"desk": Agent("desk", "Hello.", "Be brief.", numbers=("*",), fallback_number="+91 98765 43210")})


# --- 1.1 the request ---------------------------------------------------------------------------------------------


@SCENES.walk("1.1 method POST, or GET with a query")
async def _(edge: Edge, call_id: str) -> None:
    got = await edge.http.get("/answer", params=answer(call_id), headers=AGENT)
    posted = await post(edge, "/answer", answer(call_id))
    assert tags(got) == tags(posted) == ["Stream", "Redirect"]
    assert (await facts(edge, call_id))["StartApp.CallUUID"] == call_id


@SCENES.walk("1.1 content type form", "1.1 body of 469 bytes")
async def _(edge: Edge, call_id: str) -> None:
    form = urlencode(answer(call_id)).encode().ljust(469, b"&")
    headers = {**AGENT, "Content-Type": "application/x-www-form-urlencoded"}
    assert tags(await edge.http.post("/answer", content=form, headers=headers)) == ["Stream", "Redirect"]
    too_much = await edge.http.post("/answer", content=form.ljust(70_000, b"&"), headers=headers)
    assert too_much.status_code == 413


@SCENES.walk("1.1 variant JSON body")
async def _(edge: Edge, call_id: str) -> None:
    assert tags(await edge.http.post("/answer", json=answer(call_id))) == ["Stream", "Redirect"]


@SCENES.walk("9.22 answer body")
async def _(edge: Edge, call_id: str) -> None:
    """Whatever the header says of the charset; the body's parameters win over the query's."""
    headers = {**AGENT, "Content-Type": "application/json; charset=utf-8"}
    both = await edge.http.post("/answer?To=1", content=json.dumps(answer(call_id)), headers=headers)
    assert tags(both) == ["Stream", "Redirect"]
    assert (await shown(edge, call_id))["to"] == FROM


@SCENES.walk("1.1 variant multipart body")
async def _(edge: Edge, call_id: str) -> None:
    files = {name: (None, value) for name, value in answer(call_id).items()}
    assert tags(await edge.http.post("/answer", files=files)) == ["Stream", "Redirect"]


@SCENES.walk("1.1 User-Agent", "1.1 Accept-Encoding gzip")
async def _(edge: Edge, call_id: str) -> None:
    for agent in ("Vobiz", "Vobiz-Webhook/1.0", ""):
        response = await edge.http.post("/answer", data=answer(call_id), headers={**AGENT, "User-Agent": agent})
        assert tags(response) == ["Stream", "Redirect"]
        assert response.headers.get("content-encoding", "gzip") == "gzip"


@SCENES.walk("1.1 time budget", "9.15 answer time limit")
async def _(edge: Edge, call_id: str) -> None:
    """1 to 2 s, by the strictest of three pages; the summary of the test run shows how far below we are."""
    took_s = []
    for _ in range(3):  # a busy machine may be late once
        began = time.perf_counter()
        await post(edge, "/answer", answer(call_id))
        took_s.append(time.perf_counter() - began)
    assert min(took_s) < 1


def keeps(row: str, fields: dict[str, str], **known: str) -> None:
    """The call is answered with these fields, and the API shows the facts `known`."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        assert tags(await post(edge, "/answer", answer(call_id, **fields))) == ["Stream", "Redirect"]
        told = await facts(edge, call_id)
        for name, value in (known or fields).items():
            assert told[f"{fields.get('Event', 'StartApp')}.{name}"] == value


keeps("1.1 CallStatus ringing or in-progress", {"CallStatus": "ringing"})
keeps("1.1 ParentAuthID", {"ParentAuthID": "MA_XXXXXXXX"})
keeps("1.1 CallerName", {"CallerName": "Zoë & Söhne <GmbH>"})
keeps("1.1 ForwardedFrom", {"ForwardedFrom": "911234567892"})
keeps(
    "1.1 SessionStart is UTC",
    {"SessionStart": "2026-07-21 08:08:38.662991"},
    SessionStart="2026-07-21T08:08:38.662991+00:00",
)
keeps("1.1 STIRVerification and STIRAttestation", {"STIRVerification": "Not Applicable", "STIRAttestation": "A"})
keeps(
    "1.1 BillRate and TotalCost are always zero",
    {"BillRate": "0.00000", "TotalCost": "0.00000"},
    BillRate="0.00000 (always zero in webhooks)",
    TotalCost="0.00000 (always zero in webhooks)",
)
keeps("1.1 CountryCode and RouteType", {"CountryCode": "", "RouteType": "Not_Domestic"}, RouteType="Not_Domestic")
keeps("1.1 X-VH-*", {"X-VH-Ref": "abc123", "X-VH-Long": "x" * 1000})


@SCENES.walk("1.1 CallUUID", "1.1 RequestUUID, ALegUUID, ALegRequestUUID")
async def _(edge: Edge, call_id: str) -> None:
    """The token of the stream, and so `callId` on the socket, is CallUUID's, whatever the other ids are."""
    legs = {"RequestUUID": "other", "ALegUUID": "other", "ALegRequestUUID": "other"}
    stream = verbs(await post(edge, "/answer", answer(call_id, **legs)))[0]
    assert verify(SECRET, (stream.text or "").rpartition("/")[2]).call_id == call_id
    assert (await facts(edge, call_id))["StartApp.RequestUUID"] == "other"


@SCENES.walk("1.1 timestamp and auth_id")
async def _(edge: Edge, call_id: str) -> None:
    more = {"timestamp": "2026-01-15T06:19:42Z", "auth_id": "MA_YYYYYYYY"}
    await post(edge, "/answer", answer(call_id, **more))
    told = await facts(edge, call_id)
    assert told["StartApp.timestamp"] == more["timestamp"]
    assert "MA_YYYYYYYY" not in told.values()


DESKS = Agents(
    {
        name: Agent(name, greeting="Hello.", instructions="Be brief.", numbers=(number,))
        for name, number in (("called", TO), ("caller", FROM))
    }
)


@SCENES.walk("1.1 From and To in every spelling", "9.23 number format")
async def _(_: Edge, call_id: str) -> None:
    async with running_edge(DESKS) as edge:
        for place, number in enumerate((TO, f"+{TO}", "01234567890", "+91 12345 67890", "0091 1234567890")):
            asked = answer(f"{call_id}-{place}", Direction="inbound", To=number, From="0226 1264 296")
            assert tags(await post(edge, "/answer", asked)) == ["Stream", "Redirect"], number
            assert (await shown(edge, f"{call_id}-{place}"))["agent"] == "called", number


@SCENES.walk("1.1 Direction")
async def _(_: Edge, call_id: str) -> None:
    """Our number is To on an inbound call and From on an outbound one."""
    async with running_edge(DESKS) as edge:
        for direction, agent in (("inbound", "called"), ("outbound", "caller")):
            await post(edge, "/answer", answer(call_id + direction, Direction=direction, From=FROM, To=TO))
            call = await shown(edge, call_id + direction)
            assert (call["agent"], call["direction"]) == (agent, direction)


@SCENES.walk("1.1 Event StartApp, Redirect, Transfer or none")
async def _(edge: Edge, call_id: str) -> None:
    for event in ("StartApp", "Redirect", "Transfer", "MachineDetection", "Answer", ""):
        assert tags(await post(edge, "/answer", answer(call_id, Event=event))) == ["Stream", "Redirect"], event
    assert tags(await post(edge, "/answer", answer(call_id, Event="Hangup"))) == ["Hangup"]


@SCENES.walk("1.1 every parameter may be absent")
async def _(edge: Edge, call_id: str) -> None:
    full = hangup(call_id)
    for path in ("/answer", "/fallback", "/ring", "/machine", "/voicemail", "/after-stream", "/stream-status",
                 "/dial-status", "/record-status", "/hangup"):  # fmt: skip
        for name in full.keys() - {"CallUUID", "Event"}:
            await post(edge, path, {key: value for key, value in full.items() if key != name})
        await post(edge, path, {"CallUUID": call_id})
        without_id = await edge.http.post(path, data={"Event": "StartApp"})
        assert without_id.status_code in (200, 400), path
        assert without_id.status_code == 200 or without_id.json()["error"]["code"] == "bad_call_uuid"


@SCENES.walk("1.1 inbound is asked while it rings")
async def _(edge: Edge, call_id: str) -> None:
    """Nothing counts as a live call until its stream has begun; the caller may hang up first."""
    await post(edge, "/answer", answer(call_id, Direction="inbound", CallStatus="ringing"))
    assert (await shown(edge, call_id))["state"] == "new"
    await post(edge, "/hangup", hangup(call_id, CallStatus="no-answer", HangupCause="ORIGINATOR_CANCEL"))
    assert (await shown(edge, call_id))["state"] == "ended"


# --- 1.2, 1.3 the reply ------------------------------------------------------------------------------------------


@SCENES.walk("1.2 200, application/xml, one Response of at most 100 KB")
async def _(edge: Edge, call_id: str) -> None:
    for path in ("/answer", "/fallback", "/after-stream", "/voicemail", "/dial-status", "/hangup"):
        assert verbs(await post(edge, path, answer(call_id))), path


@SCENES.walk("1.2 no non-2xx for a call that can be answered somehow")
async def _(_: Edge, call_id: str) -> None:
    """Full, or without an agent: the caller hears why, and a person if there is one, instead of dead air and 7011."""
    async with running_edge(HELPED, calls_max=0) as edge:
        assert tags(await post(edge, "/answer", answer(call_id))) == ["Speak", "Dial", "Hangup"]
    async with running_edge(Agents({})) as edge:
        assert tags(await post(edge, "/answer", answer(call_id))) == ["Speak", "Hangup"]


@SCENES.walk("1.2 bad XML is never sent", "1.2 a bare & in the stream URL")
async def _(_: Edge, call_id: str) -> None:
    async with running_edge(public_url="https://voice.example.com/a&b") as edge:
        response = await post(edge, "/answer", answer(call_id, CallerName='"><&'))
        assert b"/a&amp;b/ws/" in response.content
        status_url = verbs(response)[0].get("statusCallbackUrl") or ""
        assert status_url.partition("?")[0] == "https://voice.example.com/a&b/stream-status"


def says(row: str, name: str, value: str) -> None:
    """<Stream> has this attribute, and the carrier's own reading of the document agrees with itself."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        response = await post(edge, "/answer", answer(call_id))
        assert verbs(response)[0].get(name) == value
        read_answer(response.status_code, response.headers["content-type"], response.content)


says("1.3 bidirectional", "bidirectional", "true")
says("1.3 audioTrack", "audioTrack", "inbound")
says("9.10 audio_track default", "audioTrack", "inbound")
says("1.3 keepCallAlive", "keepCallAlive", "true")
says("1.3 contentType", "contentType", "audio/x-mulaw;rate=8000")
says("1.3 maxRetries", "maxRetries", "3")


@SCENES.walk("1.3 text shape", "1.3 whitespace around the URL", "1.3 attribute shape", "9.8 Stream URL")
async def _(edge: Edge, call_id: str) -> None:
    """We write the URL as text; a carrier that reads the other shapes too reads this one."""
    response = await post(edge, "/answer", answer(call_id))
    stream = verbs(response)[0]
    assert (stream.text or "").startswith(f"ws://127.0.0.1:{edge.port}/ws/")
    assert stream.get("url") is None
    assert read_answer(200, "application/xml", response.content).url == (stream.text or "").strip()


@SCENES.walk("1.3 streamTimeout")
async def _(edge: Edge, call_id: str) -> None:
    """We end the call, not the carrier: its timeout is later than the agent's longest call."""
    assert int(verbs(await post(edge, "/answer", answer(call_id)))[0].get("streamTimeout", "0")) == 1800 + 60


@SCENES.walk("1.3 statusCallbackUrl", "1.3 statusCallbackMethod")
async def _(edge: Edge, call_id: str) -> None:
    """Stated: unset, Vobiz posts to the text `no-stream-status-callback-url`.  POST is the default; GET is served."""
    stream = verbs(await post(edge, "/answer", answer(call_id)))[0]
    url = stream.get("statusCallbackUrl", "")
    asked = f"{url}&{urlencode(answer(call_id, Event='StartStream'))}"  # the URL has a query of its own
    assert (await edge.http.get(asked)).status_code == 200
    assert (await edge.http.post(url, data=answer(call_id, Event="StopStream"))).status_code == 200
    assert stream.get("statusCallbackMethod", "POST") == "POST"


@SCENES.walk("1.3 extraHeaders", "9.9 extraHeaders")
async def _(edge: Edge, call_id: str) -> None:
    """Neither written nor waited for: the call begins with `extra_headers` of "{}", of anything, or without it."""
    assert verbs(await post(edge, "/answer", answer(call_id)))[0].get("extraHeaders") is None
    for place, value in enumerate(("{}", '{"X-VH-Ref":"1"}', None, {"a": 1})):
        begun = {**start_of(f"{call_id}-{place}"), "extra_headers": value}
        async with edge.call(f"{call_id}-{place}", begun) as caller:
            await caller.goes_on()


@SCENES.walk("1.3 query strings, length of the URL", "1.3 nesting in Record")
async def _(edge: Edge, call_id: str) -> None:
    response = await post(edge, "/answer", answer(call_id))
    url = verbs(response)[0].text or ""
    assert "?" not in url and len(url) < 200  # the secret stands in the path
    assert b"<Record" not in response.content
    async with phone(f"{url}?x=1&y=2") as caller:  # a query that somebody adds does no harm
        caller.take(edge, call_id)
        await caller.send(start_of(call_id))
        await caller.events.until(CallStarted)
        await caller.goes_on()


# --- 1.4 after the stream ----------------------------------------------------------------------------------------


@SCENES.walk("1.4 the caller hangs up")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id) as caller:
        await caller.socket.close()
        await post(edge, "/hangup", answer(call_id, Event="Hangup"))
        assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["caller hung up"]
    await until_ended(edge, call_id)
    assert tags(await post(edge, "/after-stream", answer(call_id, Event="Redirect"))) == ["Hangup"]


@SCENES.walk("1.4 we send stop")
async def _(edge: Edge, call_id: str) -> None:
    """The carrier closes the socket and asks for the document after the stream: we hang up."""
    async with Carrier(CarrierOptions(hangup_delay_ms=50, time_scale=0.01)) as carrier:
        record = carrier.phone(f"{edge.http.base_url}/answer", hangup_url=f"{edge.http.base_url}/hangup")
        while not edge.calls.get(record.call_id):
            await asyncio.sleep(0.005)
        edge.workers.publish(edge_priority(EDGE), HangUp(record.call_id, "agent hung up"))
        await record.over(10)
        assert record.verbs == ["Stream", "Redirect", "Hangup"]
        assert record.spoken == []
        assert (await shown(edge, record.call_id))["ended_because"] == "agent hung up"


@SCENES.walk("1.4 we close the socket", "1.4 fallback pattern")
async def _(_: Edge, call_id: str) -> None:
    """The stream is gone and nobody ended the call: the caller hears so, and is joined with a person."""
    async with running_edge(HELPED) as edge, edge.call(call_id) as caller:
        caller.socket.transport.abort()
        response = await post(edge, "/after-stream", answer(call_id, Event="Redirect"))
        assert tags(response) == ["Speak", "Dial", "Hangup"]
        assert [number.text for number in verbs(response)[1]] == ["+919876543210"]
        await post(edge, "/hangup", hangup(call_id))


@SCENES.walk("1.4 REST transfer closes the socket")
async def _(edge: Edge, call_id: str) -> None:
    callee = Callee(script=(Wait(5000), HangsUp()))
    async with Carrier(CarrierOptions(hangup_delay_ms=50, time_scale=0.01)) as carrier:
        record = carrier.phone(f"{edge.http.base_url}/answer", callee=callee)
        while not edge.calls.get(record.call_id):
            await asyncio.sleep(0.005)
        events = edge.follow(call_events(record.call_id))
        carrier.live[record.call_id].transfer(Target(f"{edge.http.base_url}{given('/after-stream', record.call_id)}"))
        assert [ended.reason for ended in await events.until(CallEnded)] == ["carrier"]  # its stream, and not by us
        await record.over(10)


test_set_up = SCENES.test()
