"""A webhook's body is read by what it is; Content-Type is a hint, often missing and sometimes wrong."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from starlette.types import Message

from edge.http.parameters import BadRequest, parameters, read_body

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

FIELDS = {"CallUUID": "c-1", "From": "+91 12345 67890", "CallerName": "Zoë & Søn", "Event": "StartApp"}
FORM = urlencode(FIELDS).encode()
JSON = json.dumps(FIELDS).encode()
MULTIPART = (
    "".join(
        f'--part\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in FIELDS.items()
    )
    + "--part--\r\n"
).encode()


async def read(body: bytes, content_type: str | None = None, query: bytes = b"") -> dict[str, str]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [] if content_type is None else [(b"content-type", content_type.encode("latin-1"))]
    scope = {"type": "http", "method": "POST", "path": "/answer", "query_string": query, "headers": headers}
    request = Request(scope, receive)
    return await parameters(request, await read_body(request))


BODIES = {
    "form": FORM,
    "form with a line end": FORM + b"\r\n",
    "form after a byte order mark": b"\xef\xbb\xbf" + FORM,
    "lines": "\r\n".join(urlencode({name: value}) for name, value in FIELDS.items()).encode(),
    "json": JSON,
    "json after a byte order mark": b"\xef\xbb\xbf" + JSON,
    "json with blanks": b"\r\n\t " + JSON + b"\n",
    "json as it is": json.dumps(FIELDS, ensure_ascii=False).encode(),
    "json in utf-16": json.dumps(FIELDS).encode("utf-16"),
    "json in utf-16 without a mark": json.dumps(FIELDS).encode("utf-16-le"),
    "multipart": MULTIPART,
}
TYPES = [
    None, "", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8",
    "application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"utf-8\"", "text/json",
    "application/vnd.api+json", "multipart/form-data; boundary=part", "multipart/form-data; boundary=\"part\"",
    "multipart/form-data; boundary=another", "multipart/form-data", "multipart/mixed; boundary=part", "text/plain",
    "text/plain; charset=utf-8", "text/xml", "text/html", "application/octet-stream", "*/*", "nonsense", "a/b; charset",
    "application/json; charset=unheard-of", "application/json; charset=base64",
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("content_type", TYPES)
async def test_a_body_is_read_by_what_it_is(body: bytes, content_type: str | None) -> None:
    assert await read(body, content_type) == FIELDS


@pytest.mark.parametrize("charset", ["iso-8859-1", "latin1", "windows-1252", "ISO-8859-15"])
async def test_a_charset_that_is_named_holds_where_the_body_leaves_it_open(charset: str) -> None:
    named = f"charset={charset}"
    percent = urlencode({"CallerName": "Zoë"}, encoding="latin-1").encode()
    assert await read(percent, f"application/x-www-form-urlencoded; {named}") == {"CallerName": "Zoë"}
    assert await read("CallerName=Zoë".encode("latin-1"), f"text/plain; {named}") == {"CallerName": "Zoë"}
    assert await read('{"CallerName": "Zoë"}'.encode("latin-1"), f"application/json; {named}") == {"CallerName": "Zoë"}


async def test_a_form_that_is_not_utf8_is_read_as_far_as_it_goes() -> None:
    assert await read(b"CallUUID=c-1&CallerName=Zo\xeb") == {"CallUUID": "c-1", "CallerName": "Zo\ufffd"}
    assert await read(b"CallUUID=c-1&CallerName=Zo%EB") == {"CallUUID": "c-1", "CallerName": "Zo\ufffd"}


@pytest.mark.parametrize("body", [b"", b" \r\n", b"null", b"{}", b"\xef\xbb\xbf", b"\0"])
async def test_a_body_that_says_nothing_leaves_the_query(body: bytes) -> None:
    for content_type in TYPES:
        assert await read(body, content_type, b"CallUUID=c-1&Event=") == {"CallUUID": "c-1", "Event": ""}


VALUES = {
    "null": (None, None), "true": (True, "true"), "false": (False, "false"), "number": (4000, "4000"),
    "whole float": (4000.0, "4000"), "float": (0.5, "0.5"), "negative": (-1, "-1"), "huge": (2**80, str(2**80)),
    "list": (["a"], '["a"]'), "map": ({"a": 1}, '{"a": 1}'), "empty": ("", ""), "blank": ("  ", "  "),
    "nul": ("\0", "\0"), "half a pair": ("a\ud800b", "a\ufffdb"), "a pair": ("\U0001f600", "\U0001f600"),
    "half a pair in a list": (["\udfff"], '["\\udfff"]'),
}  # fmt: skip


@pytest.mark.parametrize(("value", "text"), VALUES.values(), ids=VALUES)
async def test_a_json_value_becomes_the_text_that_a_form_would_have(value: object, text: str | None) -> None:
    found = await read(json.dumps({"CallUUID": "c-1", "Value": value}).encode(), "application/json")
    assert found == {"CallUUID": "c-1"} | ({} if text is None else {"Value": text})
    for name, said in found.items():
        (name + said).encode()


@pytest.mark.parametrize("name", ["half \ud800", "\udfff"])
async def test_a_name_can_be_written_down_too(name: str) -> None:
    (found,) = await read(json.dumps({name: "x"}).encode(), "text/plain")
    found.encode()


REFUSED = {
    "a list": (b'["c-1"]', "bad_json"),
    "a text": (b'"c-1"', "bad_form"),
    "json cut off": (b'{"CallUUID":', "bad_json"),
    "json that is not utf-8": (b'{"a":"\xff"}', "bad_json"),
    "json too deep": (b"[" * 60_000, "bad_json"),
    "a number of too many digits": (b'{"a":' + b"9" * 5000 + b"}", "bad_json"),
    "xml": (b"<Response/>", "unsupported_media_type"),
    "xml after a byte order mark": (b"\xef\xbb\xbf<?xml version='1.0'?><a b='c'/>", "unsupported_media_type"),
    "words": (b"hello", "bad_form"),
    "multipart with a file": (MULTIPART.replace(b'name="From"', b'name="From"; filename="a"'), "bad_form"),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_is_none_of_these_is_refused_under_every_type(body: bytes, code: str) -> None:
    for content_type in TYPES:
        with pytest.raises(BadRequest) as refused:
            await read(body, content_type)
        assert refused.value.code == code, content_type


async def test_a_form_may_begin_with_a_brace() -> None:
    assert await read(b"{x=1&CallUUID=c-1", "application/x-www-form-urlencoded") == {"{x": "1", "CallUUID": "c-1"}
