"""Runs tools that are HTTP requests: guarded addresses, bounded answers, and an outcome in words for every fault.

    URL, headers, body ──templates.py──▶ address ──resolver.py──▶ request ──redirect: checked anew──▶ answer ──▶ text

What a fault means depends on whether the request may have arrived: a GET may be tried again, anything else after which
no answer came is `unknown`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from yarl import URL

from common.agents.tools import HttpRequest, Tool
from common.call.acts import ToolOutcome
from workers.providers.tls import tls
from workers.tools.addresses import literal_refusal
from workers.tools.arguments import schema_of
from workers.tools.engines import answers
from workers.tools.interfaces import CallableTool, ToolError, ToolRequest
from workers.tools.outcomes import without
from workers.tools.resolver import AddressRefused, GuardedResolver
from workers.tools.templates import BadUrl, MissingVariable, body_of, filled, url_of, variables_in

log = logging.getLogger(__name__)

REDIRECTS_MAX = 3
ANSWER_BYTES_MAX = 256 * 1024
CONNECT_S = 5.0
"""Deadline of one connection with its TLS handshake."""
CONNECTIONS_MAX = 50
"""Connections of one client at a time."""
CLIENTS_MAX = 100
"""Clients of a process: two for each set of private hosts."""
KEEPALIVE_S = 30.0
WARNED_MAX = 1_000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_HEADERS = frozenset({"accept", "accept-encoding", "user-agent"})
"""Headers that go along to another host."""


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A request that is about to be sent."""

    method: str
    url: URL
    headers: dict[str, str]
    body: dict[str, Any] | None
    harmless: bool
    """The request that came first is a GET: sending it again does no harm."""


class _BrokeOff(aiohttp.ClientError):
    """The connection broke after the request was sent, or in the middle of it."""


async def _sent_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT or DELETE again by itself: it does so after the errors that are renamed here."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method == "GET":
            raise
        raise _BrokeOff from error


