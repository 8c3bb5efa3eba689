"""Converts the errors of a request (openai_http.py, and the openai package) to `ProviderError`s with texts of our own.

Pure.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import openai

from workers.llm.engines.openai_chunks import ErrorInStream
from workers.llm.engines.openai_http import RequestRefused
from workers.llm.engines.openai_server import BODY_CHARS_MAX, SETTING, ServerAnswer, shown
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected
from workers.providers.openai import http

NO_ANSWER = ServerAnswer(0, "", "")
_CAUSES_MAX = 8


def answered(response: Any) -> ServerAnswer:
    """Convert an HTTP response that was read to its end."""
    moved = str(response.url) if response.history else ""
    return ServerAnswer(
        response.status_code, str(response.headers.get("content-type", "")).lower(), response.text, moved
    )


def refusal(error: Exception) -> tuple[ServerAnswer, Any]:
    """Return (the server's answer, its document or text); `NO_ANSWER` if the error is not an answer of the server."""
    if isinstance(error, openai.APIStatusError | RequestRefused):
        answer = error.answer if isinstance(error, RequestRefused) else answered(error.response)
        document = answer.document
        return answer, document if document is not None else answer.text[:BODY_CHARS_MAX]
    if isinstance(error, ErrorInStream):
        inner = error.document.get("error")
        code = inner.get("code") if isinstance(inner, dict) else None
        status = code if isinstance(code, int) else 400
        return ServerAnswer(status, "", json.dumps(error.document)[:BODY_CHARS_MAX]), error.document
    return NO_ANSWER, None


def connection_fault(url: str, error: Exception) -> str:
    """Describe why no connection to the address was made; empty if the error has another cause."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < _CAUSES_MAX:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(each) for each in causes)
    where = f"{SETTING} ({shown(url)})"
    if re.search(r"WRONG_VERSION_NUMBER|wrong version number|record layer failure", text):
        return f"{where} does not use TLS; write http://"
    if re.search(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", text):
        return f"{where} has a certificate that is not trusted"
    if re.search(
        r"Name or service not known|nodename nor servname|Temporary failure in name|getaddrinfo|No address", text
    ):
        return f"{where}: there is no host named {urlsplit(url).hostname}"
    if re.search(r"Connection refused|All connection attempts failed|Connect call failed", text):
        return f"{where} cannot be reached: nothing listens there"
    return ""


def as_provider_error(name: str, error: Exception, fault: str = "") -> ProviderError:
    """Convert an error to a `ProviderError`; `fault`: a better description of the cause, if one is known."""
    answer, document = refusal(error)
    if isinstance(error, openai.APIStatusError | RequestRefused):
        status, code = answer.status, _code(document)
        if status == 429:
            return Busy(f"{name} is at its rate limit{code}")
        if status in (401, 403):
            return Rejected(f"{name} does not accept the key ({status}){code}; check OPENAI_API_KEY")
        if 400 <= status < 500 and status != 408:
            advice = fault or f"check the model and {SETTING}"
            return Rejected(f"{name} refused the request ({status}){code}; {advice}")
        return Down(f"{name} answered {status}{code}")
    if answer.status == 429:
        return Busy(f"{name} is at its rate limit")
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return Down(f"{name} did not answer in time" + (f": {fault}" if fault else ""))
    if isinstance(error, openai.APIConnectionError | http.HTTPError | aiohttp.ClientError):
        return Down(f"{name} cannot be reached, or closed the connection" + (f": {fault}" if fault else ""))
    return Down(f"{name} sent a malformed stream ({type(error).__name__})" + (f": {fault}" if fault else ""))


def _code(document: Any) -> str:
    """Return the vendor's error code if it looks like one: a word such as `model_not_found` holds nothing private."""
    error = document.get("error", document) if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return f" {code}" if isinstance(code, str) and re.fullmatch(r"[a-z_]{3,40}", code) else ""
