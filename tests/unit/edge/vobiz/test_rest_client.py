"""The client of Vobiz's REST API against a stand-in: what is sent, what is repeated, and what each answer becomes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.vobiz.rest.errors import MESSAGE_CHARS_MAX, CarrierLimited, Refused, Unauthorized, Unavailable, Uncertain
from edge.vobiz.rest.requests import CallRequest, MachineDetection
from edge.vobiz.rest.transport import ATTEMPTS_MAX, BODY_BYTES_MAX
from tests.unit.edge.vobiz.rest_standin import DROP, HANG, ID, TOKEN, TRICKLE, Line, Reply, Standin, on_the_line

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

FROM, TO = "+91 12345 67890", "+91 98765 43210"
CALL = CallRequest(from_number=FROM, to=TO, answer_url="https://voice.example.com/answer")
FIRED = {"api_id": "a", "message": "call fired", "request_uuid": "call-1"}
ROOT = f"/api/v1/Account/{ID}"


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with on_the_line() as line:
        yield line


@contextlib.asynccontextmanager
async def hasty(line: Line) -> AsyncIterator[Line]:
    """One that gives up after 50 ms."""
    impatient = Line(line.vobiz, total_s=0.05)
    async with impatient.client:
        yield impatient


# --- placing a call --------------------------------------------------------------------------------------------------


async def test_a_call_is_placed_with_all_that_was_asked_for(line: Line) -> None:
    line.vobiz.will(Reply(201, FIRED))
    call = CallRequest(
        from_number=FROM,
        to=(TO, "sip:desk@example.com"),
        answer_url="https://voice.example.com/answer?a=1&b=2",
        ring_url="https://voice.example.com/ring",
        hangup_url="https://voice.example.com/hangup",
        hangup_method="GET",
        fallback_url="https://voice.example.com/fallback",
        caller_name="Acme",
        send_digits="ww2410#",
        send_on_preanswer=False,
        time_limit_s=600,
        ring_timeout_s=45,
        hangup_on_ring_s=0,
        machine_detection=MachineDetection.for_agents("https://voice.example.com/amd", hang_up=True),
        sip_headers={"X-Ref": "abc123", "Team": "a/b"},
    )
    assert await line.client.make_call(call) == ("call-1",)
    [request] = line.vobiz.requests
    assert str(request) == f"POST {ROOT}/Call/"
    assert (request.headers["x-auth-id"], request.headers["x-auth-token"]) == (ID, TOKEN)
    assert request.headers["content-type"] == "application/json"
    assert request.body == {
        "from": "+911234567890",
        "to": "+919876543210<sip:desk@example.com",
        "answer_url": "https://voice.example.com/answer?a=1&b=2",
        "answer_method": "POST",
        "ring_url": "https://voice.example.com/ring",
        "ring_method": "POST",
        "hangup_url": "https://voice.example.com/hangup",
        "hangup_method": "GET",
        "fallback_url": "https://voice.example.com/fallback",
        "fallback_method": "POST",
        "caller_name": "Acme",
        "send_digits": "ww2410#",
        "send_on_preanswer": False,
        "time_limit": 600,
        "ring_timeout": 45,
        "hangup_on_ring": 0,
        "machine_detection": "hangup",
        "machine_detection_time": 4000,
        "machine_detection_maximum_speech_length": 4000,
        "machine_detection_initial_silence": 2500,
        "machine_detection_maximum_words": 5,
        "machine_detection_initial_greeting": 4000,
        "machine_detection_url": "https://voice.example.com/amd",
        "machine_detection_method": "POST",
        "sip_headers": "X-Ref=abc123,Team=a/b",
    }


async def test_what_is_unset_is_left_to_vobiz(line: Line) -> None:
    line.vobiz.will(Reply(200, FIRED))
    await line.client.make_call(CALL)
    assert line.vobiz.requests[0].body.keys() == {"from", "to", "answer_url", "answer_method"}


@pytest.mark.parametrize(
    ("status", "answer", "ids"),
    [
        (200, {"request_uuid": "a"}, ("a",)),
        (202, {"call_uuid": "b"}, ("b",)),
        (201, {"CallUUID": "c"}, ("c",)),
        (201, {"callUuid": "d", "request_uuid": ""}, ("d",)),
        (201, {"request_uuid": ["e", "f"]}, ("e", "f")),
    ],
)
async def test_the_id_is_found_under_every_name(line: Line, status: int, answer: Any, ids: tuple[str, ...]) -> None:
    line.vobiz.will(Reply(status, answer))
    assert await line.client.make_call(CALL) == ids


@pytest.mark.parametrize(
    "reply",
    [
        Reply(fault=DROP),
        Reply(201, b"<html>done</html>"),
        Reply(201, b'{"request_uuid": "ca', length=99),
        Reply(201, FIRED, {"Content-Encoding": "gzip"}),
        Reply(201, {"message": "call fired"}),
        Reply(201, {"request_uuid": [None]}),
        Reply(201, ["call-1"]),
        Reply(201),
        Reply(500, {"error": "oops"}),
        Reply(504, b"<html>gateway</html>"),
    ],
)
async def test_a_call_that_may_have_been_placed_is_never_placed_again(line: Line, reply: Reply) -> None:
    line.vobiz.will(reply, Reply(201, FIRED))
    with pytest.raises(Uncertain):
        await line.client.make_call(CALL)
    assert (len(line.vobiz.requests), line.pauses) == (1, [])


@pytest.mark.parametrize("fault", [HANG, TRICKLE])
async def test_an_answer_that_does_not_come_in_time_is_uncertain_too(line: Line, fault: str) -> None:
    async with hasty(line) as impatient:
        line.vobiz.will(Reply(fault=fault), Reply(201, FIRED))
        with pytest.raises(Uncertain, match=r"TimeoutError|ReadTimeout"):
            await impatient.client.make_call(CALL)
    assert len(line.vobiz.requests) == 1


async def test_over_the_limit_a_call_waits_its_turn(line: Line) -> None:
    limited = {"status": "error", "error": {"code": "RATE_LIMIT_EXCEEDED", "message": "CPS", "details": {}}}
    line.vobiz.will(Reply(429, limited, {"Retry-After": "2"}), Reply(429, limited), Reply(201, FIRED))
    assert await line.client.make_call(CALL) == ("call-1",)
    first, second = line.pauses
    assert 2.0 <= first <= 2.5
    assert 1.0 <= second <= 1.25


async def test_a_call_is_not_tried_for_ever(line: Line) -> None:
    line.vobiz.will(*[Reply(429, None, {"Retry-After": "1"})] * 9)
    with pytest.raises(CarrierLimited) as caught:
        await line.client.make_call(CALL)
    assert (len(line.vobiz.requests), caught.value.retry_after_s) == (ATTEMPTS_MAX, 1.0)


async def test_told_to_wait_long_we_tell_our_caller(line: Line) -> None:
    line.vobiz.will(Reply(429, None, {"Retry-After": "60"}))
    with pytest.raises(CarrierLimited) as caught:
        await line.client.make_call(CALL)
    assert (caught.value.retry_after_s, line.pauses) == (60.0, [])


async def test_a_call_that_never_left_is_tried_again() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nobody listens
        vobiz = Standin()
        vobiz.url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        line = Line(vobiz)
        async with line.client:
            with pytest.raises(Unavailable) as caught:
                await line.client.make_call(CALL)
    assert not caught.value.sent
    assert len(line.pauses) == ATTEMPTS_MAX - 1


async def test_503_says_that_nothing_was_done_but_a_post_is_not_repeated_by_itself(line: Line) -> None:
    line.vobiz.will(Reply(503, None, {"Retry-After": "1"}), Reply(201, FIRED))
    with pytest.raises(Unavailable):
        await line.client.make_call(CALL)
    assert len(line.vobiz.requests) == 1


# --- what is repeated ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Reply(fault=DROP), Reply(500), Reply(503), Reply(429), Reply(200, b"<html>"), Reply(200, b"{", length=9)]
)
async def test_a_question_is_asked_again(line: Line, fault: Reply) -> None:
    line.vobiz.will(fault, fault, Reply(200, {"calls": ["call-1"]}))
    assert await line.client.live_calls() == ["call-1"]
    assert line.vobiz.asked == [f"GET {ROOT}/Call/?status=live"] * 3
    assert len(line.pauses) == 2
    assert 0 < line.pauses[0] < line.pauses[1] or fault.status == 429


async def test_a_question_is_not_asked_for_ever(line: Line) -> None:
    line.vobiz.will(*[Reply(502)] * 9)
    with pytest.raises(Unavailable) as caught:
        await line.client.concurrency()
    assert caught.value.sent
    assert len(line.vobiz.requests) == ATTEMPTS_MAX


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_what_was_refused_is_not_asked_again(line: Line, status: int) -> None:
    line.vobiz.will(Reply(status))
    with pytest.raises((Refused, Unauthorized)):
        await line.client.account()
    assert line.vobiz.asked == ["GET /api/v1/auth/me"]


async def test_an_answer_without_end_is_not_read(line: Line) -> None:
    line.vobiz.will(*[Reply(200, b'{"data": []}' + b" " * BODY_BYTES_MAX)] * ATTEMPTS_MAX)
    with pytest.raises(Unavailable):
        await line.client.cdr()


async def test_requests_share_a_connection(line: Line) -> None:
    line.vobiz.will(Reply(200, {"calls": []}), Reply(204), Reply(200, {"calls": []}))
    await line.client.live_calls()
    await line.client.hang_up("call-1")
    assert await line.client.queued_calls() == []
    assert line.vobiz.connections == 1


async def test_no_error_repeats_a_number_or_a_credential(line: Line) -> None:
    words = f"{ID} with {TOKEN}: {TO}, 09876543210, sip:amit@example.com and %2B919876543210 are bad. " + "x" * 500
    line.vobiz.will(Reply(401, {"error": words}), Reply(400, {"error": "x" * (MESSAGE_CHARS_MAX - 6) + "9876543210"}))
    with pytest.raises(Unauthorized) as first:
        await line.client.make_call(CALL)
    told = str(first.value)
    assert "VOBIZ_AUTH_ID and VOBIZ_AUTH_TOKEN" in told
    assert not [part for part in (ID, TOKEN, "98765", "43210", "amit") if part in told]
    assert len(told) < MESSAGE_CHARS_MAX + 100
    with pytest.raises(Refused) as second:
        await line.client.make_call(CALL)
    assert "987" not in str(second.value)
    assert first.value.__cause__ is None
