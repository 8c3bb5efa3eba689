"""Who keeps failing is answered 429: garbage, bad signatures, bad tokens, addresses that are not there.

Wrong tokens of the API are counted by themselves: ten at once, then one every 5 s.

Only failures are counted.  The carrier sends thousands of calls from a few addresses, and everybody may share one with
a stranger behind a proxy; so whatever is valid is served, always.  What a stranger costs is bounded all the same: no
line in the log and no body for each try, and the table of addresses has an end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.telemetry import metrics
from edge.vobiz.signatures import trusted_peer

FAILURES_AT_ONCE = 200
FAILURES_PER_SECOND = 2.0
GUESSES_AT_ONCE = 10
GUESSES_PER_SECOND = 0.2
"""Wrong tokens of the API that one address may send: whoever has the right one sends no wrong ones, or few."""
ADDRESSES_MAX = 10_000
IPV6_PREFIX = 64
"""Of an IPv6 address counts as one: everybody has as many behind it as they like."""
FORWARDED_MAX = 20
"""Hops in X-Forwarded-For that are looked at, from ours on."""
LIMITED = "voice.limited"
"""Key in the ASGI scope: this address has used up its failures, so another one is no news for the log."""
UNAUTHORIZED = 401
"""Only the API answers it, to a wrong token."""
_FAILURES = frozenset({400, 401, 403, 404, 405, 411, 413, 415})
_API_FAILURES = frozenset({401, 403})
"""Under /v1 the others are an authorised client's own."""


class Buckets:
    """One token bucket for each address: `charge` it for a failure, ask `wait_s` how long it has none left.  Pure."""

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
        """Seconds until the address may fail again; 0 if it may now."""
        missing = 1.0 - self._level(address, now_s)
        return max(0.0, missing / self._per_second)

    def charge(self, address: str, now_s: float) -> None:
        """It failed.  Below nothing it does not sink: whoever stops is forgiven in two minutes."""
        level = max(0.0, self._level(address, now_s) - 1.0)
        self._levels[address] = (level, now_s)
        self._levels.move_to_end(address)
        if len(self._levels) > self._max:
            self._levels.popitem(last=False)

    def _level(self, address: str, now_s: float) -> float:
        level, at_s = self._levels.get(address, (float(self._at_once), now_s))
        return min(self._at_once, level + (now_s - at_s) * self._per_second)


def client_address(peer: str, forwarded_for: str, proxies: tuple[str, ...]) -> str:
    """Who asks: the peer, or behind proxies of ours the last address that none of them has.  "" is nobody known."""
    address = peer
    for hop in reversed(forwarded_for.split(",")[-FORWARDED_MAX:]):
        if not trusted_peer(address, proxies):
            break
        address = hop.strip() or address
    try:
        found = ip_address(address)
    except ValueError:
        return "" if address != peer else peer
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ip_network((found, IPV6_PREFIX), strict=False))
    return str(found)


@dataclass(frozen=True, slots=True)
class Limited:
    """The application, with 429 in place of an error for whoever has had too many.  `now_s` is a steady clock."""

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
