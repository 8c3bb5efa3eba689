"""Section 3: our client of the REST API, against the simulated carrier, or a stand-in where the carrier is too tame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.errors import CarrierError, CarrierLimited, Refused, Unauthorized, Unavailable, Uncertain
from edge.vobiz.rest.requests import ApplicationRequest, CallRequest, MachineDetection, RecordRequest, StreamRequest
from edge.vobiz.rest.transport import CarrierOptions as Account
from simulators.carrier import Carrier, CarrierOptions
from simulators.carrier.refusals import RequestFault
from tests.e2e.loopback_edge import FROM, TO
from tests.unit.edge.vobiz.rest_standin import Line, Reply, on_the_line

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

URL = "https://voice.example.com"
NUMBER = "+911234567890"
APPLICATION = ApplicationRequest(app_name="desk", answer_url=f"{URL}/answer", hangup_url=f"{URL}/hangup")
STAYS = b'<?xml version="1.0"?><Response><Wait length="600"/></Response>'  # an answer that keeps the call up without us


@dataclass
class Office:
    """The account's owner: a client, the carrier, and a call on request."""

    carrier: Carrier
    client: VobizClient

    async def call(self, **how: Any) -> str:
        """A call that is up and stays so."""
        (call_id,) = await self.client.make_call(
            CallRequest(from_number=FROM, to=TO, answer_url=self.answer_url, **how)
        )
        record = self.carrier.calls[call_id]
        while record.state != "in-progress" or not record.verbs:
            await self.client.live_calls()
        return call_id

    answer_url = ""


Walk: TypeAlias = Callable[[Office], Awaitable[None]]
TranscriptTurn: TypeAlias = Callable[[Line], Awaitable[None]]
WITH_CARRIER: dict[str, Walk] = {}
WITH_STANDIN: dict[str, TranscriptTurn] = {}


def walk(*rows: str) -> Callable[[Walk], Walk]:
    def register(step: Walk) -> Walk:
        WITH_CARRIER.update(dict.fromkeys(rows, step))
        return step

    return register


def exchange(*rows: str) -> Callable[[TranscriptTurn], TranscriptTurn]:
    def register(step: TranscriptTurn) -> TranscriptTurn:
        WITH_STANDIN.update(dict.fromkeys(rows, step))
        return step

    return register


