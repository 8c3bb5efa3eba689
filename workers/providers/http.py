"""Shares code among vendors with HTTP: kept connections, and a POST whose answer streams within deadlines.

    429 -> Busy      other 4xx, but 408 -> Rejected      5xx, 408, no connection, a deadline, a broken body -> Down

The reader of an answer judges it by its media type and its bytes.  The vendor's text of an error is left out, because
it may quote the request.  Leaving a stream before its end closes the connection at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from common.process.addresses import http_url
from workers.providers.deadlines import SynthesisDeadline
from workers.providers.http_status import refused
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected
from workers.providers.tls import tls

POOL_CONNECTIONS = 10
"""Connections of one client; the CPU cost of its pool grows with their square (100 at once: 4 s in 300 requests)."""
POOLS_MAX = 20
KEEPALIVE_S = 60.0
"""httpx's own 5 s would drop the connection between two turns, and cost a TLS handshake for each."""
CLOSE_S = 1.0
ERROR_BYTES_MAX = 2_000
"""Most bytes that are read of a refusal."""
ATTEMPTS_MAX = 2
"""Attempts of one request: the vendor may close a kept connection while it is reused; the second one is new."""


@dataclass(slots=True)
class _Pool:
    client: httpx.AsyncClient
    in_use: int = 0


class VendorHttp:
    """A vendor's REST address.  `name` and `key_variable` ("deepgram/aura", "DEEPGRAM_API_KEY") are for error texts."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], key_variable: str, connect_s: float) -> None:
        self._name = name
        self._key_variable = key_variable
        self._url = http_url(url)
        self._headers = {**headers, "accept-encoding": "identity"}
        self._connect_s = connect_s
        self._pools: list[_Pool] = []

    async def post(
        self, path: str, query: Mapping[str, str], document: Mapping[str, Any], declared: Callable[[str], None],
        deadline: SynthesisDeadline,
    ) -> AsyncGenerator[bytes, None]:  # fmt: skip
        """Stream the body of the answer, after `declared` has checked its media type.  Raises ProviderError."""
        with self._pooled() as client:
            response = await self._answer(client, path, {"params": dict(query), "json": dict(document)}, deadline)
            try:
                if not response.is_success:
                    raise refused(self._name, response.status_code, self._key_variable)
                declared(response.headers.get("content-type", ""))
                async with aclosing(timed(self._name, response.aiter_raw(), deadline, (httpx.HTTPError,))) as chunks:
                    async for chunk in chunks:
                        yield chunk
            finally:
                await closed(response)

    async def check_key(self, path: str, seconds: float, wrong: str = "") -> None:
        """GET `path`.  Raises Rejected if the answer is 401 and contains `wrong`; ignores any other error.

        It also opens a connection for the first clause.
        """
        try:
            body = b""
            async with asyncio.timeout(seconds):
                with self._pooled() as client:
                    async with client.stream("GET", path) as response:
                        async for chunk in response.aiter_raw():
                            body += chunk
                            if len(body) > ERROR_BYTES_MAX:
                                break
        except (Busy, httpx.HTTPError, TimeoutError):
            return
        if response.status_code == 401 and wrong.encode() in body:
            raise Rejected(f"{self._name} does not accept the key (401); check {self._key_variable}")

    async def aclose(self) -> None:
        """Close all connections; the object cannot be used afterwards."""
        with contextlib.suppress(TimeoutError):  # the process ends anyway
            async with asyncio.timeout(CLOSE_S):
                for pool in self._pools:
                    await pool.client.aclose()

    @contextlib.contextmanager
    def _pooled(self) -> Iterator[httpx.AsyncClient]:
        """The first client with a free connection, so that warm ones are used first.  Raises Busy."""
        pool = next((pool for pool in self._pools if pool.in_use < POOL_CONNECTIONS), None)
        if pool is None:
            if len(self._pools) >= POOLS_MAX:
                raise Busy(f"{self._name}: all {POOLS_MAX * POOL_CONNECTIONS} connections of this process are taken")
            pool = _Pool(self._client())
            self._pools.append(pool)
        pool.in_use += 1
        try:
            yield pool.client
        finally:
            pool.in_use -= 1

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url,
            headers=self._headers,
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_S, max_keepalive_connections=POOL_CONNECTIONS),
            # The caller keeps the total deadline; this bounds what it cannot see, one connection attempt.
            timeout=httpx.Timeout(None, connect=self._connect_s),
            verify=tls(),
            trust_env=False,
            follow_redirects=False,
        )

    async def _answer(
        self, client: httpx.AsyncClient, path: str, request: Mapping[str, Any], deadline: SynthesisDeadline
    ) -> httpx.Response:
        """The head of the answer, within the deadline of the first audio.  Raises ProviderError."""
        loop = asyncio.get_running_loop()
        for attempt in range(1, ATTEMPTS_MAX + 1):
            began = loop.time()
            try:
                async with asyncio.timeout(deadline.left_s):
                    return await client.send(client.build_request("POST", path, **request), stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if attempt == ATTEMPTS_MAX:
                    raise broken(self._name, error) from None
            except (httpx.HTTPError, TimeoutError) as error:
                raise broken(self._name, error) from None
            finally:
                deadline.waited(loop.time() - began)
        raise AssertionError("every attempt returns or raises")


async def timed(
    name: str, chunks: AsyncIterator[bytes], deadline: SynthesisDeadline, errors: tuple[type[Exception], ...]
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks, each within the deadline.  Raises Down for a timeout and for `errors` of their library."""
    loop = asyncio.get_running_loop()
    failures: tuple[type[Exception], ...] = (TimeoutError, *errors)
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(deadline.left_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except failures as error:
            raise broken(name, error) from None
        finally:
            deadline.waited(loop.time() - began)
        deadline.heard(len(chunk))
        if chunk:
            yield chunk


async def closed(response: httpx.Response) -> None:
    """Close a response; its connection is closed as well, unless the body was read to its end."""
    with contextlib.suppress(httpx.HTTPError, OSError, TimeoutError):  # the connection is closed in any case
        async with asyncio.timeout(CLOSE_S):
            await response.aclose()


def broken(name: str, error: Exception) -> ProviderError:
    """The exception for a failure below HTTP."""
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return Down(f"{name} did not answer in time")
    return Down(f"{name} cannot be reached, or broke off ({type(error).__name__})")
