"""Whole calls of the simulated carrier over loopback: REST, webhooks, documents, streams; our own server answers."""

import asyncio
import base64
import hashlib
import hmac
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from starlette.websockets import WebSocket

from simulators.carrier import Callee, HookHabits
from simulators.lab import FROM, TO, greets, lab, person, speak, until
from simulators.script import Press, Say, Wait, WaitForAgent, WaitForHangUp
from simulators.stream import WireOptions
from simulators.voice_server import silent

pytestmark = [pytest.mark.processes, pytest.mark.anyio]


async def test_an_outbound_call_from_the_request_to_the_hangup_webhook() -> None:
    async with lab(greets, callee=person(WaitForAgent(silence_ms=50), ring_ms=500)) as it:
        it.server.documents["/answer"] = it.server.stream_xml(more=f'statusCallbackUrl="{it.server.url}/status"')
        call = await it.whole(ring_url=f"{it.server.url}/ring", hangup_url=f"{it.server.url}/hangup")

    (ring,), (answer,), (hangup,) = it.server.of("Ring"), it.server.of("StartApp"), it.server.of("Hangup")
    assert it.server.asked.index(ring) < it.server.asked.index(answer)
    assert answer.fields["CallUUID"] == hangup.fields["CallUUID"] == call.call_id
    assert (answer.fields["Direction"], answer.fields["CallStatus"]) == ("outbound", "in-progress")
    assert (answer.fields["From"], answer.fields["To"]) == (FROM, TO)
    assert (answer.headers["user-agent"], answer.headers["content-type"]) == (
        "Vobiz",
        "application/x-www-form-urlencoded",
    )
    assert (hangup.fields["HangupCauseCode"], hangup.fields["HangupSource"]) == ("4000", "Callee")
    status = [asked.fields for asked in it.server.asked if asked.path == "/status"]
    assert [fields["Event"] for fields in status] == ["StartStream", "PlayedStream"]
    assert status[0]["ServiceURL"].endswith("/ws")
    assert (status[1]["Name"], status[1]["Error"]) == ("greeting", "")
    assert call.failures == []
    assert (call.state, call.verbs) == ("completed", ["Stream"])
    assert [name for name, _ in call.streams[0].heard_checkpoints] == ["greeting"]


async def test_without_a_hangup_url_the_answer_url_hears_of_the_end() -> None:
    async with lab(callee=person(Wait(20))) as it:
        await it.whole()
    assert [(asked.path, asked.fields["Event"]) for asked in it.server.asked] == [
        ("/answer", "StartApp"),
        ("/answer", "Hangup"),
    ]


@pytest.mark.parametrize(
    ("callee", "code", "status"),
    [
        (Callee("busy"), "3010", "busy"),
        (Callee("no-answer"), "6010", "no-answer"),
        (Callee("rejects"), "3020", "failed"),
        (Callee("unallocated"), "3050", "failed"),
        (Callee("fails", code=3090), "3090", "failed"),
        (Callee(ring_ms=60_000), "6010", "no-answer"),
    ],
)
async def test_a_call_that_nobody_takes(callee: Callee, code: str, status: str) -> None:
    async with lab(callees={TO: callee}) as it:
        call = await it.whole(ring_timeout=10)
    (hangup,) = it.server.of("Hangup")
    assert (hangup.fields["HangupCauseCode"], hangup.fields["CallStatus"]) == (code, status)
    assert (hangup.fields["Duration"], "AnswerTime" in hangup.fields) == ("0", False)
    assert it.server.of("StartApp") == []
    assert call.state == status


@pytest.mark.parametrize(("does", "code"), [("busy", "3010"), ("rejects", "3020"), ("no-answer", "6010")])
async def test_the_answer_url_may_be_fetched_for_a_call_that_nobody_takes(does: str, code: str) -> None:
    async with lab(callees={TO: Callee(does, asked_early=True)}) as it:
        await it.whole(ring_timeout=10)
    assert [asked.fields["Event"] for asked in it.server.asked] == ["StartApp", "Hangup"]
    assert "AnswerTime" not in it.server.asked[1].fields
    assert it.server.asked[1].fields["HangupCauseCode"] == code


