"""Sends the request of a chat completion and streams the answer's bytes, by aiohttp (docs/adr/0015-model-stream.md).

The openai package would take 4 ms of CPU for each reply, most of it in its HTTP library.  Its client still provides the
address, the headers and the errors, and asks for the list of models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
import openai

from workers.llm.engines.openai_server import ServerAnswer
from workers.providers.tls import tls

ROUTE = "chat/completions"
REDIRECTS_MAX = 5
REFUSAL_BYTES_MAX = 64_000
"""Most bytes that are read of a refusal."""


class RequestRefused(Exception):
    """The server answered with an error; `answer` was read to `REFUSAL_BYTES_MAX`."""

    def __init__(self, answer: ServerAnswer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """An answer whose body is unread: await `read` until it returns b""."""

    response: aiohttp.ClientResponse

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def media(self) -> str:
        """The media type, in lower case; empty if the server gave none."""
        return self.response.headers.get("content-type", "").lower()

    @property
    def moved_to(self) -> str:
        """The address after redirects; empty without a redirect."""
        return str(self.response.url) if self.response.history else ""

    async def read(self) -> bytes:
        """Return the next bytes of the body; b"" at its end.  Raises aiohttp.ClientError if the server broke off."""
        return await self.response.content.readany()

    def close(self) -> None:
        """Free the connection; it is closed unless the body was read to its end."""
        self.response.close()


class ChatHttp:
    """Posts to one server.  It keeps at most `connections_max` connections, each open for `keepalive_s` after use."""

    def __init__(self, client: openai.AsyncOpenAI, connect_s: float, connections_max: int, keepalive_s: float) -> None:
        """`client` gives the address and the headers; `connect_s` bounds one connection attempt, TLS included."""
        self._url = str(client.base_url).rstrip("/") + "/" + ROUTE
        package = {**client.auth_headers, **client.default_headers}
        self._headers = {name.lower(): value for name, value in package.items() if isinstance(value, str)} | {
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",
        }
        if "@" in urlsplit(self._url).netloc:
            self._headers.pop("authorization", None)  # the address holds a user and a password instead
        self._connect_s = connect_s
        self._connections_max = connections_max
        self._keepalive_s = keepalive_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, document: Mapping[str, Any]) -> OpenAnswer:
        """Send the request and return the answer, once its head has come; the caller keeps the deadline.

        Raises `RequestRefused` for an error status, and aiohttp.ClientError or TimeoutError without an answer.
        """
        response = await self._opened().post(self._url, data=msgspec.json.encode(document), max_redirects=REDIRECTS_MAX)
        answer = OpenAnswer(response)
        if response.status < 400:
            return answer
        try:
            raise RequestRefused(await _refusal(answer))
        finally:
            answer.close()

    async def aclose(self) -> None:
        """Close all connections; the object cannot be used afterwards."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """The session: created with the first request, because it belongs to the running event loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections_max, keepalive_timeout=self._keepalive_s, ssl=tls(), ttl_dns_cache=30
            )
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, headers=self._headers, proxy=proxy_of(self._url),
                cookie_jar=aiohttp.DummyCookieJar(),
            )  # fmt: skip
        return self._session


def proxy_of(url: str) -> str | None:
    """The proxy for the URL by the environment's variables, looked up once: aiohttp would do so for each request."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc.rpartition("@")[2]) else getproxies().get(parts.scheme)


async def _refusal(answer: OpenAnswer) -> ServerAnswer:
    body = b""
    while len(body) < REFUSAL_BYTES_MAX and (data := await answer.read()):
        body += data
    return ServerAnswer(answer.status, answer.media, body.decode("utf-8", "replace"), answer.moved_to)