class HttpTools:
    """Sends the requests of all HTTP tools of the process.  `environment` fills `${NAME}`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._clients: dict[tuple[frozenset[str], bool], aiohttp.ClientSession] = {}
        self._warned: set[str] = set()

    def tool(self, name: str, options: Tool) -> CallableTool:
        """The tool that an agent file declares; `options.http` is its request."""
        http = options.http
        assert http is not None

        async def run(request: ToolRequest) -> str:
            return await self._run(name, http, request)

        return CallableTool(name, "http", options, options.description, schema_of(options), run)

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    async def _run(self, name: str, http: HttpRequest, request: ToolRequest) -> str:
        wanted = variables_in(http.url, *http.headers.values(), *http.body.values())
        secrets = [self._environment[one] for one in wanted if one in self._environment]
        try:
            return without(await self._answered(name, http, request), secrets)
        except ToolError as error:
            raise ToolError(error.outcome, without(error.text, secrets)) from None

    async def _answered(self, name: str, http: HttpRequest, request: ToolRequest) -> str:
        outgoing = self._outgoing(name, http, request)
        try:
            for _ in range(REDIRECTS_MAX + 1):
                target = await self._send(outgoing, http)
                if isinstance(target, str):
                    return target
                outgoing = target
        except AddressRefused as error:
            log.warning("tool %s may not reach its address: %s", name, error)
            raise ToolError(ToolOutcome.REFUSED, answers.NOT_ALLOWED) from None
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, AddressRefused):
                log.warning("tool %s may not reach its address: %s", name, error.os_error)
                raise ToolError(ToolOutcome.REFUSED, answers.NOT_ALLOWED) from None
            raise ToolError(ToolOutcome.FAILED, answers.NOT_REACHED) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise ToolError(ToolOutcome.FAILED, answers.NOT_REACHED) from None
        except (aiohttp.ClientError, OSError) as error:
            log.info("tool %s: the connection broke (%s)", name, type(error).__name__)
            if outgoing.harmless:
                raise ToolError(ToolOutcome.FAILED, answers.BROKE_OFF_HARMLESS) from None
            raise ToolError(ToolOutcome.UNKNOWN, answers.BROKE_OFF) from None
        raise ToolError(ToolOutcome.FAILED, answers.TOO_MANY_REDIRECTS)

    def _outgoing(self, name: str, http: HttpRequest, request: ToolRequest) -> _Outgoing:
        """The request to send.  Raises ToolError."""
        try:
            url = url_of(http.url, request.arguments, self._environment)
            headers = {key: filled(value, self._environment) for key, value in http.headers.items()}
            body = self._body(http, request.arguments)
        except BadUrl as error:
            raise ToolError(ToolOutcome.REFUSED, str(error)) from None
        except MissingVariable as error:
            self._warn_once(f"tool {name} needs the variable {error.name} in the environment of the tools workers")
            raise ToolError(ToolOutcome.REFUSED, answers.NOT_SET_UP) from None
        if any("\n" in value or "\r" in value or "\0" in value for value in headers.values()):
            self._warn_once(f"tool {name}: a header has a line break")
            raise ToolError(ToolOutcome.REFUSED, answers.NOT_SET_UP)
        ours = {"Accept": "application/json, text/plain;q=0.5", "Accept-Encoding": "identity"}
        headers = {**ours, **headers, "Idempotency-Key": request.key}
        return _Outgoing(http.method, URL(url, encoded=True), headers, body, http.method == "GET")

    def _body(self, http: HttpRequest, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        if http.body:
            return body_of(http.body, arguments, self._environment)
        return None if http.method in ("GET", "DELETE") else dict(arguments)

    async def _send(self, outgoing: _Outgoing, http: HttpRequest) -> str | _Outgoing:
        """Send the request; returns its result, or where to go on.  Raises ToolError and what aiohttp raises."""
        if why := literal_refusal(outgoing.url.host or "", http.private_hosts):
            raise AddressRefused(why)
        data = None if outgoing.body is None else json.dumps(outgoing.body, ensure_ascii=False).encode()
        headers = outgoing.headers if data is None else {**outgoing.headers, "Content-Type": "application/json"}
        async with self._client(frozenset(http.private_hosts), outgoing.method == "GET").request(
            outgoing.method, outgoing.url, headers=headers, data=data, allow_redirects=False
        ) as response:
            if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                return _redirected(outgoing, response.status, location)
            body = await _bounded(response)
            media = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return answers.result_of(
                answers.ServiceAnswer(response.status, media, body, response.charset or "utf-8"),
                http.result,
                outgoing.harmless,
            )

    def _client(self, private_hosts: frozenset[str], keeps: bool) -> aiohttp.ClientSession:
        """The client for these private hosts.  One that `keeps` connections may meet one that the server has just
        closed, after which it is not known whether a request arrived: that is for a GET only.
        """
        key = (private_hosts, keeps)
        if key not in self._clients:
            if len(self._clients) >= CLIENTS_MAX:
                raise ToolError(ToolOutcome.REFUSED, answers.NOT_SET_UP)
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(private_hosts), use_dns_cache=False, limit=CONNECTIONS_MAX, ssl=tls(),
                **({"keepalive_timeout": KEEPALIVE_S} if keeps else {"force_close": True}),
            )  # fmt: skip
            self._clients[key] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S), middlewares=(_sent_once,),
            )  # fmt: skip
        return self._clients[key]

    def _warn_once(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < WARNED_MAX:
            self._warned.add(text)
            log.warning("%s", text)


def _redirected(outgoing: _Outgoing, status: int, location: str) -> _Outgoing:
    """The next request after a redirect.  Raises ToolError if it is not followed."""
    try:
        url = outgoing.url.join(URL(location))
        same_host = url.origin() == outgoing.url.origin()
    except ValueError:
        raise ToolError(ToolOutcome.FAILED, answers.BAD_REDIRECT) from None
    if url.scheme not in ("http", "https") or (outgoing.url.scheme == "https" and url.scheme == "http") or url.user:
        raise ToolError(ToolOutcome.REFUSED, answers.BAD_REDIRECT)
    if status in (301, 302, 303):
        further = replace(outgoing, method="GET", url=url, body=None)
    elif outgoing.method == "GET" or same_host:
        further = replace(outgoing, url=url)
    else:
        raise ToolError(ToolOutcome.REFUSED, answers.BAD_REDIRECT)
    if same_host:
        return further
    kept = {key: value for key, value in further.headers.items() if key.lower() in _KEPT_HEADERS}
    return replace(further, headers=kept)


async def _bounded(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; None if it has more than ANSWER_BYTES_MAX bytes, of which no more are read."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)
