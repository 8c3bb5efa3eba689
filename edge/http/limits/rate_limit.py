"""Answers 429 to addresses whose requests keep failing: garbage, bad signatures, wrong tokens, unknown paths.

Wrong API tokens are counted separately: ten at once, then one every 5 s.

Only failures are counted.  The carrier sends thousands of calls from a few addresses, and behind a proxy all clients
may share one with a stranger; so valid requests are always served.  A stranger's cost is bounded all the same: over the
limit no failure gets a log line or a body of its own, and the table of addresses is bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from math import ceil

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.process.addresses import peer_ip
from common.telemetry import metrics
from edge.vobiz.signatures import trusted_peer

FAILURES_AT_ONCE = 200
FAILURES_PER_SECOND = 2.0
GUESSES_AT_ONCE = 10
GUESSES_PER_SECOND = 0.2
"""Wrong API tokens that one address may send; a client with the right token sends few."""
ADDRESSES_MAX = 10_000
IPV6_PREFIX = 64
"""Prefix length by which IPv6 addresses are counted: each client has many addresses within it."""
FORWARDED_MAX = 20
"""Hops of X-Forwarded-For that are examined, beginning with the nearest."""
LIMITED = "voice.limited"
"""Key in the ASGI scope: the address is over its limit, so its failures are not logged."""
UNAUTHORIZED = 401
"""Only the API answers with it, to a wrong token."""
_FAILURES = frozenset({400, 401, 403, 404, 405, 411, 413, 415})
_API_FAILURES = frozenset({401, 403})
"""Under /v1 other errors are those of an authorised client."""


class Buckets:
    """One token bucket per address: `charge` it for a failure; `wait_s` is the time until it has a token.  Pure."""

    def __init__(
        self,
        at_once: int = FAILURES_AT_ONCE,
        per_second: float = FAILURES_PER_SECOND,
        addresses_max: int = ADDRESSES_MAX,
    ) -> None:
        self._at_once, self._per_second, self._max = at_once, per_second, addresses_max
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> (tokens, at), oldest first

    def __len__(self) -> int:
        return len(self._levels)

    def wait_s(self, address: str, now_s: float) -> float:
        """Seconds until the address may fail again; 0 if it may now.  `now_s` is of a monotonic clock."""
        missing = 1.0 - self._level(address, now_s)
        return max(0.0, missing / self._per_second)

    def charge(self, address: str, now_s: float) -> None:
        """Count a failure.  The level does not go below 0, so the bucket is full again two minutes after the last
        failure.
        """
        level = max(0.0, self._level(address, now_s) - 1.0)
        self._levels[address] = (level, now_s)
        self._levels.move_to_end(address)
        if len(self._levels) > self._max:
            self._levels.popitem(last=False)

    def _level(self, address: str, now_s: float) -> float:
        level, at_s = self._levels.get(address, (float(self._at_once), now_s))
        return min(self._at_once, level + (now_s - at_s) * self._per_second)


def client_address(peer: str, forwarded_for: str, proxies: tuple[str, ...]) -> str:
    """The client's address: the peer, or behind trusted proxies the last untrusted hop.  "" if it is unknown."""
    address = peer
    for hop in reversed(forwarded_for.split(",")[-FORWARDED_MAX:]):
        if not trusted_peer(address, proxies):
            break
        address = hop.strip() or address
    found = peer_ip(address)
    if found is None:
        return "" if address != peer else peer
    return str(ip_network((found, IPV6_PREFIX), strict=False) if found.version == 6 else found)


@dataclass(frozen=True, slots=True)
class Limited:
    """ASGI middleware that replaces an error by 429 for an address over its limit.  `now_s` is a monotonic clock."""

    app: ASGIApp
    buckets: Buckets
    proxies: tuple[str, ...]
    now_s: Callable[[], float]
    guesses: Buckets = field(default_factory=lambda: Buckets(GUESSES_AT_ONCE, GUESSES_PER_SECOND))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else ""
        address = client_address(peer, Headers(scope=scope).get("x-forwarded-for", ""), self.proxies)
        scope[LIMITED] = self.buckets.wait_s(address, self.now_s()) > 0
        failures = _API_FAILURES if scope["path"].startswith("/v1/") else _FAILURES
        replaced = False

        async def answer(message: Message) -> None:
            nonlocal replaced
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                if message["status"] in failures:
                    buckets = self.guesses if message["status"] == UNAUTHORIZED else self.buckets
                    wait_s = buckets.wait_s(address, self.now_s())
                    buckets.charge(address, self.now_s())
                    if wait_s > 0:
                        replaced = True
                        metrics.FAILURES_LIMITED.labels(scope["type"]).inc()
                        await _too_many(wait_s)(scope, receive, send)
                        return
            elif replaced and message["type"] in ("http.response.body", "websocket.http.response.body"):
                return
            await send(message)

        await self.app(scope, receive, answer)


def _too_many(wait_s: float) -> JSONResponse:
    body = {"error": {"code": "too_many_failures", "message": "Too many requests from here have failed; wait."}}
    return JSONResponse(body, 429, {"retry-after": str(ceil(wait_s))})