@asynccontextmanager
async def office(**options: Any) -> AsyncIterator[Office]:
    """A carrier, and a server that answers every call with a long wait."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
            fixed = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n"
            writer.write(fixed + b"Content-Length: %d\r\n\r\n" % len(STAYS) + STAYS)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    try:
        async with Carrier(CarrierOptions(hangup_delay_ms=1, **options)) as carrier:
            account = Account(carrier.options.auth_id, carrier.options.auth_token, carrier.api_url)
            async with VobizClient(account) as client:
                made = Office(carrier, client)
                made.answer_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/answer"
                yield made
    finally:
        server.close()


# --- 3, 3.1 a call -----------------------------------------------------------------------------------------------


@exchange("3 headers and Basic", "3 paths")
async def _(line: Line) -> None:
    """X-Auth headers, JSON both ways, PascalCase with the last slash."""
    line.vobiz.will(Reply(201, {"request_uuid": "c-1"}), Reply(204))
    await line.client.make_call(CallRequest(from_number=FROM, to=TO, answer_url=f"{URL}/answer"))
    await line.client.hang_up("c-1")
    assert line.vobiz.asked == [
        "POST /api/v1/Account/MA_XXXXXXXX/Call/",
        "DELETE /api/v1/Account/MA_XXXXXXXX/Call/c-1/",
    ]
    headers = line.vobiz.requests[0].headers
    assert (headers["x-auth-id"], headers["accept"]) == ("MA_XXXXXXXX", "application/json")
    assert headers["content-type"] == "application/json"
    assert headers["x-auth-token"]


FULL = CallRequest(
    from_number=FROM, to=TO, answer_url=f"{URL}/answer", ring_url=f"{URL}/ring", hangup_url=f"{URL}/hangup",
    fallback_url=f"{URL}/fallback", caller_name="Acme", send_digits="wwww2410", send_on_preanswer=False,
    time_limit_s=14_400, ring_timeout_s=45, hangup_on_ring_s=0, sip_headers={"X-Ref": "abc123"},
    machine_detection=MachineDetection.for_agents(f"{URL}/amd"),
)  # fmt: skip
DOCUMENTED = {
    "from": FROM, "to": TO, "answer_url": f"{URL}/answer", "answer_method": "POST", "ring_url": f"{URL}/ring",
    "ring_method": "POST", "hangup_url": f"{URL}/hangup", "hangup_method": "POST", "fallback_url": f"{URL}/fallback",
    "fallback_method": "POST", "caller_name": "Acme", "send_digits": "wwww2410", "send_on_preanswer": False,
    "time_limit": 14_400, "ring_timeout": 45, "hangup_on_ring": 0, "machine_detection": "true",
    "machine_detection_time": 4000, "machine_detection_maximum_speech_length": 4000,
    "machine_detection_initial_silence": 2500, "machine_detection_maximum_words": 5,
    "machine_detection_initial_greeting": 4000, "machine_detection_url": f"{URL}/amd",
    "machine_detection_method": "POST", "sip_headers": "X-Ref=abc123",
}  # fmt: skip


@walk("3.1 full request")
async def _(at: Office) -> None:
    (call_id,) = await at.client.make_call(FULL)
    assert at.carrier.requests[-1].body == DOCUMENTED
    assert at.carrier.calls[call_id].to_number == TO


@walk("3.1 list of callees", "3.5 to list of 1000")
async def _(at: Office) -> None:
    two = CallRequest(from_number=FROM, to=(TO, FROM), answer_url=f"{URL}/answer")
    assert len(set(await at.client.make_call(two))) == 2
    with pytest.raises(ValueError, match="1000"):
        CallRequest(from_number=FROM, to=(TO,) * 1001, answer_url=f"{URL}/answer")


@walk("3.1 no blind retry")
async def _(at: Office) -> None:
    """The answer is lost: nobody rings twice, and it is not called a failure either."""
    at.carrier.faults.add(RequestFault("malformed", "/call/", "POST"), 1)
    with pytest.raises(Uncertain):
        await at.client.make_call(CallRequest(from_number=FROM, to=TO, answer_url=f"{URL}/answer"))
    assert len(at.carrier.calls) == 1
    at.carrier.faults.add(RequestFault("timeout-after", "/call/", "POST"), 1)
    hasty = Account(at.carrier.options.auth_id, at.carrier.options.auth_token, at.carrier.api_url, total_s=0.2)
    async with VobizClient(hasty) as client:
        with pytest.raises(Uncertain):
            await client.make_call(CallRequest(from_number=FROM, to=TO, answer_url=f"{URL}/answer"))
    assert len(at.carrier.calls) == 2


@exchange("3.1 201 or 200, any message", "9.12 make-call status", "3.1 request_uuid and its other names")
async def _(line: Line) -> None:
    replies = [Reply(201, {"message": "call fired", "request_uuid": "c-1"}),
               Reply(200, {"message": "Call fired", "request_uuid": ["c-1"]}),
               *(Reply(202, {name: "c-1"}) for name in ("call_uuid", "CallUUID", "callUuid"))]  # fmt: skip
    line.vobiz.will(*replies)
    for _ in replies:
        placed = await line.client.make_call(CallRequest(from_number=FROM, to=TO, answer_url=f"{URL}/answer"))
        assert placed == ("c-1",)


@exchange("3.1 errors", "3.5 status codes")
async def _(line: Line) -> None:
    kinds = {400: Refused, 401: Unauthorized, 402: Refused, 403: Unauthorized, 404: Refused, 409: Refused,
             422: Refused, 429: CarrierLimited, 500: Uncertain, 502: Uncertain, 503: Unavailable}  # fmt: skip
    for status, kind in kinds.items():
        line.vobiz.will(Reply(status, {"error": "no"}, {"Retry-After": "60"}))
        with pytest.raises(kind):
            await line.client.make_call(CallRequest(from_number=FROM, to=TO, answer_url=f"{URL}/answer"))
        assert line.vobiz.requests[-1].method == "POST"
    assert len(line.vobiz.requests) == len(kinds)  # told to wait a minute, the client waits for nobody


# --- 3.2 a live call ---------------------------------------------------------------------------------------------


@walk("3.2 Hang up")
async def _(at: Office) -> None:
    call_id = await at.call()
    assert await at.client.hang_up(call_id) is True
    assert await at.client.hang_up(call_id) is False
    record = await at.carrier.calls[call_id].over(10)
    assert record.cause is not None
    assert (record.cause.code, record.cause.source) == (4000, "API Request")


@walk("3.2 Transfer")
async def _(at: Office) -> None:
    call_id = await at.call()
    await at.client.transfer(call_id, aleg_url=f"{at.answer_url}?again=1")
    while not at.carrier.calls[call_id].hooks("transfer"):
        await at.client.live_calls()
    (webhook,) = at.carrier.calls[call_id].hooks("transfer")
    assert (webhook.fields["Event"], webhook.url) == ("Transfer", f"{at.answer_url}?again=1")


@walk("3.2 Play", "9.13 Play urls")
async def _(at: Office) -> None:
    call_id = await at.call()
    await at.client.play(call_id, [f"{URL}/a.mp3", f"{URL}/b.mp3"])
    assert at.carrier.requests[-1].body["urls"] == f"{URL}/a.mp3,{URL}/b.mp3"
    assert at.carrier.requests[-1].status == 202
    await at.client.stop_play(call_id)
    assert at.carrier.requests[-1].status == 204


@walk("3.2 Speak")
async def _(at: Office) -> None:
    call_id = await at.call()
    await at.client.speak(call_id, "Hello.", voice="MAN", language="en-IN")
    body = {"text": "Hello.", "voice": "MAN", "language": "en-IN", "legs": "aleg", "loop": False, "mix": True}
    assert at.carrier.requests[-1].body == body
    await at.client.stop_speak(call_id)


@walk("3.2 DTMF")
async def _(at: Office) -> None:
    call_id = await at.call()
    await at.client.send_digits(call_id, "1w2#")
    assert at.carrier.calls[call_id].digits == ["1w2#"]


@walk("3.2 Record", "3.3 Recordings")
async def _(at: Office) -> None:
    """A limit is always stated: Vobiz's own is 60 s."""
    call_id = await at.call()
    told = await at.client.start_record(call_id, RecordRequest(callback_url=f"{URL}/record-status"))
    assert at.carrier.requests[-1].body["time_limit"] == 14_400
    assert told["recording_id"]
    await at.client.stop_record(call_id)
    assert [told["recording_id"]] == [found["recording_id"] for found in await at.client.recordings()]


