"""Reads the parameters of a webhook, sent as a form (normally), query, JSON or multipart.

The body's content decides its type: senders omit Content-Type, or name another type than they send.  All parameters are
texts, and each may be missing; JSON's null counts as missing.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

BODY_BYTES_MAX = 64 * 1024
"""A real answer request has about 500 bytes."""
FIELDS_MAX = 200
VALUE_CHARS_MAX = 4096

_BLANK = "\ufeff\x00 \t\r\n"
_FIRST_LINE = re.compile(rb"\s*--([0-9A-Za-z'()+_,./:=?-]{1,70})[ \t]*\r?\n")
_NAMED_BOUNDARY = re.compile(r"boundary\s*=\s*\"?([0-9A-Za-z'()+_,./:=?-]{1,70})", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_ONE_BYTE = frozenset({"iso8859-1", "iso8859-15", "cp1252", "ascii"})
_SURROGATES = re.compile("[\ud800-\udfff]")


class BadRequest(ValueError):
    """The request cannot be understood or served; `status` is the HTTP status, `code` one of a closed set."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def read_body(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Read the whole body.  Raises BadRequest if it is too large, and ClientDisconnect if the sender goes away."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise BadRequest(413, "too_large", f"The body is larger than {bytes_max} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def parameters(request: Request, body: bytes) -> dict[str, str]:
    """All parameters; those of the body override those of the query.  Raises BadRequest."""
    of_body = await _of_body(body, request.headers.get("content-type", ""))
    return _checked({**query_of(request), **{_whole(name): _whole(value) for name, value in of_body.items()}})


def query_of(request: Request) -> dict[str, str]:
    """The parameters of the URL alone.  Raises BadRequest if they are too many or too long."""
    query = request.scope["query_string"].decode("latin-1")
    return _checked(dict(parse_qsl(query, keep_blank_values=True)) if query else {})


async def _of_body(body: bytes, content_type: str) -> dict[str, str]:
    """Parse the body.  Content-Type is a hint, used only where the body itself is ambiguous."""
    kind, _, about = content_type.partition(";")
    named_form = kind.strip().lower() == "application/x-www-form-urlencoded"
    encoding = _encoding(body, about)
    text = body.decode(encoding, "replace").strip(_BLANK)
    if not text:
        return {}
    if boundary := _boundary(body, about):
        return await _multipart(body, boundary)
    if text[0] in "{[" or text == "null":
        try:
            return _json(body.decode(encoding))
        except BadRequest:
            if not named_form or "=" not in text:
                raise
        except UnicodeDecodeError:
            raise BadRequest(400, "bad_json", "The body is not JSON.") from None
    if text[0] == "<":
        raise BadRequest(415, "unsupported_media_type", "Send a form, multipart or JSON.")
    return _form(text, encoding)


def _encoding(body: bytes, about: str) -> str:
    """The encoding by byte order mark or zeros between ASCII, else by a known charset in Content-Type."""
    found = json.detect_encoding(body)
    charset = _CHARSET.search(about)
    if found != "utf-8" or charset is None:
        return found
    try:
        named = codecs.lookup(charset[1]).name
    except LookupError:
        return found
    return named if named in _ONE_BYTE else found


def _boundary(body: bytes, about: str) -> str:
    """The boundary of a multipart body; empty if it is none.  Its own first line takes precedence over the header."""
    if b"content-disposition:" not in body.lower():
        return ""
    if first := _FIRST_LINE.match(body):
        return first[1].decode()
    named = _NAMED_BOUNDARY.search(about)
    return named[1] if named is not None and b"--" + named[1].encode() in body else ""


async def _multipart(body: bytes, boundary: str) -> dict[str, str]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    headers = Headers({"content-type": f'multipart/form-data; boundary="{boundary}"'})
    try:
        form = await MultiPartParser(headers, stream(), max_files=0, max_fields=FIELDS_MAX).parse()
    except (HTTPException, MultiPartException, FormParserError, UnicodeDecodeError):
        raise BadRequest(400, "bad_form", "The body is not a form.") from None
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _form(text: str, encoding: str) -> dict[str, str]:
    """Parse pairs separated by "&" or by line ends, as text/plain has them."""
    pairs = re.sub(r"[\r\n]+", "&", text)
    if "=" not in pairs:
        raise BadRequest(400, "bad_form", "The body is not a form.")
    percent = encoding if encoding in _ONE_BYTE else "utf-8"
    return dict(parse_qsl(pairs, keep_blank_values=True, encoding=percent, errors="replace"))


def _json(text: str) -> dict[str, str]:
    try:
        value: Any = json.loads(text.strip(_BLANK))
    except (ValueError, RecursionError):
        raise BadRequest(400, "bad_json", "The body is not JSON.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(400, "bad_json", "The body must be a JSON object.")
    return {name: _spelt(item) for name, item in value.items() if item is not None}


def _spelt(value: Any) -> str:
    """A JSON value as a form would send it: 4000.0 is "4000", true is "true"."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value)


def _whole(text: str) -> str:
    """Replace unpaired surrogates, which JSON can hold and UTF-8 cannot."""
    return _SURROGATES.sub("\ufffd", text)


def _checked(found: dict[str, str]) -> dict[str, str]:
    if len(found) > FIELDS_MAX or any(len(value) > VALUE_CHARS_MAX for value in found.values()):
        raise BadRequest(413, "too_large", "Too many or too long parameters.")
    return found
