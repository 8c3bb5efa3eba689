"""Lua scripts by which the call store decides in one step, over the keys of one call.

common/store/redis.py uses them, and so do its parts membership.py, offers.py and effects_redis.py.  The scripts of
claim and release are in common/store/suspicion.py, those of leases in common/store/leases_redis.py.
"""

from common.call.end_reasons import EndReason
from common.protocol.redis_keys import ALL_POOLS
from common.store.transfers import TRANSFERRED_SECONDS

AUDIO_AFTER_END_SECONDS = 20
"""How long the audio of an ended call stays, for an STT worker that is behind.  It is most of a call's memory."""

# The server's clock decides who is alive, because the hosts' own clocks differ.
NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(value) return string.format('%.0f', math.max(value, 0)) end
"""

# Keys: the live calls.  Arguments: call ids.
HEARTBEAT_CALLS = f"""{NOW}
for i = 1, #ARGV do redis.call('ZADD', KEYS[1], whole(now), ARGV[i]) end
return #ARGV
"""

# Keys: the nodes of a kind.  Arguments: the node, ms after which one is removed.  Returns the clock, for its offset.
HEARTBEAT = f"""{NOW}
redis.call('ZADD', KEYS[1], whole(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return whole(now)
"""

# Keys: the state, what expires with it, the live calls.  Arguments: edge, seconds, the call.  Returns the record.
START = f"""{NOW}
local known = redis.call('HMGET', KEYS[1], 'status', 'reopens_ms', 'started_ms', 'active_ms', 'ended_ms')
local function ms(value, otherwise)
  value = tonumber(value or '0') or 0
  return value > 0 and value or otherwise
end
if not known[1] then return {{}} end
local started, active = ms(known[3], now), ms(known[4], now)
if known[1] == 'ended' then
  if ms(known[2], 0) < now then return {{}} end
  started, active = started + now - ms(known[5], now), now
end
redis.call('HSET', KEYS[1], 'status', 'live', 'edge', ARGV[1], 'ended_because', '', 'reopens_ms', '0',
  'started_ms', whole(started), 'active_ms', whole(active),
  'age_ms', whole(now - started), 'silent_ms', whole(now - active))
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('ZADD', KEYS[#KEYS], whole(now), ARGV[3])
for i = 1, #KEYS - 1 do redis.call('EXPIRE', KEYS[i], ARGV[2]) end
return redis.call('HGETALL', KEYS[1])
"""

# Keys: the state, and the keys that last as long as the call.  Argument: seconds.
KEEP = """
if redis.call('HGET', KEYS[1], 'status') ~= 'live' then return 0 end
for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[1]) end
return 1
"""

# Removes consumers that are gone.  A slow one is created again when it asks.  Arguments: the group, ms.
FORGET_IDLE = """
local members = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if members.err then return 0 end
local forgotten = 0
for _, member in ipairs(members) do
  local known = {}
  for i = 1, #member, 2 do known[member[i]] = member[i + 1] end
  if known.pending == 0 and known.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], known.name)
    forgotten = forgotten + 1
  end
end
return forgotten
"""

# Keys: sets of members that have room; one of a wrong type, which an edge removes soon, counts as empty.
HAS_ROOM = """
local now, found = redis.call('TIME'), {}
for i = 1, #KEYS do
  redis.pcall('ZREMRANGEBYSCORE', KEYS[i], '-inf', now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[1])
  redis.pcall('ZREMRANGEBYSCORE', KEYS[i], '(' .. now[1] * 1000 + 60000, '+inf')
  local members = redis.pcall('ZCARD', KEYS[i])
  found[i] = type(members) == 'number' and members or 0
end
return found
"""

# Arguments: for how many ms, and the end reasons after which a call may continue.
REOPEN = f"""{NOW}
local known = redis.call('HMGET', KEYS[1], 'status', 'ended_because', 'sealed')
if not known[1] or known[3] then return 0 end
if known[1] ~= 'ended' then return 1 end
for i = 2, #ARGV do
  if known[2] == ARGV[i] then
    redis.call('HSET', KEYS[1], 'reopens_ms', whole(now + ARGV[1]))
    return 1
  end
end
return 0
"""

# The carrier has ended the call: if it has a record, it cannot be reopened.
SEAL = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'sealed', '1')
return 1
"""

# Records how long nobody has spoken.  Arguments: ms, and the epoch that must be the newest (empty: any).
NOTE_SILENCE = f"""{NOW}
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch or (ARGV[2] ~= '' and epoch ~= ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'active_ms', whole(now - ARGV[1]))
return 1
"""

# Keys: the state, events, audio, effects, webhook fields, secrets.  Keys of a wrong type must not keep a caller out.
CREATE = f"""{NOW}
local types = {{'hash', 'stream', 'stream', 'hash', 'hash', 'hash'}}
for i = 1, #KEYS do
  local kind = redis.call('TYPE', KEYS[i])
  kind = kind.ok or kind
  if kind ~= 'none' and kind ~= types[i] then redis.call('DEL', KEYS[i]) end
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  if redis.call('HGET', KEYS[1], 'status') then return 0 end
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
if redis.call('HGET', KEYS[1], 'created_ms') == '0' then redis.call('HSET', KEYS[1], 'created_ms', whole(now)) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""

# Lists an ended call.  Keys 5 to 7: the calls that are live, ended, to be compacted.
_LIST_ENDED = """
local function list(call, keep_s, compact_s)
  redis.call('ZREM', KEYS[5], call)
  redis.call('ZADD', KEYS[6], whole(now), call)
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', whole(now - keep_s * 1000))
  redis.call('ZADD', KEYS[7], whole(now + compact_s * 1000), call)
  for i = 6, 7 do redis.call('EXPIRE', KEYS[i], keep_s + compact_s) end
end
"""

# Keys: the state, the events, the audio, the effects; the calls that are live, ended, to be compacted; the secrets.
# Arguments: reason, seconds to keep it, the epoch that must be the newest (empty: any), the call, seconds until it is
# compacted.  1: it is over now.  Keys that were written after the end of a call, or to an unknown call, expire as well.
END = f"""{NOW}{_LIST_ENDED}
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'ended' then
  redis.call('DEL', KEYS[8])
  for i = 2, 4 do redis.call('EXPIRE', KEYS[i], ARGV[2], 'NX') end
  if status then list(ARGV[4], ARGV[2], ARGV[5]) else redis.call('ZREM', KEYS[5], ARGV[4]) end
  return 0
end
if ARGV[3] ~= '' and (redis.call('HGET', KEYS[1], 'epoch') or '0') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'status', 'ended', 'ended_because', ARGV[1], 'ended_ms', whole(now), 'reopens_ms', '0')
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[3], {AUDIO_AFTER_END_SECONDS})
redis.call('EXPIRE', KEYS[4], ARGV[2])
redis.call('DEL', KEYS[8])
list(ARGV[4], ARGV[2], ARGV[5])
return 1
"""

# Keys as for END.  Arguments: the known transfer, the new one, the change, the epoch that the change needs, the call,
# seconds to keep it if it ends, seconds until it is compacted, seconds to keep its audio, for how many ms it may be
# started again; then the events.
CHANGE_TRANSFER = f"""{NOW}{_LIST_ENDED}
local known = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'transfer', 'ended_because', 'sealed')
if not known[1] or (known[3] or '') ~= ARGV[1] then return 0 end
local change, keep_s = ARGV[3], math.max(tonumber(ARGV[6]), {TRANSFERRED_SECONDS})
if (change == 'stay' or change == 'leave') and (known[1] ~= 'live' or known[2] ~= ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], 'transfer', ARGV[2])
for i = 10, #ARGV do redis.call('XADD', KEYS[2], '*', 'd', ARGV[i]) end
if change == 'leave' then
  redis.call('HSET', KEYS[1], 'status', 'ended', 'ended_because', '{EndReason.TRANSFERRED}', 'ended_ms', whole(now),
    'reopens_ms', '0')
  for i = 1, 4 do redis.call('EXPIRE', KEYS[i], keep_s) end
  redis.call('EXPIRE', KEYS[3], ARGV[8])
  redis.call('DEL', KEYS[8])
  list(ARGV[5], ARGV[6], ARGV[7])