STREAM = StreamRequest(service_url="ws://127.0.0.1:9/ws", status_callback_url=f"{URL}/stream-status")


@walk("3.2 Start stream", "3.2 List and get streams", "3.2 Stop streams", "3.2 bidirectional is a text")
async def _(at: Office) -> None:
    call_id = await at.call()
    stream_id = await at.client.start_stream(call_id, STREAM)
    body = at.carrier.requests[-1].body
    assert (body["bidirectional"], body["audio_track"], body["content_type"]) == (
        *("true", "inbound", "audio/x-mulaw;rate=8000"),
    )
    (listed,) = await at.client.list_streams(call_id)
    got = await at.client.get_stream(call_id, stream_id)
    assert (got["stream_id"], got["service_url"]) == (listed["stream_id"], "ws://127.0.0.1:9/ws")
    assert listed["bidirectional"] is True
    if listed["status"] == "in-progress":
        await at.client.stop_stream(call_id, stream_id)
        assert at.carrier.requests[-1].status == 204


# --- 3.3 questions -----------------------------------------------------------------------------------------------


@walk("3.3 live calls", "3.3 details, 404 once ended", "3.3 concurrency", "3.3 CDR of one call", "3.3 CDR")
async def _(at: Office) -> None:
    call_id = await at.call()
    assert await at.client.live_calls() == [call_id]
    assert (await at.client.call_details(call_id))["call_status"] == "in-progress"
    assert (await at.client.concurrency())["concurrent_calls"] == 1
    with pytest.raises(Refused, match="404"):
        await at.client.cdr_of(call_id)
    await at.client.hang_up(call_id)
    await at.carrier.calls[call_id].over(10)
    with pytest.raises(Refused, match="404"):
        await at.client.call_details(call_id)
    while not (page := await at.client.cdr())["data"]:
        await at.client.live_calls()
    assert page["pagination"]["page"] == 1
    assert (await at.client.cdr_of(call_id))["hangup_cause_code"] == page["data"][0]["hangup_cause_code"]


@walk("3.3 queued calls")
async def _(at: Office) -> None:
    assert await at.client.queued_calls() == []
    assert at.carrier.requests[-1].path.endswith("/Call/")


