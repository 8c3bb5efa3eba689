"""Asks a Redis server about itself, by redis-py: nothing that a call waits for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from common.redis.url import RedisTarget

ANSWER_SECONDS = 2.0
"""Deadline of a connect, and of a reply."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """`info` is empty if the server refuses INFO; a length is 0 if it refuses that."""

    info: dict[str, Any]
    stream_lengths: list[int]
    set_size: int


class Inspection:
    """A client of one server, or of the primary that the sentinels name.  It connects when it is used; `aclose` it."""

    def __init__(self, target: RedisTarget, name: str) -> None:
        self._client = _client(target, name)

    async def look(self, streams: Iterable[str], sorted_set: str) -> Inspected:
        """INFO, the lengths of streams, and the size of a set.  Raises ConnectionError if the server is away."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.info()
        for stream in streams:
            pipeline.xlen(stream)
        pipeline.zcard(sorted_set)
        try:
            # A refusal (no right to INFO, still loading) is a value here, not an exception.
            info, *lengths = await pipeline.execute(raise_on_error=False)
        except (redis.RedisError, OSError) as error:
            raise ConnectionError(type(error).__name__) from None
        *stream_lengths, set_size = [length if isinstance(length, int) else 0 for length in lengths]
        return Inspected(info if isinstance(info, dict) else {}, stream_lengths, set_size)

    async def aclose(self) -> None:
        """Close all connections."""
        pool = self._client.connection_pool
        sentinels = pool.sentinel_manager.sentinels if isinstance(pool, SentinelConnectionPool) else ()
        for client in (self._client, *sentinels):
            await client.aclose()


def _client(target: RedisTarget, name: str) -> Redis:
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": target.ca or None} if target.tls else {}
    options: dict[str, Any] = {
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": ANSWER_SECONDS,
        "username": target.login.user or None,
        "password": target.login.password or None,
        "db": target.db,
        "client_name": name,
        **tls,
    }
    if target.path:
        return Redis(unix_socket_path=target.path, **options)
    if not target.set:
        return Redis(host=target.hosts[0][0], port=target.hosts[0][1], **options)
    login = {"username": target.sentinel_login.user or None, "password": target.sentinel_login.password or None}
    sentinels: Any = Sentinel(list(target.hosts), sentinel_kwargs={**options, **login, "db": 0})  # type: ignore[no-untyped-call]
    return cast(Redis, sentinels.master_for(target.set, **options))
