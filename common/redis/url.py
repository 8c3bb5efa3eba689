"""Parses REDIS_URL, without access to the network.

  redis://[user:password@]host[:port][/db]                        one server
  rediss://…                                                      the same over TLS
  unix:///path/to/socket[?db=1]                                   one server on this machine
  redis+sentinel://[user:password@]h1[:port],h2[:port]/set[/db]   the primary of `set`, as these sentinels know it
  rediss+sentinel://…                                             TLS to the sentinels and to the servers

User and password are those of the data servers; sentinels with their own take `?sentinel_password=…` and, if they have
users, `&sentinel_user=…`.  With TLS, `?ca=/path` names the file of the authority that signed the servers'
certificates, if the system does not know it.  Several URLs separated by commas are shards (common/bus/shards.py), in a
fixed order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

REDIS_PORT = 6379
SENTINEL_PORT = 26379
SHARDS_MAX = 32
"""The number of hash tags (common/protocol/redis_keys.py)."""

_NEXT_URL = re.compile(r",\s*(?=[a-z+]+://)")
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:/?#@\[\],]*))(?::(?P<port>[0-9]{1,5}))?")
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_OPTIONS = frozenset({"db", "sentinel_user", "sentinel_password", "ca"})


class BadRedisUrl(ValueError):
    """The URL is wrong.  The text says why and never repeats the URL, which may have a password."""


@dataclass(frozen=True, slots=True)
class Login:
    """User and password; both empty: no login.  A password without a user is that of the default user."""

    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """The location of one shard.  With a `set`, `hosts` are its sentinels; else there is one host, or a `path`."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    set: str = ""
    """The sentinels' name for the primary and its replicas."""
    db: int = 0
    tls: bool = False
    ca: str = ""
    """PEM file of the only authority that is trusted; empty: the system's."""
    login: Login = Login()
    sentinel_login: Login = Login()

    def __str__(self) -> str:
        """The addresses without user and password, fit for logs."""
        if self.path:
            return self.path
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{where}/{self.set}" if self.set else where


def parse_redis_url(text: str) -> tuple[RedisTarget, ...]:
    """The shards of REDIS_URL, in order.  Raises BadRedisUrl."""
    targets = tuple(_target(url.strip()) for url in _NEXT_URL.split(text))
    if len(targets) > SHARDS_MAX:
        raise BadRedisUrl(f"{len(targets)} URLs; at most {SHARDS_MAX}")
    if len(set(targets)) < len(targets):
        raise BadRedisUrl("the same URL twice")
    return targets


def _target(url: str) -> RedisTarget:
    scheme, found, rest = url.partition("://")
    if not found or scheme not in _SCHEMES:
        raise BadRedisUrl("something else")
    if re.search(r"\s", url):
        raise BadRedisUrl("a blank in the URL")
    if scheme == "unix":
        return _socket(rest)
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, _, where = authority.rpartition("@")
    options = _options(query)
    names = path.split("/") if path else []
    if scheme.endswith("+sentinel"):
        if not names or not names[0]:
            raise BadRedisUrl("no name of the set of servers behind the sentinels")
        name, *names = map(unquote, names)
        hosts = tuple(_host(part, SENTINEL_PORT, required=True) for part in where.split(","))
    else:
        name, hosts = "", (_host(where, REDIS_PORT, required=False),)
    tls = scheme.startswith("rediss")
    if options.get("ca") and not tls:
        raise BadRedisUrl("a ca without TLS (rediss)")
    if len(names) > 1:
        raise BadRedisUrl("a path that is no number of a database")
    return RedisTarget(
        hosts,
        set=name,
        db=_db(names[0] if names else options.get("db", "")),
        tls=tls,
        ca=options.get("ca", ""),
        login=_login(login),
        sentinel_login=Login(options.get("sentinel_user", ""), options.get("sentinel_password", "")),
    )


def _socket(rest: str) -> RedisTarget:
    parts = urlsplit(f"unix://{rest}")
    login, _, host = parts.netloc.rpartition("@")
    path = unquote(f"{host}{parts.path}")
    if not path:
        raise BadRedisUrl("no path of a socket")
    return RedisTarget(path=path, db=_db(_options(parts.query).get("db", "")), login=_login(login))


def _host(text: str, port: int, required: bool) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise BadRedisUrl("no host, or a port that is no number")
    host = found["six"] or found["name"]
    if not host and required:
        raise BadRedisUrl("a sentinel without a name")
    if found["port"] is not None:
        port = int(found["port"])
        if not 1 <= port <= 65535:
            raise BadRedisUrl("a port beyond 65535")
    return host or "127.0.0.1", port


def _login(text: str) -> Login:
    user, _, password = text.partition(":")
    return Login(unquote(user), unquote(password))


def _options(query: str) -> dict[str, str]:
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        raise BadRedisUrl("an option after the ? that is not name=value") from None
    if not options.keys() <= _OPTIONS:
        raise BadRedisUrl(f"an option after the ? that is none of {', '.join(sorted(_OPTIONS))}")
    return options


def _db(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,4}", text):
        raise BadRedisUrl("a database that is no number")
    return int(text or 0)
