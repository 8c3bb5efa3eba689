"""Turns the answer of a service into what the model is told.  Pure.

A service that answers with a success has done what it was asked for, even if its answer is of no use: the model must
not try again only because the answer is a web page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from common.call.acts import ToolOutcome
from workers.tools.interfaces import ToolError
from workers.tools.outcomes import EMPTY
from workers.tools.templates import as_text, picked

ERROR_CHARS_MAX = 500
"""Most characters of a service's own error that the model is told."""

NOT_REACHED = "The service cannot be reached at the moment; nothing was done."
NOT_ALLOWED = "The tool may not reach that address. Nothing was done; do not try again."
NOT_SET_UP = "The tool is not set up correctly. Nothing was done; do not try again."
BROKE_OFF = "The connection broke before an answer came. It may or may not have been done: say so, do not try again."
BROKE_OFF_HARMLESS = "The connection broke before an answer came. You may try once more."
TOO_MANY_REDIRECTS = "The service sent the request from one address to the next without an answer."
BAD_REDIRECT = "The service sent the request on to an address that the tool may not use."
NOT_CERTAIN = " It is not certain whether it was done: say so, do not try again."
WITHOUT_USE = "The service accepted the request, but {what}. Do not try again."
WITHOUT_USE_HARMLESS = "The service answered, but {what}."


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """A whole HTTP answer; `body` is None if it is larger than is read."""

    status: int
    media: str
    body: bytes | None
    charset: str = "utf-8"


def result_of(answer: ServiceAnswer, path: str, harmless: bool) -> str:
    """The text of a success, or its part at `path`.  Raises ToolError for anything else."""
    if answer.status >= 400:
        unsure = "" if harmless or answer.status < 500 else NOT_CERTAIN
        text = f"The service answered with the error {answer.status}.{_why(answer)}{unsure}"
        raise ToolError(ToolOutcome.FAILED, text)
    if answer.status >= 300:
        raise ToolError(ToolOutcome.FAILED, f"The service answered with the status {answer.status} and no result.")
    if answer.body is None:
        raise _useless("its answer is too large", harmless)
    text = _decoded(answer)
    if not text.strip():
        return EMPTY
    if "html" in answer.media or text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        raise _useless("it is a web page and no data", harmless)
    document = _json(text)
    if document is not _NO_JSON:
        try:
            return as_text(picked(document, path))
        except (LookupError, TypeError):
            raise _useless("its answer does not have what is looked for", harmless) from None
    if "json" in answer.media or path:
        raise _useless("its answer cannot be read", harmless)
    if answer.media and not answer.media.startswith("text/"):
        raise _useless("its answer is no text", harmless)
    return text


_NO_JSON = object()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON


def _useless(what: str, harmless: bool) -> ToolError:
    return ToolError(ToolOutcome.FAILED, (WITHOUT_USE_HARMLESS if harmless else WITHOUT_USE).format(what=what))


def _why(answer: ServiceAnswer) -> str:
    """What the service says of its error, if it is short and no web page: "no such order" helps the model."""
    if not answer.body or "html" in answer.media or not (answer.media == "text/plain" or "json" in answer.media):
        return ""
    text = " ".join(_decoded(answer).split())
    return f" It says: {text[:ERROR_CHARS_MAX]}" if text and not text.startswith("<") else ""


def _decoded(answer: ServiceAnswer) -> str:
    try:
        return (answer.body or b"").decode(answer.charset, "replace")
    except LookupError:
        return (answer.body or b"").decode("utf-8", "replace")
