"""The book of outbound calls in Redis: documents with a version, a queue, and one dialer at a time.

Keys (one Redis Cluster slot, by the tag {dials}):

  {dials}:<id>        hash    version, body (msgpack); expires CALL_RETENTION after the last change
  {dials}:key:<key>   string  the dial that an idempotency key made
  {dials}:queued      zset    by the time at which to place it
  {dials}:open        zset    by the time at which to look it up
  {dials}:dialer      string  who dials now; expires unless renewed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from common.ledger.client import Client
from common.redis_url import parse_redis_url

QUEUE_MAX = 10_000
"""Requested calls that may wait; one more is refused."""
KEY_SECONDS = 86_400
"""How long an idempotency key is remembered."""

_ADD = """
local known = ARGV[1] ~= '' and redis.call('GET', KEYS[4])
if known then return {0, known} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then return {-1, ''} end
redis.call('HSET', KEYS[1], 'version', 1, 'body', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
if ARGV[1] ~= '' then redis.call('SET', KEYS[4], ARGV[2], 'EX', ARGV[7]) end
return {1, ARGV[2]}
"""

_WRITE = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2] + 1, 'body', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if ARGV[4] == 'queued' then redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1]) end
if ARGV[4] == 'open' then redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1]) end
return 1
"""

_LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class QueueFull(Exception):
    """`QUEUE_MAX` calls wait already."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored dial; `version` must be given back to `write`."""

    version: int
    body: dict[str, Any]


class DialBook:
    """Raises ConnectionError or TimeoutError while the server is away."""

    def __init__(self, client: Client, retention_s: int) -> None:
        self._client = client
        self._redis = client.redis
        self._retention_s = retention_s
        self._add = self._redis.register_script(_ADD)
        self._write = self._redis.register_script(_WRITE)
        self._lead = self._redis.register_script(_LEAD)

    @classmethod
    def connect(cls, url: str, name: str, retention_s: int) -> DialBook:
        """Connects lazily; `aclose` when done.  With several shards the book is on the first."""
        return cls(Client(parse_redis_url(url)[0], f"{name}:dials"), retention_s)

    async def aclose(self) -> None:
        """Close all connections; the book cannot be used afterwards."""
        await self._client.aclose()

    async def add(self, dial_id: str, body: dict[str, Any], due_ms: int, key: str = "") -> str:
        """Queue a new dial and return its id; with a known idempotency key, the id of the dial it made before.

        Raises QueueFull.
        """
        keys = [_name(dial_id), _QUEUED, _OPEN, f"{{dials}}:key:{key}"]
        args = [key, dial_id, msgpack.packb(body), due_ms, self._retention_s, QUEUE_MAX, KEY_SECONDS]
        outcome, known = await self._client.reached(self._add(keys=keys, args=args))
        if outcome < 0:
            raise QueueFull(f"{QUEUE_MAX} calls wait already")
        return str(known.decode())

    async def read(self, dial_id: str) -> Entry | None:
        """The dial as it stands, or None if it is not known (any more)."""
        fields: Any = await self._client.reached(self._redis.hgetall(_name(dial_id)))
        return Entry(int(fields[b"version"]), msgpack.unpackb(fields[b"body"])) if fields else None

    async def write(self, dial_id: str, version: int, body: dict[str, Any], where: str, due_ms: int) -> bool:
        """Replace the document if it still has this version.  `where`: "queued", "open" or "closed"."""
        keys = [_name(dial_id), _QUEUED, _OPEN]
        args = [dial_id, version, msgpack.packb(body), where, due_ms, self._retention_s]
        return bool(await self._client.reached(self._write(keys=keys, args=args)))

    async def due(self, now_ms: int, count: int) -> list[str]:
        """Queued dials whose time has come, the earliest first."""
        return await self._range(_QUEUED, now_ms, count)

    async def overdue(self, now_ms: int, count: int) -> list[str]:
        """Open dials of which nothing was heard for too long."""
        return await self._range(_OPEN, now_ms, count)

    async def open_count(self) -> int:
        """Dials that take a line now."""
        return int(await self._client.reached(self._redis.zcard(_OPEN)))

    async def lead(self, owner: str, ms: int) -> bool:
        """Be, or go on being, the one who dials."""
        return bool(await self._client.reached(self._lead(keys=["{dials}:dialer"], args=[owner, ms])))

    async def _range(self, key: str, until_ms: int, count: int) -> list[str]:
        found: Any = await self._client.reached(self._redis.zrangebyscore(key, "-inf", until_ms, start=0, num=count))
        return [dial_id.decode() for dial_id in found]


_QUEUED = "{dials}:queued"
_OPEN = "{dials}:open"


def _name(dial_id: str) -> str:
    return f"{{dials}}:{dial_id}"
