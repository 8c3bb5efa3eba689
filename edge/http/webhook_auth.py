"""Authenticates webhooks: Vobiz signs them, and each is accepted once.

The signature covers the URL and a nonce, not the body, and has no time; so a nonce is remembered for a day (nonces.py)
with a digest of its request.  The same request again is one of Vobiz's own retries and is served again (every webhook
is idempotent); the same nonce with another body or query is a replay and is refused.  webhook_urls.py then checks that
the URL was given to the carrier for this call.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request

from common.store import EdgeAuth
from common.telemetry import metrics
from edge.http.limits.rate_limit import LIMITED
from edge.http.nonces import Nonces
from edge.http.parameters import BadRequest
from edge.vobiz.signatures import HOST, Policy, public_url_candidates, trusted_peer, verify

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookAuth:
    """Checks webhooks.  `tokens` are the account's and, for a sub-account, its parent's."""

    store: EdgeAuth
    policy: Policy
    tokens: tuple[str, ...]
    public_url: str
    proxies: tuple[str, ...]
    nonces: Nonces = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nonces", Nonces(self.store))

    async def refusal(self, request: Request, body: bytes) -> str:
        """Why the request is refused, from a closed set; empty if it is accepted."""
        if self.policy is Policy.OFF:
            return ""
        checked = verify(request.headers, self._urls(request), self.tokens)
        refused = self.policy.refuses(checked)
        reason = str(refused) if refused else await self._replayed(checked.nonces, request, body)
        if reason:
            self.note_refused(request, reason)
        return reason

    def note_refused(self, request: Request, reason: str) -> None:
        """Count and log a refused webhook."""
        metrics.WEBHOOKS_REFUSED.labels(reason).inc()
        if not request.scope.get(LIMITED):  # an address over its limit must not fill the log
            log.warning("a webhook to %s was refused: %s", request.url.path, reason)

    def base_url(self, request: Request) -> str:
        """The public base URL of this request; a trusted proxy's headers are taken into account.

        Raises BadRequest if the Host header names no host, since no URL can be made of it.
        """
        came = public_url_candidates("", str(request.base_url), request.headers, trusted=self._trusted(request))
        if not came or not _is_place(came[0]):
            raise BadRequest(400, "bad_host", "The Host header is not a host.")
        return came[0]

    def _urls(self, request: Request) -> tuple[str, ...]:
        trusted = self._trusted(request)
        return public_url_candidates(self.public_url, str(request.url), request.headers, trusted=trusted)

    def _trusted(self, request: Request) -> bool:
        return trusted_peer(request.client.host if request.client else "", self.proxies)

    async def _replayed(self, nonces: tuple[str, ...], request: Request, body: bytes) -> str:
        digest = hashlib.sha256(b"\0".join((str(request.url).encode(), body))).hexdigest()[:32]
        now_s = asyncio.get_running_loop().time()
        for nonce in nonces:
            if not await self.nonces.is_new(nonce, digest, now_s):
                return "nonce_replayed"
        return ""


def _is_place(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return HOST.fullmatch(parts.netloc) is not None and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets around no address, or a port out of range
        return False