async def test_a_number_behaves_differently_at_each_call() -> None:
    async with lab(callees={f"+{TO}": (Callee("busy"), person(Wait(20)))}) as it:
        states = [(await it.whole()).state for _ in range(3)]
    assert states == ["busy", "completed", "completed"]


@pytest.mark.parametrize(("mode", "cause"), [("hangup", 9100), ("true", 4000)])
async def test_a_machine_is_found_out(mode: str, cause: int) -> None:
    stays = person(WaitForHangUp(300), does="machine", detect_ms=2000)
    async with lab(callee=stays) as it:
        call = await it.whole(machine_detection=mode, machine_detection_url=f"{it.server.url}/amd")
    (told,) = it.server.of("MachineDetection")
    assert (told.fields["Machine"], told.fields["CallUUID"]) == ("true", call.call_id)
    assert told.fields["IfMachine"] == ("hangup" if mode == "hangup" else "continue")
    assert call.cause is not None
    assert call.cause.code == cause


async def test_the_answer_url_is_asked_three_times_and_then_the_fallback_url() -> None:
    async with lab(callee=person(Wait(20))) as it:
        it.server.documents |= {"/answer": (503, ""), "/fallback": it.server.stream_xml()}
        call = await it.whole(fallback_url=f"{it.server.url}/fallback", hangup_url=f"{it.server.url}/hangup")
    assert [asked.path for asked in it.server.asked] == ["/answer"] * 3 + ["/fallback", "/hangup"]
    assert call.failures == []


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("<Response><Stream>ws://127.0.0.1:1/ws?a=1&b=2</Stream></Response>", "8011"),
        ((500, ""), "7011"),
        ("<Response><Speak>Good evening.</Speak></Response>", "4010"),
        ("<Response><Hangup/></Response>", "4000"),
        ("<Response></Response>", "4010"),
    ],
)
async def test_a_document_that_ends_the_call(document: str | tuple[int, str], code: str) -> None:
    async with lab() as it:
        it.server.documents["/answer"] = document
        await it.whole(hangup_url=f"{it.server.url}/hangup")
    assert it.server.of("Hangup")[0].fields["HangupCauseCode"] == code


async def test_when_the_agent_ends_the_stream_the_document_goes_on() -> None:
    async def says_stop(socket: WebSocket) -> None:
        await until(socket, "media")
        await socket.send_json({"event": "stop"})
        await silent(socket)

    async with lab(says_stop, degraded_after_ms=0.0) as it:
        status = f'statusCallbackUrl="{it.server.url}/status" extraHeaders="Ref=42"'
        it.server.documents["/answer"] = it.server.stream_xml(more=status, after="<Speak>Goodbye then.</Speak>")
        call = await it.whole()
    assert (call.verbs, call.spoken) == (["Stream", "Speak"], ["Goodbye then."])
    assert [asked.fields["Event"] for asked in it.server.asked if asked.path == "/status"] == [
        *("StartStream", "DegradedStream", "StopStream")
    ]
    assert it.server.of("StopStream")[0].fields["X-VH-Ref"] == "42"
    assert it.server.of("DegradedStream")[0].fields["Error"] == "connection degraded"
    assert it.server.of("Hangup")[0].fields["HangupCauseCode"] == "4010"


async def test_a_barge_in_is_told_to_the_status_callback() -> None:
    async def clears(socket: WebSocket) -> None:
        await until(socket, "start")
        await speak(socket, 2000, "never heard")
        await socket.send_json({"event": "clearAudio"})
        await until(socket, "clearedAudio")
        await socket.close()

    async with lab(clears) as it:
        it.server.documents["/answer"] = it.server.stream_xml(more=f'statusCallbackUrl="{it.server.url}/status"')
        call = await it.whole()
    assert [asked.fields["Event"] for asked in it.server.asked if asked.path == "/status"] == [
        *("StartStream", "ClearedAudio", "DroppedStream")
    ]
    (clear,) = call.streams[0].clears
    assert (clear.voided_checkpoints, clear.dropped_ms > 1500) == (1, True)


async def test_a_call_ends_at_its_time_limit() -> None:
    async with lab(callee=person(Wait(60_000))) as it:
        call = await it.whole(time_limit=20)  # 0.2 s on the carrier's clock
    assert call.cause is not None
    assert (call.cause.code, call.cause.text) == (6000, "ALLOTTED_TIMEOUT")


