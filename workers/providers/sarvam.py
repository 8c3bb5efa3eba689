"""The code that Sarvam's two engines share: address, header, languages, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workers.providers.http_status import refused
from workers.providers.interfaces import Down, ProviderError, Rejected

SARVAM_URL = "wss://api.sarvam.ai"
KEY_VARIABLE = "SARVAM_API_KEY"

LANGUAGES = {
    "en": "en-IN", "hi": "hi-IN", "bn": "bn-IN", "gu": "gu-IN", "kn": "kn-IN", "ml": "ml-IN", "mr": "mr-IN",
    "or": "od-IN", "od": "od-IN", "pa": "pa-IN", "ta": "ta-IN", "te": "te-IN",
}  # fmt: skip
"""First part of a BCP 47 tag -> Sarvam's code, for every model.  Odia is "od" at Sarvam, and "or" elsewhere."""

_STATUS_OF_CODE = {
    "invalid_api_key_error": 403,
    "authentication_error": 403,
    "insufficient_quota_error": 402,
    "rate_limit_exceeded_error": 429,
    "invalid_request_error": 400,
    "unprocessable_entity_error": 422,
    "not_found_error": 404,
}


def headers(key: str) -> dict[str, str]:
    """The headers of the request that opens a socket."""
    return {"Api-Subscription-Key": key}


def language_code(name: str, tag: str, more: Mapping[str, str] | None = None) -> str:
    """Sarvam's code of a BCP 47 tag; every region is India.  Raises Rejected if `name` does not know the language."""
    code = {**LANGUAGES, **(more or {})}.get(tag.partition("-")[0].lower())
    if code is None:
        raise Rejected(f"{name} does not know the language {tag!r}")
    return code


def parsed(name: str, message: str | bytes) -> tuple[str, dict[str, Any]]:
    """(type, data) of a message.  Raises Down if it is not valid, and the exception for a message of type "error"."""
    try:
        fields = json.loads(message)
        kind, data = fields.get("type"), fields.get("data") or {}
    except (ValueError, AttributeError):
        raise Down(f"{name} sent a message that is no JSON object") from None
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise Down(f"{name} sent a message without type or data")
    if kind == "error":
        raise _failure(name, data)
    return kind, data


def _failure(name: str, data: Mapping[str, Any]) -> ProviderError:
    """The exception for an error.  It leaves the text out, which may quote what was spoken; a code is harmless."""
    code = data.get("code")
    status = _STATUS_OF_CODE.get(code, 0) if isinstance(code, str) else code
    if isinstance(status, int) and 400 <= status < 500:
        return refused(name, status, KEY_VARIABLE)
    return Down(f"{name} reports an error ({status or 'no code that is known'})")
