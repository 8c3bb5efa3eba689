"""Makes the Secrets of Redis for deploy/k8s: each role gets a password of its own, and no other role's.

    python -m deploy.k8s.redis_secrets | kubectl apply -f -              for components/redis-sentinel
    python -m deploy.k8s.redis_secrets --tls | kubectl apply -f -        and components/redis-tls
    python -m deploy.k8s.redis_secrets --server redis.example.com:6380 --tls | …    for components/redis-external

    voice-redis-edge, -stt, …, -tools    REDIS_URL with the role's own user; read by that Deployment alone
    voice-redis-server                   users.acl, and the passwords of `replica` and `probe`; for the servers
    voice-redis-sentinel                 users.acl of the sentinels, and the passwords of `sentinel` and `probe`
    voice-redis-admin                    the passwords of `admin` and `watch` (an exporter of yours); in no pod of ours

Each run makes new passwords and prints them to standard output only: pipe it, or protect the file.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import yaml

from common.protocol.redis_keys import ALL_POOLS
from deploy.redis.acl import SENTINEL_USERS, USERS, VARIABLE, acl_file

ROLES = ("edge", *ALL_POOLS)
SET = "voice"
"""The name of the primary at the sentinels (components/redis-sentinel)."""
MEMBERS = 3
PASSWORD_BYTES = 32
CA_FILE = "/redis-ca/ca.crt"
"""The path at which components/redis-tls mounts the authority's certificate."""


def new_passwords(new: Callable[[], str] = lambda: secrets.token_hex(PASSWORD_BYTES)) -> dict[str, str]:
    """Return variable -> password for every user; hexadecimal, so that no URL or shell needs escapes."""
    return {f"{VARIABLE}{user.name.upper()}": new() for user in USERS}


def url(role: str, password: str, namespace: str, tls: bool, server: str = "") -> str:
    """Return REDIS_URL of a role: through the sentinels of the namespace, or to the one `server` (host:port)."""
    scheme = "rediss" if tls else "redis"
    if server:
        return f"{scheme}://{role}:{password}@{server}/0"
    hosts = ",".join(f"sentinel-{n}.sentinel.{namespace}.svc:26379" for n in range(MEMBERS))
    options = f"sentinel_user={role}&sentinel_password={password}"
    ca = f"&ca={quote(CA_FILE)}" if tls else ""
    return f"{scheme}+sentinel://{role}:{password}@{hosts}/{SET}/0?{options}{ca}"


def documents(passwords: Mapping[str, str], namespace: str, tls: bool, server: str = "") -> list[dict[str, Any]]:
    """Return the Secrets in the order of the table above."""

    def some(*users: str) -> dict[str, str]:
        return {f"{VARIABLE}{user.upper()}": passwords[f"{VARIABLE}{user.upper()}"] for user in users}

    found = [
        _secret(
            f"voice-redis-{role}", namespace, {"REDIS_URL": url(role, *some(role).values(), namespace, tls, server)}
        )
        for role in ROLES
    ]
    users = {"users.acl": acl_file(passwords)}
    found.append(_secret("voice-redis-server", namespace, {**users, **some("replica", "probe")}))
    if not server:
        users = {"users.acl": acl_file(passwords, SENTINEL_USERS)}
        found.append(_secret("voice-redis-sentinel", namespace, {**users, **some("sentinel", "probe")}))
    return [*found, _secret("voice-redis-admin", namespace, some("admin", "watch"))]


def _secret(name: str, namespace: str, data: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": dict(data)}


def main(argv: Sequence[str] = ()) -> int:
    """Print the Secrets as YAML."""
    parser = argparse.ArgumentParser(prog="python -m deploy.k8s.redis_secrets", description="Secrets of Redis.")
    parser.add_argument("--namespace", default="voice")
    parser.add_argument("--tls", action="store_true", help="URLs of components/redis-tls, or of a server with TLS")
    parser.add_argument("--server", default="", metavar="HOST:PORT", help="one server of your own, without sentinels")
    asked = parser.parse_args(argv)
    print(  # noqa: T201
        yaml.safe_dump_all(documents(new_passwords(), asked.namespace, asked.tls, asked.server), sort_keys=False),
        end="",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