async def test_a_stream_without_keep_call_alive_runs_beside_the_document() -> None:
    async with lab(callee=person(Wait(60_000))) as it:
        it.server.documents["/answer"] = it.server.stream_xml('bidirectional="true"', after='<Wait length="10"/>')
        call = await it.whole()
    assert (call.verbs, len(call.streams), it.server.sockets) == (["Stream", "Wait"], 1, 1)
    assert call.cause is not None
    assert call.cause.code == 4010


async def test_a_transfer_closes_the_socket_and_runs_the_new_document() -> None:
    async with lab(callee=person(Wait(60_000))) as it:
        it.server.documents["/next"] = "<Response><Speak>One moment.</Speak><Hangup/></Response>"
        call = await it.dial()
        await it.server.until("StartApp")
        while not it.server.sockets:
            await asyncio.sleep(0.005)
        reply = await it.rest.post(f"Call/{call.call_id}/", json={"legs": "aleg", "aleg_url": f"{it.server.url}/next"})
        assert (reply.status_code, reply.json()["call_uuid"]) == (202, call.call_id)
        await call.over(10)
    (moved,) = it.server.of("Transfer")
    assert (moved.path, moved.fields["CallUUID"]) == ("/next", call.call_id)
    assert (call.spoken, len(call.streams)) == (["One moment."], 1)
    assert it.server.of("Hangup")[0].fields["HangupSource"] == "Answer XML"


async def test_the_callee_goes_on_with_the_script_on_the_next_stream() -> None:
    async def ends_the_first(socket: WebSocket) -> None:
        await until(socket, "dtmf")
        await socket.send_json({"event": "stop"})
        await silent(socket)

    script = (Press("1"), Wait(2000), Press("2"), WaitForHangUp(2000))
    async with lab(ends_the_first, callee=person(*script)) as it:
        again = it.server.stream_xml().removeprefix("<Response>").removesuffix("</Response>")
        it.server.documents["/answer"] = it.server.stream_xml(after=again)
        call = await it.whole()
    assert [[step.do for step in stream.steps] for stream in call.streams] == [
        ["press", "wait"],
        ["press", "wait-for-hang-up"],
    ]
    assert call.failures == []


async def test_a_menu_a_handover_and_a_message() -> None:
    clerk = Callee(talk_ms=5000)
    async with lab(callee=Callee(digits="1#"), callees={"911234567899": clerk}) as it:
        url = it.server.url
        it.server.documents["/answer"] = (
            f'<Response><Gather action="{url}/menu" numDigits="1"><Speak>Press one.</Speak></Gather></Response>'
        )
        it.server.documents["/menu"] = (
            f'<Response><Dial action="{url}/dialled" callbackUrl="{url}/dial"><Number>911234567899</Number></Dial>'
            "</Response>"
        )
        it.server.documents["/dialled"] = (
            f'<Response><Record maxLength="2" action="{url}/recorded" callbackUrl="{url}/file"/><DTMF>9</DTMF>'
            f"<Redirect>{url}/last</Redirect></Response>"
        )
        it.server.documents["/last"] = (
            "<Response><Conference>room</Conference><Play>http://127.0.0.1/a.mp3</Play></Response>"
        )
        call = await it.whole()
    (menu,) = [asked for asked in it.server.asked if asked.path == "/menu"]
    assert (menu.fields["Digits"], menu.fields["InputType"]) == ("1", "dtmf")
    legs = [asked.fields for asked in it.server.asked if asked.path == "/dial"]
    assert [leg["Event"] for leg in legs] == ["DialAnswer", "DialConnected", "DialHangup"]
    assert (legs[2]["DialBLegDuration"], legs[2]["DialBLegTo"]) == ("5", "911234567899")
    (dialled,) = it.server.of("DialAction")
    assert (dialled.fields["DialStatus"], dialled.fields["DialBLegUUID"]) == ("completed", legs[0]["DialBLegUUID"])
    (file,) = it.server.of("RecordStop")
    assert (file.fields["RecordingEndReason"], file.fields["CallUUID"]) == ("maxLength", call.call_id)
    assert (len(it.server.of("Redirect")), len(it.server.of("Record"))) == (2, 1)  # Gather's action and <Redirect>
    assert call.verbs == ["Gather", "Dial", "Record", "DTMF", "Redirect", "Conference", "Play"]
    assert (call.spoken, call.digits) == (["Press one.", "http://127.0.0.1/a.mp3"], ["9"])