elseif change == 'come back' and known[1] == 'ended' and known[4] == '{EndReason.TRANSFERRED}' and not known[5] then
  redis.call('HSET', KEYS[1], 'reopens_ms', whole(now + ARGV[9]))
end
if known[1] == 'ended' and #ARGV > 9 then redis.call('EXPIRE', KEYS[2], keep_s, 'NX') end
return 1
"""

# The next two scripts begin with the claim: pool, token, owner.
HOLDS = """
local newest = redis.call('HMGET', KEYS[1], 'token:' .. ARGV[1], 'owner:' .. ARGV[1])
if newest[1] ~= ARGV[2] or newest[2] ~= ARGV[3] then return 0 end
"""

# Arguments: seconds that the events stay, unless the call has ended and they have an expiry; then the messages.
APPEND = f"""{HOLDS}
for i = 5, #ARGV do redis.call('XADD', KEYS[2], '*', 'd', ARGV[i]) end
if redis.call('HGET', KEYS[1], 'status') == 'live' then redis.call('EXPIRE', KEYS[2], ARGV[4])
else redis.call('EXPIRE', KEYS[2], ARGV[4], 'NX') end
return 1
"""

CHECKPOINT = f"""{HOLDS}
redis.call('HSET', KEYS[1], 'checkpoint:' .. ARGV[1], ARGV[4])
return 1
"""

_OWNERS = ", ".join(f"'owner:{pool}'" for pool in ALL_POOLS)

# No pool owns the call afterwards.  Keys: the state, the events.  Arguments: epoch, how many of the next are fields,
# these fields, the event log; the last one: seconds.
RESTORE = f"""
local known = redis.call('HMGET', KEYS[1], 'status', 'epoch')
if known[1] == 'ended' or (tonumber(known[2] or '0') or 0) >= tonumber(ARGV[1]) then return 0 end
local fields = tonumber(ARGV[2])
for i = 3, fields + 2, 2 do
  local name, value = ARGV[i], ARGV[i + 1]
  if string.sub(name, 1, 6) == 'token:' then
    value = math.max(tonumber(value), tonumber(redis.call('HGET', KEYS[1], name) or '0') or 0) + 1
  end
  redis.call('HSET', KEYS[1], name, value)
