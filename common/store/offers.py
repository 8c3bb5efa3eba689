"""Keeps offers of calls to a pool in Redis: one for each waiting call, however often it is offered.

A script reads the pool's stream, which has the offers without an acknowledgement, and adds those that are missing.  So
two members that scan at once, or an edge and a member, leave one entry; and the stream is as long as calls wait.
"""

from __future__ import annotations

import asyncio
from typing import Any

from common.protocol import redis_keys
from common.protocol.codec import encode
from common.protocol.messages import CallOffered
from common.redis.client import Client, NoGroup
from common.redis.commands import Word, script
from common.store import mending, scripts
from common.store.redis_values import entries_of, offered_call

STALE_MS = 5_000
"""Age at which an offer of a call that does not wait (any more) is removed: the call has ended, or has an owner."""
OFFER_IDLE_MS = 1000
"""An offer that was taken this long ago without an acknowledgement has lost its taker."""
CONSUMER_IDLE_MS = 150_000
"""A consumer that asked for nothing for this long, and has no open offer, is removed."""
RECLAIM_SECONDS = 1.0
"""How often a member asks for such offers; the members of a pool share them."""
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


# Makes the group if there is none, and takes what was taken too long ago.  Arguments: group, owner, ms, count.
_RECLAIM = """
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
return redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', ARGV[4])[2]
"""


class Offers:
    """The offers on one server."""

    def __init__(self, client: Client, idle_ms: int = CONSUMER_IDLE_MS) -> None:
        """`idle_ms`: how long a consumer may ask for nothing before it is removed."""
        self._client = client
        self._idle_ms = idle_ms
        self._reclaim_at_s: dict[tuple[str, str], float] = {}
        """(stream, member) -> loop time of the next look for offers whose taker was lost."""

    async def offer(self, pool: str, call_ids: list[str], all_that_wait: bool = False) -> int:
        """Offer the calls; returns how many of them had no offer yet.

        `all_that_wait`: no other call waits, so that old offers of others can be removed.
        """
        if not call_ids and not all_that_wait:
            return 0
        stream = redis_keys.pool_calls(pool)
        forget_ms = STALE_MS if all_that_wait else 0
        args: list[Word] = [
            redis_keys.POOL_CALLS_MAXLEN,
            forget_ms,
            *(encode(CallOffered(call_id)) for call_id in call_ids),
        ]
        return int(await self._client.run(_OFFER, [stream], args))

    async def take(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        """See `CallStore.take_offers`."""
        stream = redis_keys.pool_calls(pool)
        found = await self._reclaim(stream, owner, count)
        if not found:
            how = ("COUNT", count, *(("BLOCK", block_ms) if block_ms else ()))
            try:
                reply = await self._client.block("XREADGROUP", "GROUP", GROUP, owner, *how, "STREAMS", stream, ">")
            except NoGroup:
                self._reclaim_at_s.pop((stream, owner), None)
                return []
            found = reply[0][1] if reply else []
        offers = [(offer_id, fields, offered_call(fields)) for offer_id, fields in entries_of(found)]
        if broken := [(offer_id, fields) for offer_id, fields, call_id in offers if not call_id]:
            await mending.set_offers_aside(self._client, pool, broken)
        return [(offer_id.decode(), call_id) for offer_id, _, call_id in offers if call_id]

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        """See `CallStore.ack_offer`."""
        stream = redis_keys.pool_calls(pool)
        await self._client.each([("XACK", stream, GROUP, offer_id), ("XDEL", stream, offer_id)])

    async def forget_idle(self, pool: str) -> None:
        """Remove consumers that are gone, except those with an open offer."""
        await self._client.each([script(scripts.FORGET_IDLE, [redis_keys.pool_calls(pool)], [GROUP, self._idle_ms])])

    async def _reclaim(self, stream: str, owner: str, count: int) -> list[Any]:
        """Offers that another member took and did not acknowledge; makes the group if there is none."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._reclaim_at_s.get((stream, owner), now_s):
            return []
        left: list[Any] = await self._client.run(_RECLAIM, [stream], [GROUP, owner, OFFER_IDLE_MS, count])
        if not left:  # else there may be more
            self._reclaim_at_s[stream, owner] = now_s + RECLAIM_SECONDS
        return left
