"""The simulated carrier's REST API and side door over loopback."""

import asyncio
from typing import Any

import httpx
import pytest

from simulators.carrier import CallRecord
from simulators.lab import FROM, TO, Lab, lab, person
from simulators.script import Wait
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

STAYS = person(Wait(60_000))


async def up(it: Lab, **more: Any) -> CallRecord:
    """A call whose stream is open."""
    sockets = it.server.sockets
    call = await it.dial(**more)
    async with asyncio.timeout(WAIT_S):
        while it.server.sockets == sockets:
            await asyncio.sleep(0.005)
    return call


async def test_who_is_nobody_gets_401_in_any_form_of_credentials() -> None:
    async with lab() as it:
        base = f"{it.carrier.api_url}/Account/MA_XXXXXXXX/Call/?status=live"
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            for auth in (None, ("MA_XXXXXXXX", "wrong"), ("SA_XXXXXXXX", "simulated-token")):
                refused = await client.get(base, auth=auth) if auth else await client.get(base)
                assert (refused.status_code, refused.json()) == (401, {"error": "invalid credentials"})
            for path in ("/Account/MA_XXXXXXXX/Call/", "/account/MA_XXXXXXXX/call", "/ACCOUNT/MA_XXXXXXXX/Call"):
                url = f"{it.carrier.api_url}{path}?status=live"
                assert (await client.get(url, auth=("MA_XXXXXXXX", "simulated-token"))).json()["calls"] == []
            foreign = base.replace("MA_XXXXXXXX", "MA_YYYYYYYY")
            assert (await client.get(foreign, auth=("MA_XXXXXXXX", "simulated-token"))).status_code == 401


async def test_a_call_that_is_up_is_listed_described_and_hung_up_once() -> None:
    async with lab(callee=STAYS) as it:
        call = await up(it, caller_name="Acme")
        assert (await it.rest.get("Call/?status=live")).json()["calls"] == [call.call_id]
        assert (await it.rest.get("Call/?status=queued")).json()["calls"] == []
        assert (await it.rest.get("Call/")).status_code == 400
        details = (await it.rest.get(f"Call/{call.call_id}/?status=live")).json()
        assert (details["call_status"], details["caller_name"], details["from"]) == ("in-progress", "Acme", FROM)
        concurrency = (await it.rest.get("concurrency")).json()
        assert (concurrency["concurrent_calls"], concurrency["utilization_pct"]) == (1, 0.1)
        codes = [(await it.rest.delete(f"Call/{call.call_id}/")).status_code for _ in range(2)]
        await call.over(5)
        codes.append((await it.rest.delete(f"Call/{call.call_id}")).status_code)
        assert codes == [204, 404, 404]
        assert (await it.rest.get(f"Call/{call.call_id}/?status=live")).status_code == 404
        (row,) = (await it.rest.get("cdr")).json()["data"]
        assert (row["uuid"], row["hangup_source"], len(row["stream_cdrs"])) == (call.call_id, "API Request", 1)
        assert (await it.rest.get(f"cdr/{call.call_id}")).json()["data"]["hangup_cause_code"] == 4000
    assert [request.method for request in call.requests] == ["POST", "GET", "DELETE", "GET"]


async def test_a_call_that_rings_is_cancelled() -> None:
    async with lab(callees={TO: person(ring_ms=100_000)}) as it:
        call = await it.dial(ring_url=f"{it.server.url}/ring")
        await it.server.until("Ring")
        assert (await it.rest.delete(f"Call/{call.call_id}/")).status_code == 204
        await call.over(5)
    assert (call.state, it.server.of("Hangup")[0].fields["HangupCause"]) == ("cancel", "ORIGINATOR_CANCEL")


