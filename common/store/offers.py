"""Keeps offers of calls to a pool in Redis: one for each waiting call, however often it is offered.

A script reads the pool's stream, which has the offers without an acknowledgement, and adds those that are missing.  So
two members that scan at once, or an edge and a member, leave one entry; and the stream is as long as calls wait.
"""

from __future__ import annotations

from typing import Any

import redis

from common.protocol import redis_keys
from common.protocol.codec import encode
from common.protocol.messages import CallOffered
from common.redis.client import Client
from common.store import mending, scripts
from common.store.redis_values import entries_of, offered_call

STALE_MS = 5_000
"""Age at which an offer of a call that does not wait (any more) is removed: the call has ended, or has an owner."""
OFFER_IDLE_MS = 1000
"""An offer that was taken this long ago without an acknowledgement has lost its taker."""
CONSUMER_IDLE_MS = 150_000
"""A consumer that asked for nothing for this long, and has no open offer, is removed."""
GROUP = "members"

# Key: the stream.  Arguments: its bound; 0, or the age in ms at which other offers are removed; the offers.
_OFFER = """
local there, wanted, added = {}, {}, 0
if redis.call('XLEN', KEYS[1]) > 0 then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
    local offer = entry[2][2]
    if there[offer] then redis.call('XDEL', KEYS[1], entry[1]) else there[offer] = entry[1] end
  end
end
for i = 3, #ARGV do
  wanted[ARGV[i]] = true
  if not there[ARGV[i]] then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'd', ARGV[i])
    added = added + 1
    there[ARGV[i]] = '+'
  end
end
if ARGV[2] ~= '0' then
  local time = redis.call('TIME')
  local before = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
  for offer, id in pairs(there) do
    local made = tonumber(string.match(id, '^%d+'))
    if made and made < before and not wanted[offer] then redis.call('XDEL', KEYS[1], id) end
  end
end
return added
"""


class Offers:
    """The offers on one server."""

    def __init__(self, client: Client, idle_ms: int = CONSUMER_IDLE_MS) -> None:
        """`idle_ms`: how long a consumer may ask for nothing before it is removed."""
        self._client = client
        self._redis = client.redis
        self._idle_ms = idle_ms
        self._forget_idle = client.redis.register_script(scripts.FORGET_IDLE)
        self._offer = client.redis.register_script(_OFFER)

    async def offer(self, pool: str, call_ids: list[str], all_that_wait: bool = False) -> int:
        """Offer the calls; returns how many of them had no offer yet.

        `all_that_wait`: no other call waits, so that old offers of others can be removed.
        """
        if not call_ids and not all_that_wait:
            return 0
        stream = redis_keys.pool_calls(pool)
        forget_ms = STALE_MS if all_that_wait else 0
        args: list[Any] = [
            redis_keys.POOL_CALLS_MAXLEN,
            forget_ms,
            *(encode(CallOffered(call_id)) for call_id in call_ids),
        ]
        return int(await self._client.reached(self._offer(keys=[stream], args=args)))

    async def take(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        """See `CallStore.take_offers`."""
        stream = redis_keys.pool_calls(pool)
        try:
            left = await self._client.reached(
                self._redis.xautoclaim(stream, GROUP, owner, min_idle_time=OFFER_IDLE_MS, start_id="0-0", count=count)
            )
            entries = left[1]
            if not entries:
                found = await self._client.reached(
                    self._redis.xreadgroup(GROUP, owner, {stream: ">"}, count=count, block=block_ms or None)
                )
                entries = entries_of(found)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._make_group(stream)
            return []
        offers = [(offer_id, fields, offered_call(fields)) for offer_id, fields in entries]
        if broken := [(offer_id, fields) for offer_id, fields, call_id in offers if not call_id]:
            await mending.set_offers_aside(self._client, pool, broken)
        return [(offer_id.decode(), call_id) for offer_id, _, call_id in offers if call_id]

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        """See `CallStore.ack_offer`."""
        stream = redis_keys.pool_calls(pool)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xack(stream, GROUP, offer_id)
        pipeline.xdel(stream, offer_id)
        await self._client.each(pipeline)

    async def forget_idle(self, pool: str) -> None:
        """Remove consumers that are gone, except those with an open offer."""
        pipeline = await self._client.loaded(self._forget_idle.script)
        pipeline.evalsha(self._forget_idle.sha, 1, redis_keys.pool_calls(pool), GROUP, str(self._idle_ms))
        await self._client.each(pipeline)

    async def _make_group(self, stream: str) -> None:
        try:
            await self._client.reached(self._redis.xgroup_create(stream, GROUP, id="0", mkstream=True))
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
