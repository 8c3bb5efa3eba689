"""The code that Cartesia's two engines share: address, headers, errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.providers.http_status import refused
from workers.providers.interfaces import Down, ProviderError

CARTESIA_URL = "wss://api.cartesia.ai"
KEY_VARIABLE = "CARTESIA_API_KEY"
VERSION = "2025-04-16"
"""Version of the API: the newest that is known to work for both sockets; a header, as queries may be ignored."""


def headers(key: str) -> dict[str, str]:
    """The headers of the request that opens a socket."""
    return {"X-API-Key": key, "Cartesia-Version": VERSION}


def failure(name: str, message: Mapping[str, Any]) -> ProviderError:
    """The exception for a message of type "error".  It leaves the text out, which may quote what was spoken."""
    status = message.get("status_code", message.get("code"))
    if isinstance(status, int) and 400 <= status < 500:
        return refused(name, status, KEY_VARIABLE)
    return Down(f"{name} reports an error ({status if isinstance(status, int) else 'no code'})")
