"""Keeps in Redis which nodes are alive, what the members of a pool report, and the quarantined calls."""

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
"""How long the quarantine list is kept after its last entry."""
NODE_STALE_MS = 150_000
"""A node without a heartbeat for so long is removed."""

# Key: one of the sets of members.  Argument: for how many ms a report counts.
_MEMBERS = """
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1], '+inf')
"""


class Membership:
    """The nodes and reports on one server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._members = client.redis.register_script(_MEMBERS)
        self._report = client.redis.register_script(scripts.REPORT_ROOM)
        self._has_room = client.redis.register_script(scripts.HAS_ROOM)
        self._heartbeat = client.redis.register_script(scripts.HEARTBEAT)

    async def report_room(self, pool: str, owner: str, has_room: bool) -> None:
        """See `CallStore.report_room`."""
        script = self._report(keys=[redis_keys.pool_ready(pool)], args=[owner, int(has_room), READY_STALE_MS])
        await self._client.reached(script)

    async def report_health(self, pool: str, owner: str, healthy: bool) -> None:
        """See `CallStore.report_health`."""
        script = self._report(keys=[redis_keys.pool_healthy(pool)], args=[owner, int(healthy), READY_STALE_MS])
        await self._client.reached(script)

    async def pools_with_room(self) -> set[str]:
        """See `CallStore.pools_with_room`."""
        pipeline = await self._client.loaded(self._has_room.script)
        for pool in redis_keys.POOLS:
            pipeline.evalsha(self._has_room.sha, 1, redis_keys.pool_ready(pool), str(READY_STALE_MS))
        _, *members = await self._client.each(pipeline)
        return set(compress(redis_keys.POOLS, members))

    async def heartbeat(self, kind: str, node: str) -> int | None:
        """Report that the node is alive; returns the server's time in ms, or None without a permission to write."""
        script = self._heartbeat(keys=[redis_keys.nodes(kind)], args=[node, NODE_STALE_MS])
        try:
            reply: Any = await self._client.reached(script)
        except KeyRefused:  # it is counted, and no call depends on a heartbeat
            return None
        return int(reply)

    async def keep_streams(self, edge: str) -> None:
        """Keep the streams of this edge from expiring while it is alive."""
        pipeline = self._client.redis.pipeline(transaction=False)
        for stream in (redis_keys.edge_audio(edge), redis_keys.edge_priority(edge)):
            pipeline.expire(stream, redis_keys.WRITTEN_SECONDS)
        await self._client.each(pipeline)

    async def members(self, pool: str, stale_ms: int) -> Members:
        """The reports of the pool's members within `stale_ms`."""
        keys = (redis_keys.pool_healthy(pool), redis_keys.pool_ready(pool))
        healthy, with_room = [await self._client.reached(self._members(keys=[key], args=[stale_ms])) for key in keys]
        return Members(_names(healthy), _names(with_room))

    async def quarantine(self, call: Quarantined) -> None:
        """Put the call at the head of the quarantine list."""
        key = redis_keys.pool_quarantine(call.pool)
        pipeline = self._client.redis.pipeline(transaction=False)
        pipeline.lpush(key, call.to_json())
        pipeline.ltrim(key, 0, QUARANTINE_MAX - 1)
        pipeline.expire(key, QUARANTINE_SECONDS)
        await self._client.reached(pipeline.execute())


def _names(found: Sequence[Any]) -> frozenset[str]:
    return frozenset(name.decode() for name in found)