end
redis.call('HDEL', KEYS[1], {_OWNERS})
for i = fields + 3, #ARGV - 1 do redis.call('XADD', KEYS[2], '*', 'd', ARGV[i]) end
for i = 1, 2 do redis.call('EXPIRE', KEYS[i], ARGV[#ARGV]) end
return 1
"""

# Effects.  Keys: the state, the effects.  Arguments: pool, token, owner (empty without a claim), effect id, and more.
# A field of the effects is "b" and the attempt that began it, or "d" and the result.
_MAY_ACT = f"""
if ARGV[1] ~= '' then
local function held()
{HOLDS}
return 1
end
if held() == 0 then return {{'fenced', ''}} end
end
local known = redis.call('HGET', KEYS[2], ARGV[4])
if known and string.sub(known, 1, 1) == 'd' then return {{'done', string.sub(known, 2)}} end
"""

# attempt, most effects, seconds to keep them, seconds while the call is live, whose end sets another expiry
BEGIN_EFFECT = f"""{_MAY_ACT}
if known == 'b' .. ARGV[5] then return {{'new', ''}} end
if known then return {{'begun', ''}} end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[6]) then return {{'full', ''}} end
redis.call('HSET', KEYS[2], ARGV[4], 'b' .. ARGV[5])
redis.call('EXPIRE', KEYS[2], redis.call('HGET', KEYS[1], 'status') == 'live' and ARGV[8] or ARGV[7])
return {{'new', ''}}
"""

# result, seconds as above
FINISH_EFFECT = f"""{_MAY_ACT}
redis.call('HSET', KEYS[2], ARGV[4], 'd' .. ARGV[5])
redis.call('EXPIRE', KEYS[2], redis.call('HGET', KEYS[1], 'status') == 'live' and ARGV[7] or ARGV[6])
return {{'done', ARGV[5]}}
"""

# Adds webhook fields.  Keys: the state, the fields.  Arguments: seconds to keep them if the call has a record, and if
# it has none (0: not at all); most fields, most bytes; then name, value, ...
ADD_WEBHOOK_FIELDS = """
local there = redis.call('EXISTS', KEYS[1])
if there == 0 and ARGV[2] == '0' then return 0 end
local count, bytes, sizes = 0, 0, {}
local known = redis.call('HGETALL', KEYS[2])
for i = 1, #known, 2 do
  sizes[known[i]] = #known[i] + #known[i + 1]
  count, bytes = count + 1, bytes + sizes[known[i]]
end
for i = 5, #ARGV, 2 do
  local size, before = #ARGV[i] + #ARGV[i + 1], sizes[ARGV[i]]
  local more, larger = count + (before and 0 or 1), bytes + size - (before or 0)
  if more <= tonumber(ARGV[3]) and larger <= tonumber(ARGV[4]) then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    count, bytes, sizes[ARGV[i]] = more, larger, size
  end
end
if there == 1 then
  redis.call('EXPIRE', KEYS[2], ARGV[1])
elseif #known == 0 then
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return there
"""
