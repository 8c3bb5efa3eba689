"""Reads addresses: of a listener on HTTP_HOST, of a peer, and of a server with HTTP and WebSockets.  Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit

LOOPBACK = "127.0.0.1"


def near_address(host: str) -> str:
    """A local address for a listener on `host`: loopback if it listens on every address, else its own."""
    bare = host.strip().strip("[]")
    if not bare:
        return LOOPBACK
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare  # a host name
    if not address.is_unspecified:
        return bare
    return "::1" if address.version == 6 else LOOPBACK


def near_url(host: str, port: int) -> str:
    """The `http://…` URL of the listener, without a slash at its end."""
    address = near_address(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def peer_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address of a peer; None if it is none.  An IPv4 peer of a dual-stack socket is IPv4."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def http_url(url: str) -> str:
    """`wss://host/path/` as `https://host/path`; of an http or https URL only the slash at its end is removed."""
    return _with_scheme(url, {"ws": "http", "wss": "https"})


def socket_url(url: str) -> str:
    """`https://host/path/` as `wss://host/path`; of a ws or wss URL only the slash at its end is removed."""
    return _with_scheme(url, {"http": "ws", "https": "wss"})


def _with_scheme(url: str, schemes: dict[str, str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme=schemes.get(parts.scheme, parts.scheme))).rstrip("/")
