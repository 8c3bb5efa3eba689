"""Keeps in Redis which nodes are alive, what the members of a pool report, and the quarantined calls."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from common.protocol import redis_keys
from common.redis.client import Client
from common.redis.commands import script
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

    async def pools_with_room(self) -> set[str]:
        """See `CallStore.pools_with_room`."""
        pools = redis_keys.ALL_POOLS
        keys = [redis_keys.pool_ready(pool) for pool in pools]
        (members,) = await self._client.each([script(scripts.HAS_ROOM, keys, [READY_STALE_MS])])
        return set(compress(pools, members or ()))  # None: without a right to one of the keys

    async def heartbeat(self, kind: str, node: str) -> int | None:
        """Report that the node is alive; returns the server's time in ms, or None without a permission to write."""
        try:
            reply = await self._client.run(scripts.HEARTBEAT, [redis_keys.nodes(kind)], [node, NODE_STALE_MS])
        except KeyRefused:  # it is counted, and no call depends on a heartbeat
            return None
        return int(reply)

    async def keep_streams(self, edge: str) -> None:
        """Keep the streams of this edge from expiring while it is alive."""
        streams = (redis_keys.edge_audio(edge), redis_keys.edge_priority(edge))
        await self._client.each([("EXPIRE", stream, redis_keys.WRITTEN_SECONDS) for stream in streams])

    async def members(self, pool: str, stale_ms: int) -> Members:
        """The reports of the pool's members within `stale_ms`."""
        keys = (redis_keys.pool_healthy(pool), redis_keys.pool_ready(pool))
        healthy, with_room = await self._client.all([script(_MEMBERS, [key], [stale_ms]) for key in keys])
        return Members(_names(healthy), _names(with_room))

    async def quarantine(self, call: Quarantined) -> None:
        """Put the call at the head of the quarantine list."""
        key = redis_keys.pool_quarantine(call.pool)
        trim, keep = ("LTRIM", key, 0, QUARANTINE_MAX - 1), ("EXPIRE", key, QUARANTINE_SECONDS)
        await self._client.all([("LPUSH", key, call.to_json()), trim, keep])


def _names(found: Sequence[Any]) -> frozenset[str]:
    return frozenset(name.decode() for name in found)
