"""What Cartesia's two sockets have in common: the address, the headers, the errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.providers.http_status import refused
from workers.providers.interfaces import Down, ProviderError

CARTESIA_URL = "wss://api.cartesia.ai"
KEY_VARIABLE = "CARTESIA_API_KEY"
VERSION = "2025-04-16"
"""Of the API: the newest of which both sockets are known to work; sent as a header, as the query is not always read."""


def headers(key: str) -> dict[str, str]:
    """What opens a socket."""
    return {"X-API-Key": key, "Cartesia-Version": VERSION}


def socket_url(url: str) -> str:
    """The root of the WebSockets for CARTESIA_BASE_URL, which may also be an http(s) URL."""
    url = url.rstrip("/")
    return "ws" + url.removeprefix("http") if url.startswith("http") else url


def failure(name: str, message: Mapping[str, Any]) -> ProviderError:
    """The error in a message of type "error".  Its text is left out: it may quote what was said."""
    status = message.get("status_code", message.get("code"))
    if isinstance(status, int) and 400 <= status < 500:
        return refused(name, status, KEY_VARIABLE)
    return Down(f"{name} reports an error ({status if isinstance(status, int) else 'no code'})")
