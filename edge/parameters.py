"""The parameters of a webhook, however they come: a form (normally), the query, JSON or multipart.

All are texts, and each may be missing.
"""

from __future__ import annotations

import json
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

BODY_BYTES_MAX = 64 * 1024
"""A real answer request has about 500 bytes."""
FIELDS_MAX = 200
VALUE_CHARS_MAX = 4096


class BadRequest(ValueError):
    """The request cannot be understood or served; `status` is the HTTP status and `code` a closed set."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def read_body(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body, once.  Raises BadRequest if it is too large."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise BadRequest(413, "too_large", f"The body is larger than {bytes_max} bytes.")
        chunks.append(chunk)
    request._body = b"".join(chunks)  # where Starlette's own body() keeps it, for form() to parse
    return request._body


async def parameters(request: Request, body: bytes) -> dict[str, str]:
    """All parameters, the body's over the query's.  Raises BadRequest."""
    found = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return _checked(found)
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data", ""):
        found.update(await _form(request))
    elif kind == "application/json":
        found.update(_json(body))
    else:
        raise BadRequest(415, "unsupported_media_type", "Send a form, multipart or JSON.")
    return _checked(found)


async def _form(request: Request) -> dict[str, str]:
    try:
        async with request.form(max_files=0, max_fields=FIELDS_MAX) as form:
            return {name: value for name, value in form.items() if isinstance(value, str)}
    except (HTTPException, MultiPartException, FormParserError, UnicodeDecodeError):
        raise BadRequest(400, "bad_form", "The body is not a form.") from None


def _json(body: bytes) -> dict[str, str]:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest(400, "bad_json", "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest(400, "bad_json", "The body must be a JSON object.")
    return {str(name): item if isinstance(item, str) else json.dumps(item) for name, item in value.items()}


def _checked(found: dict[str, str]) -> dict[str, str]:
    if len(found) > FIELDS_MAX or any(len(value) > VALUE_CHARS_MAX for value in found.values()):
        raise BadRequest(413, "too_large", "Too many or too long parameters.")
    return found
