"""Decides which addresses a tool may reach: public ones, and private ones of hosts that the agent file names.  Pure.

A URL comes partly from a model, and a name from a server that anyone may run; so a request could be led to the
metadata service of a cloud, to Redis, or to a neighbour in the cluster.  The decision is about the address that the
connection goes to, after the name was resolved (workers/tools/resolver.py), so that a name that changes its address
between check and connection wins nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"))
)
"""Addresses of the clouds' metadata services, which give credentials to whoever asks; not all of them are private."""
_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "100::/64", "3fff::/20")))
"""Networks for special purposes that older releases of Python take for public ones."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NUMERIC_LABEL = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE)


def refusal(host: str, address: str, private_hosts: Collection[str]) -> str:
    """Why a connection to `address`, which is one of `host`, is not allowed; "" if it is."""
    try:
        found = unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return "no IP address"
    named = {one.strip("[]").rstrip(".").lower() for one in private_hosts}
    if str(found) in named:
        return ""
    if found in METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return "an address of this machine's network, which no tool may reach"
    if is_public(found) or bare(host) in named:
        return ""
    return "a private address; name its host under private_hosts if it is meant"


def literal_refusal(host: str, private_hosts: Collection[str]) -> str:
    """Why a URL may not have this host, before a name is resolved: an address is judged, an odd spelling refused."""
    plain = bare(host)
    try:
        ipaddress.ip_address(plain)
    except ValueError:
        label = plain.rpartition(".")[2]
        return "an odd spelling of an address" if not plain or _NUMERIC_LABEL.fullmatch(label) else ""
    return refusal(host, plain, private_hosts)


def bare(host: str) -> str:
    """The host in lower case, without brackets and without a dot at its end."""
    return host.strip("[]").rstrip(".").lower()


def is_public(address: Address) -> bool:
    """Whether the address is one of the public internet."""
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not any(address in network for network in _NOT_PUBLIC)


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 address that stands for one, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if inner := address.ipv4_mapped or address.sixtofour:
        return inner
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):  # ::a.b.c.d is the oldest form of it
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.teredo[1] if address.teredo else address
