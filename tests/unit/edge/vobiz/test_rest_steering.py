"""Every request of the client but the first: what is sent to steer a call, and to read and set up the account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.vobiz.rest.errors import Refused, Uncertain
from edge.vobiz.rest.requests import ApplicationRequest, RecordRequest, StreamRequest
from tests.unit.edge.vobiz.rest_standin import DROP, ID, Line, Reply, on_the_line

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

FROM = "+91 12345 67890"
ROOT = f"/api/v1/Account/{ID}"


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with on_the_line() as line:
        yield line


# --- steering a call -------------------------------------------------------------------------------------------------


async def test_hanging_up_a_call_that_is_over_is_no_error(line: Line) -> None:
    line.vobiz.will(Reply(204), Reply(404, {"error": "not found"}), Reply(fault=DROP), Reply(404))
    assert await line.client.hang_up("call-1") is True
    assert await line.client.hang_up("call-1") is False
    assert await line.client.hang_up("call-1") is True  # the first attempt did it, its answer was lost
    line.vobiz.will(Reply(422))
    with pytest.raises(Refused):
        await line.client.hang_up("call-1")
    assert set(line.vobiz.asked) == {f"DELETE {ROOT}/Call/call-1/"}


async def test_a_delete_that_finds_nothing_is_told(line: Line) -> None:
    line.vobiz.will(Reply(429), Reply(404))
    with pytest.raises(Refused):  # 429 did nothing, so nobody has deleted it for us
        await line.client.stop_stream("call-1", "stream-1")


STEERED = [
    (
        f"POST {ROOT}/Call/c/",
        {"legs": "aleg", "aleg_url": "https://voice.example.com/a", "aleg_method": "POST"},
    ),
    (
        f"POST {ROOT}/Call/c/",
        {
            "legs": "both",
            "aleg_url": "https://voice.example.com/a",
            "aleg_method": "POST",
            "bleg_url": "https://voice.example.com/b",
            "bleg_method": "POST",
        },
    ),
    (
        f"POST {ROOT}/Call/c/Play/",
        {
            "urls": "https://voice.example.com/1.mp3,https://voice.example.com/2.mp3",
            "legs": "aleg",
            "loop": False,
            "mix": True,
        },
    ),
    (f"DELETE {ROOT}/Call/c/Play/", None),
    (
        f"POST {ROOT}/Call/c/Speak/",
        {"text": "Hello", "voice": "WOMAN", "language": "en-IN", "legs": "aleg", "loop": False, "mix": True},
    ),
    (f"DELETE {ROOT}/Call/c/Speak/", None),
    (f"POST {ROOT}/Call/c/DTMF/", {"digits": "1w2#", "leg": "aleg"}),
    (
        f"POST {ROOT}/Call/c/Record/",
        {"time_limit": 14400, "file_format": "mp3", "record_channel_type": "stereo"},
    ),
    (
        f"POST {ROOT}/Call/c/Record/",
        {
            "time_limit": 14400,
            "file_format": "wav",
            "record_channel_type": "stereo",
            "callback_url": "https://voice.example.com/r",
            "callback_method": "POST",
        },
    ),
    (f"DELETE {ROOT}/Call/c/Record/", None),
    (
        f"POST {ROOT}/Call/c/Stream/",
        {
            "service_url": "wss://voice.example.com/ws/t",
            "bidirectional": "true",
            "audio_track": "inbound",
            "content_type": "audio/x-mulaw;rate=8000",
            "stream_timeout": 86400,
        },
    ),
    (f"GET {ROOT}/Call/c/Stream/", None),
    (f"GET {ROOT}/Call/c/Stream/s1/", None),
    (f"DELETE {ROOT}/Call/c/Stream/s1/", None),
    (f"DELETE {ROOT}/Call/c/Stream/", None),
]


async def test_everything_that_can_be_done_to_a_call(line: Line) -> None:
    line.vobiz.answers = lambda request: Reply(204) if request.method == "DELETE" else Reply(202, {"stream_id": "s1"})
    client = line.client
    await client.transfer("c", aleg_url="https://voice.example.com/a")
    await client.transfer("c", aleg_url="https://voice.example.com/a", bleg_url="https://voice.example.com/b")
    await client.play("c", ["https://voice.example.com/1.mp3", "https://voice.example.com/2.mp3"])
    await client.stop_play("c")
    await client.speak("c", "Hello", language="en-IN")
    await client.stop_speak("c")
    await client.send_digits("c", "1w2#")
    await client.start_record("c")
    await client.start_record("c", RecordRequest(file_format="wav", callback_url="https://voice.example.com/r"))
    await client.stop_record("c")
    assert await client.start_stream("c", StreamRequest(service_url="wss://voice.example.com/ws/t")) == "s1"
    await client.list_streams("c")
    await client.get_stream("c", "s1")
    await client.stop_stream("c", "s1")
    await client.stop_streams("c")
    assert [(str(request), request.body) for request in line.vobiz.requests] == STEERED


async def test_an_id_never_leads_to_another_path(line: Line) -> None:
    line.vobiz.will(Reply(204))
    await line.client.hang_up("../Application/1?x#y")
    assert line.vobiz.asked == [f"DELETE {ROOT}/Call/..%2FApplication%2F1%3Fx%23y/"]
    for nowhere in ("", ".", ".."):
        with pytest.raises(ValueError, match="cannot stand in a URL"):
            await line.client.hang_up(nowhere)
    assert len(line.vobiz.requests) == 1


async def test_steering_with_nothing_in_it_is_refused(line: Line) -> None:
    for attempt in (
        line.client.transfer("c"),
        line.client.play("c", "https://voice.example.com/1.mp3"),
        line.client.play("c", []),
        line.client.speak("c", " "),
        line.client.send_digits("c", "x"),
    ):
        with pytest.raises(ValueError):
            await attempt
    assert line.vobiz.requests == []


# --- records, applications, numbers ----------------------------------------------------------------------------------


async def test_records_of_calls(line: Line) -> None:
    line.vobiz.will(
        Reply(200, {"success": True, "data": [], "pagination": {"total": 0}}),
        Reply(200, {"success": True, "data": {"uuid": "c", "cost": 1.5}}),
        Reply(200, {"success": True, "data": [{"uuid": "c"}]}),
        Reply(200, {"success": True, "data": []}),
        Reply(200, {"objects": [{"recording_id": "r"}]}),
        Reply(200, {"call_status": "in-progress"}),
    )
    assert (await line.client.cdr(2, filters={"from_date": "2026-07-01"}))["pagination"] == {"total": 0}
    assert (await line.client.cdr_of("c"))["cost"] == 1.5
    assert (await line.client.cdr_of("c"))["uuid"] == "c"
    with pytest.raises(Refused) as caught:
        await line.client.cdr_of("c")
    assert caught.value.status == 404
    assert await line.client.recordings() == [{"recording_id": "r"}]
    assert (await line.client.call_details("c"))["call_status"] == "in-progress"
    assert line.vobiz.asked == [
        f"GET {ROOT}/cdr?page=2&per_page=20&from_date=2026-07-01",
        *[f"GET {ROOT}/cdr/c"] * 3,
        f"GET {ROOT}/Recording/?limit=20&offset=0",
        f"GET {ROOT}/Call/c/?status=live",
    ]


async def test_applications_are_read_page_by_page(line: Line) -> None:
    def page(*ids: int, **meta: Any) -> Reply:
        return Reply(200, {"meta": meta, "objects": [{"app_id": str(number)} for number in ids]})

    line.vobiz.will(page(*range(20), total_count=21), page(20, total_count=21))
    assert len(await line.client.applications()) == 21
    line.vobiz.will(page(1, 2), page(1, 2))  # a server that knows no pages
    assert [app["app_id"] for app in await line.client.applications()] == ["1", "2"]
    assert [request.target.partition("?")[2] for request in line.vobiz.requests] == [
        "limit=20&offset=0",
        "limit=20&offset=20",
    ] * 2


async def test_numbers_are_attached_and_detached(line: Line) -> None:
    line.vobiz.will(Reply(204), Reply(200, {"message": "detached"}), Reply(204), Reply(200, {"max_concurrent": 3}))
    await line.client.attach_number(FROM, "app-1")
    await line.client.detach_number(FROM)
    await line.client.delete_application("app-1")
    assert await line.client.concurrency() == {"max_concurrent": 3}
    assert line.vobiz.asked == [
        f"POST {ROOT}/numbers/%2B911234567890/application",
        f"DELETE {ROOT}/numbers/%2B911234567890/application",
        f"DELETE {ROOT}/Application/app-1/",
        f"GET /api/v1/account/{ID}/concurrency",
    ]
    assert line.vobiz.requests[0].body == {"application_id": "app-1"}


async def test_an_application_without_an_id_is_uncertain(line: Line) -> None:
    line.vobiz.will(Reply(201, {"message": "created"}), Reply(201, []))
    for _ in range(2):
        with pytest.raises(Uncertain):
            await line.client.create_application(ApplicationRequest(app_name="a", answer_url="https://a.example.com"))
