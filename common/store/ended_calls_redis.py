"""Keeps the ended calls in Redis (ended_calls.py): two indexes of them, and the script that compacts one.

A stream that grows by XADD keeps 4 KB in reserve, and a hash that once had a long field is never packed again.  So both
are created anew, the stream as a copy, which has no reserve.
"""

from __future__ import annotations

from typing import Any

import msgpack

from common.protocol import redis_keys
from common.protocol.codec import encode
from common.redis.client import Client
from common.store.ended_calls import COMPACT_SECONDS, COMPACT_TRIES_MAX, DUE_MAX, Entries
from common.store.transfers import MAY_COME_BACK

# The server's clock decides what is due.  Arguments: most calls, seconds until they are due again.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, call in ipairs(due) do redis.call('ZADD', KEYS[1], now + ARGV[2] * 1000, call) end
return due
"""

# Keys: the state, the events, a temporary stream for the new ones.  Arguments: entries and last id as they were read,
# most tries, the agent's name (packed), number of reasons after which a call may continue, these reasons; then pairs of
# id and message.  1: nothing is left to do; 0: not now.
_COMPACT = """
local known = redis.call('HMGET', KEYS[1], 'status', 'ended_because', 'sealed')
if known[1] ~= 'ended' then return 1 end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local last = newest[1] and newest[1][1] or ''
if redis.call('XLEN', KEYS[2]) ~= tonumber(ARGV[1]) or last ~= ARGV[2] then
  return redis.call('HINCRBY', KEYS[1], 'compact_tries', 1) >= tonumber(ARGV[3]) and 1 or 0
end
local final, from = known[3], 6 + tonumber(ARGV[5])
if not final then
  final = true
  for i = 6, from - 1 do final = final and known[2] ~= ARGV[i] end
end
if final then
  local fields, whole, left = {}, redis.call('HGETALL', KEYS[1]), redis.call('PTTL', KEYS[1])
  for i = 1, #whole, 2 do
    local kind = string.match(whole[i], '^(%a+):')
    if kind ~= 'token' and kind ~= 'owner' and kind ~= 'checkpoint' then
      fields[#fields + 1] = whole[i]
      fields[#fields + 1] = whole[i] == 'agent' and ARGV[4] or whole[i + 1]
    end
  end
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], unpack(fields))
  redis.call('PEXPIRE', KEYS[1], math.max(left, 1000))
end
redis.call('DEL', KEYS[3])
if from > #ARGV then
  redis.call('DEL', KEYS[2])
else
  for i = from, #ARGV, 2 do redis.call('XADD', KEYS[3], ARGV[i], 'd', ARGV[i + 1]) end
  redis.call('COPY', KEYS[3], KEYS[2], 'REPLACE')
  redis.call('DEL', KEYS[3])
  redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[1]), 1000))
end
return 1
"""


class RedisEndedCalls:
    """See `common.store.ended_calls.EndedCalls`.  A call is listed by the script that ends it (scripts.py)."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def take(self) -> list[str]:
        keys = [redis_keys.CALLS_TO_COMPACT]
        found: Any = await self._client.run(_TAKE, keys, [DUE_MAX, COMPACT_SECONDS])
        return [call_id.decode() for call_id in found]

    async def compact(self, call_id: str, agent: str, read: Entries, kept: Entries) -> bool:
        keys = [
            redis_keys.call_state(call_id),
            redis_keys.call_events(call_id),
            redis_keys.call_events_compacted(call_id),
        ]
        last = read[-1][0] if read else ""
        args: list[Any] = [len(read), last, COMPACT_TRIES_MAX, msgpack.packb({"name": agent})]
        args += [len(MAY_COME_BACK), *MAY_COME_BACK]
        args += [part for entry_id, message in kept for part in (entry_id, encode(message))]
        done = bool(await self._client.run(_COMPACT, keys, args))
        if done:
            await self.leave(call_id)
        return done

    async def leave(self, call_id: str) -> None:
        await self._client.call("ZREM", redis_keys.CALLS_TO_COMPACT, call_id)
