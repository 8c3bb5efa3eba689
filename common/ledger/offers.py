"""Offers of calls to a pool in Redis: one for each call that waits, however often and by however many it is offered.

A script looks through the pool's stream, which holds the offers that nobody has settled, and adds what is missing.  So
two members that scan at once, or an edge and a member, leave one entry; and the stream is as long as calls wait.
"""

from __future__ import annotations

from typing import Any

from common import streams
from common.ledger.client import Client
from common.messages import Offer
from common.packing import encode

STALE_MS = 5_000
"""An offer so old of a call that does not wait (any more) is forgotten: the call has ended, or is held."""

# Key: the stream.  Arguments: its bound; 0, or the age in ms at which other offers are forgotten; the offers.
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
    """Of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._offer = client.redis.register_script(_OFFER)

    async def offer(self, pool: str, call_ids: list[str], all_that_wait: bool = False) -> int:
        """How many of the calls had no offer yet and have one now.

        `all_that_wait`: no other call waits, so that old offers of others can be forgotten.
        """
        if not call_ids and not all_that_wait:
            return 0
        stream = streams.pool_calls(pool)
        forget_ms = STALE_MS if all_that_wait else 0
        args: list[Any] = [streams.POOL_CALLS_MAXLEN, forget_ms, *(encode(Offer(call_id)) for call_id in call_ids)]
        return int(await self._client.reached(self._offer(keys=[stream], args=args)))
