"""Opens and closes clients of the openai package, and finds the HTTP library beneath it (`httpx` or `httpx2`).

The library's errors cannot be imported by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import Any

import openai

http: Any = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The library's module: `Limits`, `ReadError`, …"""
ERRORS = (http.HTTPError, openai.OpenAIError)
"""All errors of a request or its answer that the vendor or the network may cause, besides TimeoutError."""
CLOSE_S = 1.0


def open_client(
    key: str, url: str, timeout: openai.Timeout, connections_max: int, keepalive_s: float
) -> openai.AsyncOpenAI:
    """A client that repeats no request; `key` may be empty for a server without keys.  Close it with `close_client`.

    One more request than `connections_max` waits, within the caller's deadline.
    """
    limits = http.Limits(
        max_connections=connections_max, max_keepalive_connections=connections_max, keepalive_expiry=keepalive_s
    )
    own = openai.DefaultAsyncHttpxClient(limits=limits)
    return openai.AsyncOpenAI(api_key=key or "none", base_url=url, max_retries=0, timeout=timeout, http_client=own)


async def close_client(client: openai.AsyncOpenAI) -> None:
    """Close all connections; the client cannot be used afterwards."""
    with contextlib.suppress(TimeoutError):  # the process ends anyway
        async with asyncio.timeout(CLOSE_S):
            await client.close()
