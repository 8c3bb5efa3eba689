"""Finds the address at which a server that listens on HTTP_HOST is reached from this machine."""

from __future__ import annotations

import ipaddress

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
