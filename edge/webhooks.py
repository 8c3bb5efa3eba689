"""What Vobiz asks over HTTP, and what it is answered: parameters in, XML out.

Parameters come as a form (normally), in the query, as JSON or as multipart; all are texts, each may be missing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from python_multipart.exceptions import FormParserError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

BODY_BYTES_MAX = 64 * 1024
"""A real answer request has about 500 bytes."""
FIELDS_MAX = 200
VALUE_CHARS_MAX = 4096


class BadRequest(ValueError):
    """The request cannot be understood; `status` is the HTTP status and `code` a closed set."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def parameters(request: Request) -> dict[str, str]:
    """All parameters of a webhook, the body's over the query's.  Raises BadRequest."""
    found = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _body(request)
    if not body:
        return _checked(found)
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data", ""):
        found.update(await _form(request))
    elif kind == "application/json":
        found.update(_json(body))
    else:
        raise BadRequest(415, "unsupported_media_type", "Send a form, multipart or JSON.")
    return _checked(found)


@dataclass(frozen=True, slots=True)
class StreamXml:
    """The answer that opens a bidirectional mu-law stream to `url`."""

    url: str
    timeout_s: int = 3600
    max_retries: int = 3

    def render(self) -> bytes:
        """The XML document, escaped, as UTF-8."""
        response = ElementTree.Element("Response")
        stream = ElementTree.SubElement(
            response,
            "Stream",
            bidirectional="true",
            keepCallAlive="true",
            audioTrack="inbound",
            contentType="audio/x-mulaw;rate=8000",
            streamTimeout=str(self.timeout_s),
            maxRetries=str(self.max_retries),
        )
        stream.text = self.url
        ElementTree.SubElement(response, "Hangup")
        return _document(response)


def hangup_xml() -> bytes:
    """The answer to a hangup that came to the answer URL: never a stream."""
    response = ElementTree.Element("Response")
    ElementTree.SubElement(response, "Hangup")
    return _document(response)


def apology_xml(text: str) -> bytes:
    """When no agent can take the call: say so, and hang up."""
    response = ElementTree.Element("Response")
    ElementTree.SubElement(response, "Speak", voice="WOMAN", language="en-IN").text = text
    ElementTree.SubElement(response, "Hangup")
    return _document(response)


def _document(root: ElementTree.Element) -> bytes:
    document: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document


async def _body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise BadRequest(413, "too_large", f"The body is larger than {BODY_BYTES_MAX} bytes.")
        chunks.append(chunk)
    request._body = b"".join(chunks)  # where Starlette's own body() keeps it, for form() to parse
    return request._body


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