async def test_nobody_presses_a_key() -> None:
    async with lab() as it:
        gather = f'<Gather action="{it.server.url}/menu" executionTimeout="5"/>'
        it.server.documents["/answer"] = f"<Response>{gather}<Speak>Too late.</Speak></Response>"
        call = await it.whole()
    assert (call.verbs, call.spoken) == (["Gather", "Speak"], ["Too late."])


async def test_somebody_phones_a_number_of_the_account() -> None:
    async with lab(greets) as it:
        made = await it.rest.post(
            "Application/",
            json={
                "app_name": "desk",
                "answer_url": f"{it.server.url}/answer",
                "hangup_url": f"{it.server.url}/bye",
            },
        )
        number = it.carrier.options.numbers[0]
        attached = await it.rest.post(
            f"numbers/{number.replace('+', '%2B')}/application", json={"application_id": made.json()["app_id"]}
        )
        assert (made.status_code, attached.status_code) == (201, 204)
        call = await it.carrier.phones_in("", WaitForAgent(silence_ms=50), Say("yes"), to_number=number)
    answer, hangup = it.server.asked
    assert (answer.fields["Direction"], answer.fields["CallStatus"]) == ("inbound", "ringing")
    assert "ALegRequestUUID" not in answer.fields
    assert (hangup.path, hangup.fields["HangupSource"]) == ("/bye", "Caller")
    assert [turn.text for turn in call.streams[0].turns] == ["Yes."]


async def test_an_inbound_call_that_is_refused_was_never_answered() -> None:
    async with lab() as it:
        it.server.documents["/answer"] = '<Response><Hangup reason="busy"/></Response>'
        call = await it.carrier.phones_in(f"{it.server.url}/answer")
    assert (call.state, call.answered_ms) == ("busy", None)


async def test_webhooks_are_signed_over_the_url_without_its_query_with_both_tokens() -> None:
    async with lab(callee=person(Wait(20)), parent_auth_id="MA_XXXXXXXX", parent_token="parents") as it:
        await it.whole(answer_url=f"{it.server.url}/answer?tenant=7")
    asked = it.server.of("StartApp")[0]
    address = f"{it.server.url}/answer"
    for version, joint in (("v2", ""), ("v3", ".")):
        nonce = asked.headers[f"x-vobiz-signature-{version}-nonce"]
        assert (len(nonce), nonce.isdigit()) == (20, True)
        for name, token in ((version, b"simulated-token"), (f"ma-{version}", b"parents")):
            digest = hmac.new(token, f"{address}{joint}{nonce}".encode(), hashlib.sha256).digest()
            assert asked.headers[f"x-vobiz-signature-{name}"] == base64.b64encode(digest).decode()
    nonces = [each.headers["x-vobiz-signature-v3-nonce"] for each in it.server.asked]
    assert len(set(nonces)) == len(nonces)


@pytest.mark.parametrize("signing", ["wrong", "none"])
async def test_webhooks_that_are_not_signed_rightly(signing: str) -> None:
    async with lab(callee=person(Wait(20)), hooks=HookHabits(signing=signing)) as it:  # type: ignore[arg-type]
        await it.whole()
    asked = it.server.asked[0]
    given = asked.headers.get("x-vobiz-signature-v3")
    if signing == "none":
        assert given is None
        return
    nonce = asked.headers["x-vobiz-signature-v3-nonce"]
    parts = urlsplit(it.server.url)
    signed = f"{parts.scheme}://{parts.netloc}/answer.{nonce}"
    right = hmac.new(b"simulated-token", signed.encode(), hashlib.sha256).digest()
    assert given != base64.b64encode(right).decode()


@pytest.mark.parametrize(("body", "kind"), [("json", "application/json"), ("multipart", "multipart/form-data")])
async def test_webhooks_in_other_bodies(body: str, kind: str) -> None:
    async with lab(callee=person(Wait(20)), hooks=HookHabits(body=body)) as it:  # type: ignore[arg-type]
        call = await it.whole()
    assert it.server.asked[0].headers["content-type"].startswith(kind)
    assert it.server.asked[0].fields["CallUUID"] == call.call_id