async def test_everything_that_can_be_done_to_a_live_call() -> None:
    async with lab(callee=STAYS) as it:
        call = await up(it)
        at = f"Call/{call.call_id}"
        spoken = await it.rest.post(f"{at}/Speak/", json={"text": "Hello"})
        played = await it.rest.post(f"{at}/Play/", json={"urls": ["http://127.0.0.1/a.mp3"]})
        pressed = await it.rest.post(f"{at}/DTMF/", json={"digits": "1w2#"})
        assert [reply.status_code for reply in (spoken, played, pressed)] == [202, 202, 202]
        assert (await it.rest.post(f"{at}/DTMF/", json={"digits": "abc"})).status_code == 400
        assert (await it.rest.delete(f"{at}/Speak/")).status_code == 204

        callback = {"callback_url": f"{it.server.url}/file", "file_format": "wav"}
        recording = (await it.rest.post(f"{at}/Record/", json=callback)).json()
        assert recording["message"] == "recording started"
        assert (await it.rest.delete(f"{at}/Record/")).status_code == 204
        assert (await it.rest.delete(f"{at}/Record/")).status_code == 404
        assert (await it.rest.get(recording["url"])).content.startswith(b"RIFF")
        assert (await it.rest.get("Recording/")).json()["meta"]["total_count"] == 1
        assert (await it.rest.delete(f"Recording/{recording['recording_id']}/")).status_code == 204
        await it.rest.delete(f"{at}/")
        await call.over(5)
    assert (call.spoken, call.digits) == (["Hello", "http://127.0.0.1/a.mp3"], ["1w2#"])
    (told,) = [asked.fields for asked in it.server.asked if asked.path == "/file"]
    assert (told["recording_id"], told["call_uuid"]) == (recording["recording_id"], call.call_id)


async def test_a_second_stream_by_rest_is_two_way_only_for_the_string_true() -> None:
    async with lab(callee=STAYS) as it:
        call = await up(it)
        at = f"Call/{call.call_id}/Stream/"
        service = {"service_url": it.server.url.replace("http", "ws") + "/ws", "audio_track": "inbound"}
        first = (await it.rest.post(at, json={**service, "bidirectional": True})).json()
        second = (await it.rest.post(at, json={**service, "bidirectional": "true"})).json()
        assert (await it.rest.post(at, json={"service_url": "http://127.0.0.1/"})).status_code == 400
        two_way = {entry["stream_id"]: entry["bidirectional"] for entry in (await it.rest.get(at)).json()["objects"]}
        assert (two_way[first["stream_id"]], two_way[second["stream_id"]]) == (False, True)
        assert (await it.rest.delete(f"{at}{second['stream_id']}/")).status_code == 204
        async with asyncio.timeout(WAIT_S):
            while (await it.rest.get(f"{at}{second['stream_id']}/")).json()["status"] != "completed":
                await asyncio.sleep(0.005)
        assert call.live
        assert (await it.rest.delete(at)).status_code == 204  # all the others: the document ends with its stream
        await call.over(5)
    assert call.cause is not None
    assert call.cause.code == 4010


