"""Prints the users of Redis: one for each kind of process, with the keys and commands of docs/bus.md and no others.

    REDIS_PASSWORD_EDGE=… REDIS_PASSWORD_STT=… … python -m deploy.redis.acl > users.acl
    …                                            python -m deploy.redis.acl --sentinel > sentinel-users.acl

Passwords come from the environment, or from files (`REDIS_PASSWORD_EDGE_FILE`), and leave as SHA-256; without any of
them the template with placeholders is printed, which is `users.acl.example`.  `edge`, `stt`, `llm`, `tts` and
`tools` are needed.  `replica`, `sentinel`, `probe` (health checks and scripts beside a server), `watch` (a metrics
exporter) and `admin` are written if they have a password; the default user is off.  Sentinels have users of their own:
each role may ask them who the primary is.  Redis 7 or Valkey: the key patterns that are only read or only written need
it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.protocol.redis_keys import ALL_POOLS, TOOLS_POOL

PASSWORD_CHARS_MIN = 16
VARIABLE = "REDIS_PASSWORD_"

_CONNECT = "hello auth ping role select client|setname client|id client|unblock script|load"
"""Commands that every process sends when it connects and to keep the connection."""
_SCRIPTS = "evalsha time hget hset hdel hmget hgetall hlen hincrby exists expire pexpire persist pttl del xadd zrem"
"""Commands of the store's scripts, and those that the scripts call: Redis checks them like any others."""
_OFFERS = "xlen xrange xdel"
"""Commands by which the script of an offer looks for an existing offer."""
_POOL = (
    "get set xread xrevrange xreadgroup xautoclaim xack xgroup|create xgroup|delconsumer xinfo|consumers zadd zcount"
    " zrangebyscore zremrangebyscore zscore lpush ltrim"
)


@dataclass(frozen=True, slots=True)
class RedisUser:
    """One user.  Key patterns are read-only (`%R~`), write-only (`%W~`) or both (`~`)."""

    name: str
    keys: str
    commands: str
    needed: bool = True
    channels: str = ""

    def line(self, password: str) -> str:
        """Return the user's line of the ACL file; `password` is a hash or a placeholder."""
        allowed = " ".join(command if command[0] in "+-" else f"+{command}" for command in self.commands.split())
        parts = ("user", self.name, "on", "sanitize-payload", f"#{password}", "resetchannels", self.channels, self.keys)
        return " ".join(part for part in (*parts, "-@all", allowed) if part)


_TO_EDGES = "%W~edge:*:priority"


def _pool(pool: str, media: str, commands: str = "") -> RedisUser:
    keys = (
        f"~call:*:state ~call:*:events ~call:*:effects ~pool:{pool}:calls ~pool:{pool}:leases ~pool:{pool}:scan"
        f" ~pool:{pool}:ready ~pool:{pool}:healthy ~pool:{pool}:quarantine ~pool:{pool}:unreadable"
        f" ~pulse %R~calls:live ~nodes:{pool} {media}"
    )
    return RedisUser(pool, keys.strip(), f"{_CONNECT} {_SCRIPTS} {_OFFERS} {_POOL} {commands}".strip())


USERS = (
    RedisUser(
        "edge",
        "~call:* ~edge:* ~pool:*:calls ~pool:*:leases ~pool:*:ready ~pool:*:scan ~calls:* ~nodes:edge ~nonce:*"
        " ~deployment:stream-secret ~{dials}:* ~{agents}:* ~pulse",
        f"{_CONNECT} {_SCRIPTS} {_OFFERS} xread xrevrange copy get set zadd zcard zrange zrevrange zrangebyscore"
        " zremrangebyscore zscore type info lpush ltrim",
    ),
    _pool("stt", f"{_TO_EDGES} %R~call:*:audio"),
    _pool("llm", _TO_EDGES),
    _pool("tts", f"{_TO_EDGES} %W~edge:*:audio ~speech:*", "get zcard zpopmin"),
    _pool(TOOLS_POOL, "%R~call:*:secrets"),  # it runs code of others, and gives no order to an edge
    RedisUser(
        "watch", "%R~pool:*:calls %R~edge:*", "ping info xlen xpending xinfo|groups client|setname", needed=False
    ),
    RedisUser("probe", "", "ping info role dbsize client|pause client|setname", needed=False),
    RedisUser("replica", "", "psync replconf ping", needed=False),
    RedisUser(
        "sentinel",
        "",
        "multi slaveof replicaof ping exec subscribe config|rewrite role publish info client|setname client|kill"
        " script|kill",
        needed=False,
        channels="allchannels",
    ),
    RedisUser("admin", "~*", "+@all", needed=False, channels="allchannels"),
)

_ASK = "hello auth ping client|setname sentinel|get-master-addr-by-name"
SENTINEL_USERS = (
    *(RedisUser(role, "", _ASK) for role in ("edge", *ALL_POOLS)),
    RedisUser("probe", "", "ping sentinel|get-master-addr-by-name sentinel|failover", needed=False),
    RedisUser(
        "sentinel",
        "",
        "hello auth ping publish client|setname sentinel|is-master-down-by-addr",
        needed=False,
        channels="allchannels",
    ),
    RedisUser("admin", "~*", "+@all", needed=False, channels="allchannels"),
)
"""Of the sentinels.  A role has the password that it has at the servers."""


class BadPasswords(Exception):
    """The passwords cannot be used; the text lists every problem, one a line, and no password."""


def template() -> str:
    """Return the file with a placeholder for each password; Redis refuses it unchanged."""
    return _file({user.name: f"<SHA-256 of {VARIABLE}{user.name.upper()}>" for user in USERS})


def acl_file(environ: Mapping[str, str], users: Sequence[RedisUser] = USERS) -> str:
    """Return the file of these users with the hashes of the passwords.  Raises BadPasswords."""
    hashes: dict[str, str] = {}
    known: dict[str, str] = {}
    problems = []
    for user in users:
        variable = f"{VARIABLE}{user.name.upper()}"
        password = _password(environ, variable)
        if not password and not user.needed:
            continue
        if len(password) < PASSWORD_CHARS_MIN:
            problems.append(f"{variable}: {'too short' if password else 'missing'}; {PASSWORD_CHARS_MIN} characters")
        elif (other := known.setdefault(password, user.name)) != user.name:
            problems.append(f"{variable}: the same as {other}'s")
        hashes[user.name] = hashlib.sha256(password.encode()).hexdigest()
    if problems:
        raise BadPasswords("\n".join(problems))
    return _file(hashes, users)


def _password(environ: Mapping[str, str], variable: str) -> str:
    path = environ.get(f"{variable}_FILE", "")
    return Path(path).read_text("utf-8").strip() if path else environ.get(variable, "").strip()


def _file(hashes: Mapping[str, str], users: Sequence[RedisUser] = USERS) -> str:
    """Return the text of an ACL file, in which Redis allows no comments."""
    lines = [user.line(hashes[user.name]) for user in users if user.name in hashes]
    return "\n".join(["user default off sanitize-payload resetchannels -@all", *lines, ""])


def main(argv: Sequence[str] = ()) -> int:
    """Print the file; return 2 if the passwords cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m deploy.redis.acl", description="Prints the users of Redis.")
    parser.add_argument("--sentinel", action="store_true", help="print the users of the sentinels instead")
    users = SENTINEL_USERS if parser.parse_args(argv).sentinel else USERS
    if not any(name.startswith(VARIABLE) for name in os.environ):
        print(template(), end="")  # noqa: T201
        return 0
    try:
        print(acl_file(os.environ, users), end="")  # noqa: T201
    except (BadPasswords, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
