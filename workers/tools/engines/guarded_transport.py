"""Lets the HTTP client of the MCP package connect to allowed addresses only, and bounds what it reads at once."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection

import httpx2

from workers.tools.resolver import allowed_addresses

ANSWER_BYTES_MAX = 4 << 20
"""Most bytes of an answer that is no stream of events; each event of such a stream is bounded by the package."""
CONNECTIONS_MAX = 50


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Resolves each request's host itself, and connects to the very address that was checked."""

    def __init__(self, private_hosts: Collection[str], verify: ssl.SSLContext) -> None:
        self._private_hosts = private_hosts
        self._inner = httpx2.AsyncHTTPTransport(
            verify=verify, trust_env=False, limits=httpx2.Limits(max_connections=CONNECTIONS_MAX)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request.  Raises httpx2.ConnectError if its host is not allowed or cannot be reached."""
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            addresses = await allowed_addresses(host, port, self._private_hosts)
        except OSError as error:
            raise httpx2.ConnectError(f"not connected ({type(error).__name__})", request=request) from error
        for _, address in addresses[:-1]:
            try:
                return await self._send(request, host, address)
            except httpx2.ConnectError:
                continue
        return await self._send(request, host, addresses[-1][1])

    async def _send(self, request: httpx2.Request, host: str, address: str) -> httpx2.Response:
        to_address = httpx2.Request(
            request.method, request.url.copy_with(host=address), headers=request.headers, stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )  # fmt: skip
        response = await self._inner.handle_async_request(to_address)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedStream(response.stream)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    """The bytes of an answer, up to ANSWER_BYTES_MAX."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                raise httpx2.ReadError("the answer is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
