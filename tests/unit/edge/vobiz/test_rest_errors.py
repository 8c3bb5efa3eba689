"""What each answer of Vobiz becomes, and how long to wait before asking again: without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.vobiz.rest.errors import (
    RETRY_AFTER_S_MAX,
    CarrierAnswer,
    CarrierError,
    CarrierLimited,
    Refused,
    Unauthorized,
    Unavailable,
    Uncertain,
    error_of,
)
from edge.vobiz.rest.transport import PAUSE_S_MAX, pause_s

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"status": "error", "error": {"code": "BAD_TO", "message": "bad to", "details": None}}, "bad to", "BAD_TO"),
        ({"error": "invalid credentials"}, "invalid credentials", ""),
        ({"api_id": "x", "error": "not found", "message": "no such call"}, "not found: no such call", ""),
        ({"api_id": "x", "error": "did_cool_off_in_effect"}, "did_cool_off_in_effect", "did_cool_off_in_effect"),
        ({"error": {"code": "ONLY_CODE"}}, "ONLY_CODE", "ONLY_CODE"),
        ("just words", "just words", ""),
        (b"plain words", "plain words", ""),
        (b"<html>nginx</html>", "", ""),
        (b'{"error": "cut', "", ""),
        (b"[" * 5000, "", ""),
        (b"\xff\xfe", "\ufffd\ufffd", ""),
        ({"error": ["?"], "message": 7}, "", ""),
        (None, "", ""),
    ],
)
def test_every_shape_of_error_body_is_read(body: Any, message: str, code: str) -> None:
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    error = error_of("POST", CarrierAnswer(422, content), 0.0)
    assert isinstance(error, Refused)
    assert (error.status, error.message, error.code) == (422, message, code)


@pytest.mark.parametrize(
    ("status", "method", "kind"),
    [
        (302, "GET", Refused),
        (400, "POST", Refused),
        (401, "GET", Unauthorized),
        (402, "POST", Refused),
        (403, "POST", Unauthorized),
        (404, "DELETE", Refused),
        (409, "POST", Refused),
        (429, "POST", CarrierLimited),
        (500, "POST", Uncertain),
        (500, "GET", Unavailable),
        (502, "DELETE", Unavailable),
        (503, "POST", Unavailable),
    ],
)
def test_each_status_decides_something(status: int, method: str, kind: type[CarrierError]) -> None:
    assert type(error_of(method, CarrierAnswer(status, None), 0.0)) is kind


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("3", {"retryAfter": 9}, 3.0),
        ("", {"retryAfter": 2}, 2.0),
        ("", {"retryAfter": "4"}, 4.0),
        ("soon", {"retryAfter": 2}, 2.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", {}, 10.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", {}, 0.0),
        ("-5", {}, 0.0),
        ("nan", {"retryAfter": False}, 1.0),
        ("inf", ["?"], 1.0),
        ("9" * 400, None, 1.0),
        ("", {"retryAfter": 10**400}, 1.0),
        ("86400", {}, RETRY_AFTER_S_MAX),
        ("", {}, 1.0),
    ],
)
def test_how_long_to_wait_is_read_from_header_and_body(header: str, details: Any, seconds: float) -> None:
    body = json.dumps({"error": {"message": "CPS", "details": details}}).encode()
    error = error_of("POST", CarrierAnswer(429, body, header), 90.0)
    assert isinstance(error, CarrierLimited)
    assert error.retry_after_s == seconds


def test_pauses_grow_are_spread_and_have_an_end() -> None:
    down = Unavailable("x", sent=True)
    assert [pause_s("GET", down, attempt, 0.0) for attempt in (1, 2)] == [0.25, 0.5]
    assert [pause_s("GET", down, attempt, 0.0) for attempt in (5, 6, 2000)] == [4.0, PAUSE_S_MAX, PAUSE_S_MAX]
    assert pause_s("GET", down, 1, 1.0) == pytest.approx(0.3125)
    assert pause_s("GET", Unavailable("x", sent=True, retry_after_s=3.0), 1, 0.0) == 3.0
    assert pause_s("GET", Unavailable("x", sent=True, retry_after_s=PAUSE_S_MAX + 1), 1, 0.0) is None
    assert pause_s("POST", down, 1, 0.0) is None
    assert pause_s("POST", Unavailable("x", sent=False), 1, 0.0) == 0.25
    assert pause_s("POST", Uncertain("x"), 1, 0.0) is None
    assert pause_s("GET", Refused(404), 1, 0.0) is None