@walk("3.3 auth/me")
async def _(at: Office) -> None:
    assert (await at.client.account())["auth_id"] == at.carrier.options.auth_id
    async with VobizClient(Account(at.carrier.options.auth_id, "wrong", at.carrier.api_url)) as stranger:
        with pytest.raises(Unauthorized):
            await stranger.account()


# --- 3.4 applications and numbers --------------------------------------------------------------------------------


@walk("3.4 applications", "3.4 409 while numbers are attached", "3.4 attach and detach", "3.4 numbers")
async def _(at: Office) -> None:
    app_id = await at.client.create_application(APPLICATION)
    (listed,) = await at.client.applications()
    assert (listed["app_id"], listed["app_name"], listed["answer_url"]) == (app_id, "desk", f"{URL}/answer")
    await at.client.update_application(app_id, ApplicationRequest(app_name="desk", answer_url=f"{URL}/other"))
    assert (await at.client.applications())[0]["answer_url"] == f"{URL}/other"
    await at.client.attach_number("91 12345 67890", app_id)
    assert [number["application_id"] for number in await at.client.numbers("1234567890")] == [app_id]
    with pytest.raises(Refused) as refused:
        await at.client.delete_application(app_id)
    assert refused.value.status == 409
    await at.client.detach_number(NUMBER)
    await at.client.delete_application(app_id)
    assert await at.client.applications() == []


@walk("3.4 cool-off")
async def _(at: Office) -> None:
    app_id = await at.client.create_application(APPLICATION)
    at.carrier.account.cooling.add(NUMBER)
    with pytest.raises(Refused, match="did_cool_off_in_effect"):
        await at.client.attach_number(NUMBER, app_id)


# --- 3.5 errors and limits ---------------------------------------------------------------------------------------

SHAPES: dict[str, Any] = {
    "3.5 error with details": {
        "status": "error",
        "error": {"code": "RATE_LIMIT_EXCEEDED", "message": "the reason", "details": {"retryAfter": 7}},
    },
    "3.5 error as text": {"error": "the reason"},
    "3.5 error with api_id": {"api_id": "a", "error": "not found", "message": "the reason"},
}


def shaped(row: str, *bodies: Any) -> None:
    @exchange(row)
    async def _(line: Line) -> None:
        for body in bodies:
            line.vobiz.will(Reply(400, body))
            with pytest.raises(Refused, match="the reason"):
                await line.client.live_calls()


for _row, _body in SHAPES.items():
    shaped(_row, _body)
shaped("9.19 error bodies", *SHAPES.values())


@exchange("3.5 Retry-After")
async def _(line: Line) -> None:
    """In the header, or in the body, or nowhere."""
    line.vobiz.will(Reply(429, {"error": "slow"}, {"Retry-After": "2"}), Reply(200, {"calls": []}))
    await line.client.live_calls()
    line.vobiz.will(Reply(429, SHAPES["3.5 error with details"]))
    with pytest.raises(CarrierLimited) as limited:
        await line.client.live_calls()
    assert limited.value.retry_after_s == 7
    line.vobiz.will(Reply(429, {"error": "slow"}), Reply(200, {"calls": []}))
    await line.client.live_calls()
    assert [round(pause, 1) // 1 for pause in line.pauses] == [2, 1]


def limited(row: str, **options: Any) -> None:
    """The second call at once is one too many."""

    @walk(row)
    async def _(at: Office) -> None:
        async with office(**options) as small:
            await small.call()
            with pytest.raises(CarrierError) as error:
                once = Account(small.carrier.options.auth_id, small.carrier.options.auth_token, small.carrier.api_url,
                               attempts_max=1)  # fmt: skip
                async with VobizClient(once) as client:
                    await client.make_call(CallRequest(from_number=FROM, to=TO, answer_url=small.answer_url))
            assert isinstance(error.value, CarrierLimited)
            assert error.value.retry_after_s == 1


limited("3.5 CPS", cps=1)
limited("3.5 concurrent calls", calls_max=1)


@pytest.mark.parametrize("row", list(WITH_CARRIER))
async def test_rest(row: str) -> None:
    async with office() as at:
        await WITH_CARRIER[row](at)


@pytest.mark.parametrize("row", list(WITH_STANDIN))
async def test_rest_wire(row: str) -> None:
    async with on_the_line() as line:
        await WITH_STANDIN[row](line)
