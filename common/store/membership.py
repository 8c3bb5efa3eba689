"""Who lives, what the members of a pool say of themselves, and the calls that it will not run again, in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from common.protocol import redis_keys
from common.redis.client import Client
from common.redis.refusals import KeyRefused
from common.store import READY_STALE_MS, scripts
from common.store.members import QUARANTINE_MAX, Members, Quarantined

QUARANTINE_SECONDS = 7 * 24 * 3600
"""The list is forgotten so long after the last one."""
NODE_STALE_MS = 150_000
"""A node that was silent for so long is forgotten."""

# Key: one of the sets of members.  Argument: for how many ms a member's word holds.
_MEMBERS = """
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1], '+inf')
"""


class Membership:
    """Of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._members = client.redis.register_script(_MEMBERS)
        self._report = client.redis.register_script(scripts.REPORT_ROOM)
        self._has_room = client.redis.register_script(scripts.HAS_ROOM)
        self._heartbeat = client.redis.register_script(scripts.HEARTBEAT)

    async def report_room(self, pool: str, owner: str, has_room: bool) -> None:
        """See `Ledger.report_room`."""
        script = self._report(keys=[redis_keys.pool_ready(pool)], args=[owner, int(has_room), READY_STALE_MS])
        await self._client.reached(script)

    async def report_health(self, pool: str, owner: str, healthy: bool) -> None:
        """See `Ledger.report_health`."""
        script = self._report(keys=[redis_keys.pool_healthy(pool)], args=[owner, int(healthy), READY_STALE_MS])
        await self._client.reached(script)

    async def pools_with_room(self) -> set[str]:
        """See `Ledger.pools_with_room`."""
        pipeline = await self._client.loaded(self._has_room.script)
        for pool in redis_keys.POOLS:
            pipeline.evalsha(self._has_room.sha, 1, redis_keys.pool_ready(pool), str(READY_STALE_MS))
        _, *members = await self._client.each(pipeline)
        return set(compress(redis_keys.POOLS, members))

    async def heartbeat(self, kind: str, node: str) -> int | None:
        """The node is alive; returns the server's time in ms, or None if this user may not write there."""
        script = self._heartbeat(keys=[redis_keys.nodes(kind)], args=[node, NODE_STALE_MS])
        try:
            reply: Any = await self._client.reached(script)
        except KeyRefused:  # counted; nobody's work hangs on it
            return None
        return int(reply)

    async def keep_streams(self, edge: str) -> None:
        """What is written for this edge is kept while it lives."""
        pipeline = self._client.redis.pipeline(transaction=False)
        for stream in (redis_keys.edge_audio(edge), redis_keys.edge_priority(edge)):
            pipeline.expire(stream, redis_keys.WRITTEN_SECONDS)
        await self._client.each(pipeline)

    async def members(self, pool: str, stale_ms: int) -> Members:
        """Who has said what within `stale_ms`."""
        keys = (redis_keys.pool_healthy(pool), redis_keys.pool_ready(pool))
        healthy, with_room = [await self._client.reached(self._members(keys=[key], args=[stale_ms])) for key in keys]
        return Members(_names(healthy), _names(with_room))

    async def quarantine(self, call: Quarantined) -> None:
        """Put the call at the head of the list."""
        key = redis_keys.pool_quarantine(call.pool)
        pipeline = self._client.redis.pipeline(transaction=False)
        pipeline.lpush(key, call.to_json())
        pipeline.ltrim(key, 0, QUARANTINE_MAX - 1)
        pipeline.expire(key, QUARANTINE_SECONDS)
        await self._client.reached(pipeline.execute())


def _names(found: Sequence[Any]) -> frozenset[str]:
    return frozenset(name.decode() for name in found)