@pytest.mark.parametrize("name", ["audio_format", "content_type"])
async def test_a_stream_by_rest_takes_its_format_under_either_name(name: str) -> None:
    """The vendor's guide and its reference differ here; a format that neither knows is refused under both."""
    async with lab(callee=STAYS) as it:
        call = await up(it)
        at = f"Call/{call.call_id}/Stream/"
        service = {"service_url": it.server.url.replace("http", "ws") + "/ws", "audio_track": "inbound"}
        asked = [("audio/x-l16; rate=16000", "audio/x-l16;rate=16000"), ("audio/x-mulaw;rate=8000",) * 2]
        for given, kept in asked:
            reply = await it.rest.post(at, json={**service, name: given})
            assert reply.status_code == 202, reply.text
            stream = (await it.rest.get(f"{at}{reply.json()['stream_id']}/")).json()
            assert (stream["content_type"], stream["sampling_rate"]) == (kept, int(kept.partition("rate=")[2]))
        refused = await it.rest.post(at, json={**service, name: "audio/ogg"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "content_type is not supported")


async def test_a_list_of_numbers_makes_a_list_of_calls() -> None:
    async with lab(callee=person(Wait(20))) as it:
        body = {"from": FROM, "to": f"{TO}<911234567892", "answer_url": f"{it.server.url}/answer"}
        reply = await it.rest.post("Call/", json=body)
        ids = reply.json()["request_uuid"]
        for call_id in ids:
            await it.carrier.calls[call_id].over(5)
    assert [it.carrier.calls[call_id].to_number for call_id in ids] == [TO, "911234567892"]


async def test_a_trial_account_is_told_to_slow_down() -> None:
    async with lab(callee=STAYS, cps=1) as it:
        await it.dial()
        body = {"from": FROM, "to": TO, "answer_url": f"{it.server.url}/answer"}
        refused = await it.rest.post("Call/", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["details"]["limitType"] == "cps"
    assert len(it.carrier.calls) == 1


async def test_bad_parameters_come_back_in_all_three_shapes() -> None:
    async with lab() as it:
        bodies = [(await it.rest.post("Call/", json={"from": FROM})).json() for _ in range(3)]
        broken = await it.rest.post("Call/", content=b"{")
    assert bodies[0]["error"]["message"] == bodies[1]["error"] == bodies[2]["message"] == "to is required"
    assert broken.status_code == 400


async def test_faults_made_to_order() -> None:
    async with lab(callee=STAYS) as it:
        body = {"from": FROM, "to": TO, "answer_url": f"{it.server.url}/answer"}
        order = f"{it.carrier.url}/_faults"
        for kind in ("429", "500", "503"):
            await it.rest.post(order, json={"kind": kind, "next": 2, "path": "call", "method": "POST", "shape": 1})
            for _ in range(2):
                refused = await it.rest.post("Call/", json=body)
                assert (refused.status_code, refused.json()) == (int(kind), {"error": "a fault made to order"})
        assert it.carrier.calls == {}

        await it.rest.post(order, json={"kind": "malformed"})
        reply = await it.rest.post("Call/", json=body)
        with pytest.raises(ValueError, match="Unterminated"):
            reply.json()
        assert len(it.carrier.calls) == 1

        for kind, calls in (("timeout-before", 1), ("timeout-after", 2)):
            await it.rest.post(order, json={"kind": kind})
            with pytest.raises(httpx.ReadTimeout):
                await it.rest.post("Call/", json=body, timeout=0.2)
            assert len(it.carrier.calls) == calls
        assert (await it.rest.post(order, json={"kind": "418"})).status_code == 400


async def test_applications_and_numbers() -> None:
    async with lab() as it:
        wanted = {"app_name": "desk", "answer_url": "https://voice.example.com/answer"}
        app_id = (await it.rest.post("Application/", json=wanted)).json()["app_id"]
        assert (await it.rest.post("Application/", json=wanted)).status_code == 409
        changed = await it.rest.post(f"Application/{app_id}/", json={"hangup_url": "https://voice.example.com/bye"})
        assert (changed.status_code, changed.json()["message"]) == (202, "changed")
        (listed,) = (await it.rest.get("Application/")).json()["objects"]
        assert listed["hangup_url"] == "https://voice.example.com/bye"
        number = "numbers/%2B911234567890/application"
        assert (await it.rest.post(number, json={"application_id": app_id})).status_code == 204
        (item,) = (await it.rest.get("numbers")).json()["items"]
        assert (item["e164"], item["application_id"]) == ("+911234567890", app_id)
        assert (await it.rest.delete(f"Application/{app_id}/")).status_code == 409
        assert (await it.rest.delete(number)).status_code == 204
        assert (await it.rest.delete(f"Application/{app_id}/")).status_code == 204
        assert (await it.rest.get(f"Application/{app_id}/")).status_code == 404


async def test_the_tester_tells_who_answers_and_reads_what_happened() -> None:
    async with lab() as it:
        side = it.carrier.url
        told = [{"number": TO, "does": "busy"}, {"number": "*", "does": "rejects"}]
        assert (await it.rest.post(f"{side}/_callees", json=told)).status_code == 204
        assert (await it.whole()).state == "busy"
        assert (await it.whole(to="911234567892")).state == "failed"
        script = [{"do": "wait", "ms": 20}]
        made = await it.rest.post(f"{side}/_phone_in", json={"answer_url": f"{it.server.url}/answer", "script": script})
        call_id = made.json()["call_uuid"]
        await it.carrier.calls[call_id].over(5)
        seen = (await it.rest.get(f"{side}/_calls/{call_id}")).json()
        assert (seen["direction"], seen["cause"]["code"], len(seen["streams"])) == ("inbound", 4000, 1)
        assert len((await it.rest.get(f"{side}/_calls")).json()["calls"]) == 3
        assert (await it.rest.post(f"{side}/_callees", json={"does": "busy"})).status_code == 400
