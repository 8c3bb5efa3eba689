"""Keeps in Redis which member of a pool owns which call: a lease for each member, and an owner for each call.

    pool:<pool>:leases     member -> until when it counts as alive; one script renews it, however many calls it holds
    state, owner:<pool>    the member that claimed the call last, and did not release it
    state, seen:<pool>     when that member last confirmed that it runs the call: every few seconds, all calls at once

A call has an owner while that member's lease runs and it confirms the call.  The lease shows a death within LEASE_MS.
The confirmation finds what no lease shows: a member that is alive and does not run a call that Redis says is its own,
because the answer to its claim was lost, or a failover took its release back.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.protocol import redis_keys
from common.redis.client import Client
from common.redis.commands import Word
from common.store import READY_STALE_MS, Claim, suspicion
from common.store.members import MemberReport, Renewal
from common.store.redis_values import claimed
from common.store.scripts import NOW

LEASE_MS = 700
UNCONFIRMED_MS = 6_000
"""A call that its owner did not confirm for so long has no owner; members confirm every two seconds."""
SCAN_MS = 1_000
"""One member of a pool scans this often for calls without an owner, even if no lease has run out."""
LEASE_KEPT_MS = 150_000
"""How long a lease that ran out can be read: it tells until when the owner of a call was alive."""
LEASE_AHEAD_MS = 60_000
"""A lease that ends later than this was written by a wrong clock, before a failover; it is removed."""
CALLS_AT_ONCE = 500
"""Most calls that one script looks at."""

# One step for all that a member reports.  Keys: the pool's leases, the time of the last scan, the members that have
# room, those that reach a provider.  Arguments: the member, its lease's life in ms (0: it holds no call); 1 or 0: room,
# a provider, may scan; for how many ms these count, the ms above.  Returns whether the lease had not run out, whether
# this member shall scan, and in how many ms the next lease of another runs out (-1: none will).
#
# `pcall`: a key of a wrong type, which an edge removes soon, must cost nobody the lease.  A scan is due when a lease
# has run out since the last one; what a member does not find because it dies in its turn, the next scan finds.
RENEW = f"""{NOW}
local before = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
if ARGV[2] ~= '0' then
  redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[8])
end
for i = 3, 4 do
  if ARGV[i] == '0' then redis.pcall('ZREM', KEYS[i], ARGV[1])
  else
    redis.pcall('ZADD', KEYS[i], whole(now), ARGV[1])
    redis.pcall('PEXPIRE', KEYS[i], 2 * ARGV[6])
  end
end
local scan = 0
if ARGV[5] ~= '0' then
  local last = redis.pcall('GET', KEYS[2])
  last = type(last) == 'string' and tonumber(last) or 0
  if last > now or now - last >= tonumber(ARGV[7])
    or redis.call('ZCOUNT', KEYS[1], '(' .. whole(last), whole(now)) > 0 then
    redis.call('SET', KEYS[2], whole(now), 'PX', ARGV[8])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - ARGV[8]))
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. whole(now + ARGV[9]), '+inf')
    scan = 1
  end
end
local ends = -1
local leases = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
for i = #leases - 1, 1, -2 do
  if leases[i] ~= ARGV[1] then ends = math.min(tonumber(leases[i + 1]) - now, tonumber(ARGV[9])) end
