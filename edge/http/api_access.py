"""Decides who may use the REST API: holders of its token; without a token only programs of this machine.  Pure.

The peer's address proves little.  A browser on this machine may show a stranger's page, and a stranger's name may
resolve to 127.0.0.1 (DNS rebinding); a proxy on this machine forwards everybody.  So without a token a request is
served only if nothing in it suggests a page or a proxy:

- the peer is loopback, and the one `Host` is a name of loopback (127.0.0.0/8, ::1, localhost);
- `Sec-Fetch-Site` and `Origin`, which only browsers send, name no other site;
- no header is present that a proxy adds, and the request is HTTP/1.1: nginx's plain `proxy_pass` adds no header and
  sends its upstream's address as the Host, but speaks HTTP/1.0.

A proxy can be configured to leave no trace, so this is not enough for an edge that strangers may reach: an edge with
`PUBLIC_URL`, hence every edge that can place calls, always has a token (edge/http/api_token.py).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.process.addresses import peer_ip

OWN_SITES = frozenset({"same-origin", "same-site", "none"})
"""Values of `Sec-Fetch-Site` for a page of our own, or for an address typed by a person."""
JSON_TYPE = "application/json"
"""The Content-Type that a body must have: a page of another site cannot send it without a preflight."""

_FORWARDED = re.compile(
    r"x[-_](?!requested-with$).*|forwarded.*|via|(true-|real-|incap-|remote-)?(client-)?(ip|addr)|remote-(user|host)"
    r"|(cf|cdn|akamai|ali|fastly|fly|tailscale|ngrok|proxy|wl-proxy|ssl|front-end|surrogate)-.*"
)
"""Headers that proxies, balancers, tunnels and CDNs add; no client of the API needs one."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class AccessRefused:
    """Why a request is refused: HTTP status, code from a closed set, and a message that says what to do."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The checked parts of a request.  Header names are in lower case, each as often as it was sent."""

    peer: str
    http_version: str
    headers: Sequence[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        """All values of one header."""
        return [value.strip() for known, value in self.headers if known == name]


def refusal(asked: Asked, token: str) -> AccessRefused | None:
    """Why the request may not use the API; None if it may.  An empty `token` means that there is none."""
    if token:
        return None if _bears(asked.values("authorization"), token) else AccessRefused(
            401, "unauthorized", "Send Authorization: Bearer <API_TOKEN>."
        )  # fmt: skip
    why = _not_from_here(asked)
    if not why:
        return None
    return AccessRefused(403, "loopback_only", f"{why}  Set API_TOKEN to use the API from elsewhere.")


def body_refusal(asked: Asked) -> AccessRefused | None:
    """Why a request without a token may not send its body: its Content-Type must be JSON.  None if it may."""
    named = asked.values("content-type")
    if len(named) == 1 and named[0].partition(";")[0].strip().lower() == JSON_TYPE:
        return None
    return AccessRefused(415, "unsupported_media_type", f"Send JSON with Content-Type: {JSON_TYPE}.")


def _bears(given: Sequence[str], token: str) -> bool:
    if len(given) != 1:
        return False
    scheme, _, bearer = given[0].partition(" ")
    right = hmac.compare_digest(bearer.strip().encode(), token.encode())
    return right and scheme.lower() == "bearer"


def _not_from_here(asked: Asked) -> str:
    """Why the request may not be from a program of this machine; empty if it is."""
    if not is_loopback(asked.peer):
        return "Without API_TOKEN the API answers this machine only."
    if any(_FORWARDED.fullmatch(name) for name, _ in asked.headers):
        return "The request came through a proxy."
    if asked.http_version != "1.1":
        return "The request is HTTP/1.0, as proxies send it; programs of this machine use HTTP/1.1."
    hosts = asked.values("host")
    if len(hosts) != 1 or not is_loopback_name(hosts[0]):
        return "The Host header is not a loopback name such as 127.0.0.1 or localhost."
    if any(site.lower() not in OWN_SITES for site in asked.values("sec-fetch-site")):
        return "A page of another site sent the request."
    if any(not _is_loopback_origin(origin) for origin in asked.values("origin")):
        return "A page of another site sent the request."
    return ""


def is_loopback(address: str) -> bool:
    """Whether this is a loopback address."""
    found = peer_ip(address)
    return found is not None and found.is_loopback


def is_loopback_name(host: str) -> bool:
    """Whether the host, with or without a port, always means loopback, whatever DNS says."""
    shape = _HOST.fullmatch(host)
    if shape is None:
        return False
    name = shape[1]
    return name.lower() == "localhost" or is_loopback(name.strip("[]"))


def _is_loopback_origin(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and is_loopback_name(parts.netloc)


def headers_of(raw: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Convert the headers of an ASGI scope for `Asked`."""
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
