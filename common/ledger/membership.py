"""What the members of a pool say of themselves, and the calls that a pool will not run again, in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import streams
from common.ledger.client import Client
from common.ledger.members import QUARANTINE_MAX, Members, Quarantined

QUARANTINE_SECONDS = 7 * 24 * 3600
"""The list is forgotten so long after the last one."""

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

    async def members(self, pool: str, stale_ms: int) -> Members:
        """Who has said what within `stale_ms`."""
        keys = (streams.pool_healthy(pool), streams.pool_ready(pool))
        well, with_room = [await self._client.reached(self._members(keys=[key], args=[stale_ms])) for key in keys]
        return Members(_names(well), _names(with_room))

    async def quarantine(self, call: Quarantined) -> None:
        """Put the call at the head of the list."""
        key = streams.pool_quarantine(call.pool)
        pipeline = self._client.redis.pipeline(transaction=False)
        pipeline.lpush(key, call.to_json())
        pipeline.ltrim(key, 0, QUARANTINE_MAX - 1)
        pipeline.expire(key, QUARANTINE_SECONDS)
        await self._client.reached(pipeline.execute())


def _names(found: Sequence[Any]) -> frozenset[str]:
    return frozenset(name.decode() for name in found)