end
return {{before > now and 1 or 0, scan, ends}}
"""

# Confirms calls, or tells by position which of them were lost.  One that has ended has no owner from now on, since it
# may be reopened.  Keys: states.  Arguments: pool, token, owner of each.
CONFIRM = f"""{NOW}
local lost = {{}}
for i = 1, #KEYS do
  local pool, token, owner = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local known = redis.pcall('HMGET', KEYS[i], 'status', 'token:' .. pool, 'owner:' .. pool)
  if known.err or known[2] ~= token or known[3] ~= owner then lost[#lost + 1] = i
  elseif known[1] ~= 'live' then
    redis.call('HDEL', KEYS[i], 'owner:' .. pool)
    lost[#lost + 1] = i
  else redis.call('HSET', KEYS[i], 'seen:' .. pool, whole(now)) end
end
return lost
"""

# Tells which calls have no owner in which pools, as positions: call, pool, call, pool, ...  Keys: the leases of the
# pools, then states.  Arguments: ms after which a call that its owner did not confirm has none; how many of the pools,
# the first ones, every call needs; the pools.  The others are asked about only for the calls whose record names them.
UNOWNED = f"""{NOW}
local pools, every, fields, alive, unowned = #ARGV - 2, tonumber(ARGV[2]), {{}}, {{}}, {{}}
for p = 1, pools do
  fields[2 * p - 1], fields[2 * p] = 'owner:' .. ARGV[p + 2], 'seen:' .. ARGV[p + 2]
  alive[p] = {{}}
  local members = redis.call('ZRANGEBYSCORE', KEYS[p], '(' .. whole(now), '+inf')
  for _, member in ipairs(members) do alive[p][member] = true end
end
if pools > every then fields[2 * pools + 1] = 'more_pools' end
for i = pools + 1, #KEYS do
  local known = redis.pcall('HMGET', KEYS[i], unpack(fields))
  local more = ' ' .. (known[2 * pools + 1] or '') .. ' '
  for p = 1, pools do
    local needed = p <= every or string.find(more, ' ' .. ARGV[p + 2] .. ' ', 1, true)
    local owner, seen = known[2 * p - 1], tonumber(known[2 * p] or '0') or 0
    if needed and (not owner or not alive[p][owner] or now - seen >= tonumber(ARGV[1])) then
      unowned[#unowned + 1] = i - pools
      unowned[#unowned + 1] = p
    end
  end
end
return unowned
"""


class RedisLeases:
    """The leases and owners on one server.  `lease_ms` is the life of a lease without a renewal."""

    def __init__(self, client: Client, lease_ms: int) -> None:
        self._client = client
        self._lease_ms = lease_ms

    async def claim(self, pool: str, call_id: str, owner: str, take: suspicion.Take) -> Claim | None:
        """See `CallStore.claim`."""
        keys = [redis_keys.call_state(call_id), redis_keys.pool_leases(pool)]
        args: list[Word] = [pool, owner, self._lease_ms, take.value, UNCONFIRMED_MS, LEASE_KEPT_MS]
        return claimed(call_id, pool, owner, await self._client.run(suspicion.CLAIM, keys, args))

    async def release(self, claim: Claim, left: suspicion.Left) -> None:
        """See `CallStore.release`."""
        args: list[Word] = [claim.pool, claim.token, claim.owner, left.value]
        await self._client.run(suspicion.RELEASE, [redis_keys.call_state(claim.call_id)], args)

    async def renew(self, report: MemberReport) -> Renewal:
        """See `CallStore.renew`."""
        pool = report.pool
        keys = [redis_keys.pool_leases(pool), redis_keys.pool_scan(pool)]
        keys += [redis_keys.pool_ready(pool), redis_keys.pool_healthy(pool)]
        flags = map(int, (report.has_room, report.healthy, report.may_scan))
        args: list[Word] = [report.owner, self._lease_ms if report.holds_calls else 0, *flags]
        args += [READY_STALE_MS, SCAN_MS, LEASE_KEPT_MS, LEASE_AHEAD_MS]
        kept, scan, ends_ms = await self._client.run(RENEW, keys, args)
        return Renewal(bool(kept), bool(scan), None if ends_ms < 0 else ends_ms)

    async def confirm(self, claims: Sequence[Claim]) -> list[Claim]:
        """See `CallStore.confirm`."""
        lost: list[Claim] = []
        for at in range(0, len(claims), CALLS_AT_ONCE):
            some = claims[at : at + CALLS_AT_ONCE]
            keys = [redis_keys.call_state(claim.call_id) for claim in some]
            args: list[Word] = [part for claim in some for part in (claim.pool, claim.token, claim.owner)]
            positions = await self._client.run(CONFIRM, keys, args)
            lost += [some[position - 1] for position in positions]
        return lost

    async def unowned(self, call_ids: Sequence[str], pools: Sequence[str]) -> dict[str, set[str]]:
        """Those of the calls that some of the pools do not own now, although they need it, with these pools.

        `pools` has those that every call needs first.
        """
        found: dict[str, set[str]] = {}
        every = sum(pool in redis_keys.POOLS for pool in pools)
        leases = [redis_keys.pool_leases(pool) for pool in pools]
        for at in range(0, len(call_ids), CALLS_AT_ONCE):
            some = call_ids[at : at + CALLS_AT_ONCE]
            keys = [*leases, *map(redis_keys.call_state, some)]
            positions = await self._client.run(UNOWNED, keys, [UNCONFIRMED_MS, every, *pools])
            for call, pool in zip(positions[::2], positions[1::2], strict=True):
                found.setdefault(some[call - 1], set()).add(pools[pool - 1])
        return found