async def test_an_answer_by_get_has_its_parameters_in_the_query() -> None:
    async with lab(callee=person(Wait(20))) as it:
        call = await it.whole(answer_method="GET", answer_url=f"{it.server.url}/answer?tenant=7")
    asked = it.server.of("StartApp")[0]
    assert (asked.method, asked.body) == ("GET", b"")
    assert (asked.fields["tenant"], asked.fields["CallUUID"]) == ("7", call.call_id)


async def test_reports_are_sent_again_until_somebody_says_200() -> None:
    async with lab(callee=person(Wait(20))) as it:
        it.server.documents["/hangup"] = [(500, ""), (404, ""), "<Response/>"]
        call = await it.whole(hangup_url=f"{it.server.url}/hangup")
        assert [tried.status for tried in call.hooks("hangup")[0].tries] == [500, 404, 200]
        it.server.documents["/hangup"] = (500, "")
        call = await it.whole(hangup_url=f"{it.server.url}/hangup")
    assert [tried.status for tried in call.hooks("hangup")[0].tries] == [500, 500, 500]


async def test_reports_come_twice_and_overtake_each_other() -> None:
    habits = HookHabits(doubled=frozenset({"hangup"}), shuffle_ms=2000, seed=3)
    async with lab(greets, callee=person(Wait(150)), hooks=habits) as it:
        it.server.documents["/answer"] = it.server.stream_xml(more=f'statusCallbackUrl="{it.server.url}/status"')
        call = await it.whole(ring_url=f"{it.server.url}/ring")
    assert len(it.server.of("Hangup")) == 2
    due = [webhook.fields["Event"] for webhook in call.webhooks if webhook.kind != "answer"]
    came = [asked.fields["Event"] for asked in it.server.asked if asked.fields["Event"] != "StartApp"]
    assert sorted(due) == sorted(came)


async def test_a_broken_stream_is_opened_again_as_the_same_call() -> None:
    starts = []

    async def drops_once(socket: WebSocket) -> None:
        starts.append((await until(socket, "start"))["start"])
        if len(starts) == 1:
            await socket.close(1011)
            return
        await speak(socket, 60)
        await silent(socket)

    async with lab(drops_once, callee=person(WaitForAgent(silence_ms=20))) as it:
        more = f'maxRetries="2" statusCallbackUrl="{it.server.url}/status"'
        it.server.documents["/answer"] = it.server.stream_xml(more=more)
        call = await it.whole()
    assert starts[0]["callId"] == starts[1]["callId"] == call.call_id
    assert starts[0]["streamId"] != starts[1]["streamId"]
    assert [asked.fields["Event"] for asked in it.server.asked if asked.path == "/status"] == [
        *("StartStream", "DroppedStream", "StartStream")
    ]
    assert call.failures == []


async def test_a_stream_that_is_refused_leaves_the_rest_of_the_document() -> None:
    async with lab() as it:
        gone = "ws://127.0.0.1:1/ws</Stream><Speak>Sorry.</Speak>"
        it.server.documents["/answer"] = (
            f'<Response><Stream bidirectional="true" keepCallAlive="true">{gone}</Response>'
        )
        call = await it.whole()
    assert call.spoken == ["Sorry."]
    assert call.failures == ["the media stream was refused: ConnectionRefusedError"]


async def test_many_calls_side_by_side_cost_little_and_are_on_time() -> None:
    callee = person(WaitForAgent(silence_ms=50), Wait(300))
    async with lab(greets, callee=callee, wire_options=WireOptions(light=True)) as it:
        calls = [await it.dial() for _ in range(20)]
        for call in calls:
            await call.over(10)
        load = it.carrier.load()
    assert [call.failures for call in calls] == [[]] * 20
    spans = [call.streams[0].agent_spans_ms for call in calls]
    assert all(sum(end - start for start, end in span) == pytest.approx(100, abs=30) for span in spans)
    assert load["calls_ended"] == 20
    frames = [call.streams[0].frames_sent for call in calls]
    assert all(later - earlier < 60 for earlier, later in pairwise(sorted(frames)))
