"""Sends one request to Vobiz and reads its answer: credentials, deadlines, retries, errors.

What may be repeated:

  GET, DELETE   whenever Vobiz was limited or unavailable
  POST          only what Vobiz cannot have begun: 429, or no connection at all

Each attempt has its own deadline, so a request ends within `ATTEMPTS_MAX * (TOTAL_S + 1.25 * PAUSE_S_MAX)`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import httpx

from common.process.backoff import Backoff
from edge.vobiz.rest.errors import (
    CarrierAnswer,
    CarrierError,
    CarrierLimited,
    Refused,
    Unavailable,
    Uncertain,
    error_of,
)

API_URL = "https://api.vobiz.ai/api/v1"
CONNECT_S = 3.0
TOTAL_S = 10.0
"""Deadline of an attempt, from the connection to the last byte read."""
ATTEMPTS_MAX = 3
PAUSE_S_MAX = 5.0
"""If Vobiz asks for a longer pause, the error is raised instead."""
PAUSES = Backoff(first_s=0.25, longest_s=PAUSE_S_MAX)
"""Pauses between attempts if Vobiz asks for none."""
CONNECTIONS_MAX = 20
KEEPALIVE_S = 5.0
"""Idle connections are closed after this: a POST on one that Vobiz just closed would be uncertain."""
BODY_BYTES_MAX = 4 * 1024 * 1024
"""Maximum answer; a page of 100 call records has about 200 KB."""
CLOSE_S = 2.0

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

Verb: TypeAlias = Literal["GET", "POST", "DELETE"]


@dataclass(frozen=True, slots=True)
class CarrierOptions:
    """The account's credentials, and the time limits.  Raises ValueError, whose text does not repeat the values."""

    auth_id: str = field(repr=False)
    auth_token: str = field(repr=False)
    api_url: str = API_URL
    connect_s: float = CONNECT_S
    total_s: float = TOTAL_S
    attempts_max: int = ATTEMPTS_MAX

    def __post_init__(self) -> None:
        problems = [
            "" if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.auth_id) else "auth_id: expected such as MA_XXXXXXXX",
            # A header cannot hold anything else, and httpx's own error would repeat the token.
            "" if re.fullmatch(r"[!-~]{1,256}", self.auth_token) else "auth_token: expected printable ASCII",
            "" if _is_api_url(self.api_url) else f"api_url: expected such as {API_URL}",
            "" if self.attempts_max >= 1 else "attempts_max: expected 1 or more",
        ]
        if found := [problem for problem in problems if problem]:
            raise ValueError("; ".join(found))


def _is_api_url(url: str) -> bool:
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return re.fullmatch(r"https?://[^\s/?#@]+[^\s?#]*", url) is not None


def segment(text: str) -> str:
    """Quote an id or a number as one path segment.  Raises ValueError for "", "." and ".."."""
    if text in ("", ".", ".."):
        raise ValueError("an id that cannot stand in a URL")
    return quote(text, safe="")


def pause_s(method: Verb, error: CarrierError, attempt: int, jitter: float) -> float | None:
    """Seconds to wait before the attempt after `attempt` (1 is the first), or None: do not repeat the request.

    `jitter` of 0 to 1 spreads clients that were all asked to return in one second.
    """
    if isinstance(error, CarrierLimited):
        wait_s = error.retry_after_s
    elif isinstance(error, Unavailable) and (method != "POST" or not error.sent):
        wait_s = PAUSES.pause_s(attempt - 1) if error.retry_after_s is None else error.retry_after_s
    else:
        return None
    return wait_s * (1 + jitter / 4) if wait_s <= PAUSE_S_MAX else None


class Rest:
    """Sends the requests of one process to Vobiz.  Close it with `aclose`.

    `transport` replaces the network and `sleep` the pauses between attempts, for tests.
    """

    def __init__(
        self,
        options: CarrierOptions,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._sleep = sleep
        self._root = options.api_url.rstrip("/")
        self._client = httpx.AsyncClient(
            headers={
                "X-Auth-ID": options.auth_id,
                "X-Auth-Token": options.auth_token,
                "Accept": "application/json",
            },
            timeout=httpx.Timeout(options.total_s, connect=options.connect_s, pool=options.connect_s),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_S),
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close all connections; the object cannot be used afterwards."""
        with contextlib.suppress(TimeoutError):  # the process ends anyway
            async with asyncio.timeout(CLOSE_S):
                await self._client.aclose()

    async def request(
        self, method: Verb, path: str, *, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        """Send a request; returns the JSON of a 2xx answer, None if it had no body.  Raises CarrierError.

        `path` starts with a slash and is already quoted.
        """
        doubtful = False
        for attempt in range(1, self._options.attempts_max + 1):
            try:
                return await self._attempt(method, self._root + path, body, query)
            except CarrierError as error:
                if doubtful and isinstance(error, Refused) and error.status == 404:
                    return None  # an earlier DELETE succeeded, and only its answer was lost
                pause = pause_s(method, error, attempt, random.random())  # noqa: S311 - spreads retries
                if pause is None or attempt == self._options.attempts_max:
                    raise
                doubtful |= method == "DELETE" and isinstance(error, Unavailable) and error.sent
            await self._sleep(pause)
        raise AssertionError("every attempt returns, raises or is followed by another")

    async def _attempt(
        self, method: Verb, url: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> Any:
        try:
            answer = await self._exchange(method, url, body, query)
        except (httpx.HTTPError, TimeoutError) as error:
            what = type(error).__name__  # httpx's own text may contain the URL, and so a number
            if isinstance(error, _NEVER_SENT):
                raise Unavailable(f"no connection ({what})", sent=False) from None
            raise self._lost(method, f"no answer ({what})") from None
        if not 200 <= answer.status < 300:
            secrets = (self._options.auth_token, self._options.auth_id)
            raise error_of(method, answer, time.time(), secrets)
        if method == "DELETE" or answer.body == b"":
            return None
        try:
            return json.loads(answer.body or b"")
        except (ValueError, RecursionError):
            raise self._lost(method, f"status {answer.status} with a body that is no JSON") from None

    async def _exchange(
        self, method: Verb, url: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> CarrierAnswer:
        """Raises httpx.HTTPError and TimeoutError only while the status is unknown."""
        status, retry_after = 0, ""
        try:
            async with (
                asyncio.timeout(self._options.total_s),
                self._client.stream(method, url, json=body, params=query) as response,
            ):
                status, retry_after = response.status_code, response.headers.get("retry-after", "")
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > BODY_BYTES_MAX:
                        return CarrierAnswer(status, None, retry_after)
            return CarrierAnswer(status, bytes(content), retry_after)
        except (httpx.HTTPError, TimeoutError):
            if not status:
                raise
            return CarrierAnswer(status, None, retry_after)

    @staticmethod
    def _lost(method: Verb, what: str) -> CarrierError:
        return Uncertain(what) if method == "POST" else Unavailable(what, sent=True)
