"""What the ledger in Redis decides in one step: scripts over the keys of one call (common/ledger/redis.py has them)."""

# Keys: the state, and what expires with it.  Arguments: edge, now.
START = """
local known = redis.call('HMGET', KEYS[1], 'status', 'reopens_ms', 'started_ms', 'active_ms', 'ended_ms')
local now = tonumber(ARGV[2])
local function ms(value, otherwise)
  value = tonumber(value or '0') or 0
  return value > 0 and value or otherwise
end
if not known[1] then return 0 end
local started, active = ms(known[3], now), ms(known[4], now)
if known[1] == 'ended' then
  if ms(known[2], 0) < now then return 0 end
  started, active = started + now - ms(known[5], now), now
end
local function whole(value) return string.format('%.0f', math.max(value, 0)) end
redis.call('HSET', KEYS[1], 'status', 'live', 'edge', ARGV[1], 'ended_because', '', 'reopens_ms', '0',
  'started_ms', whole(started), 'active_ms', whole(active),
  'age_ms', whole(now - started), 'silent_ms', whole(now - active))
for i = 1, #KEYS do redis.call('PERSIST', KEYS[i]) end
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
"""

# The server's clock judges the members' lives: their own clocks may differ.
REPORT_ROOM = """
if ARGV[2] == '0' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
return redis.call('PEXPIRE', KEYS[1], 2 * ARGV[3])
"""

HAS_ROOM = """
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. now[1] * 1000 + 60000, '+inf')
return redis.call('ZCARD', KEYS[1])
"""

# Arguments: until when, and the reasons of an end that may be none.
REOPEN = """
local known = redis.call('HMGET', KEYS[1], 'status', 'ended_because', 'sealed')
if not known[1] or known[3] then return 0 end
if known[1] ~= 'ended' then return 1 end
for i = 2, #ARGV do
  if known[2] == ARGV[i] then
    redis.call('HSET', KEYS[1], 'reopens_ms', ARGV[1])
    return 1
  end
end
return 0
"""

# A field of a call that is known.  Arguments: its name, its value.
NOTE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

# Keys: the state, events, audio, effects, facts, leases.  What somebody else wrote there must not keep a caller out.
CREATE = """
local types = {'hash', 'stream', 'stream', 'hash', 'hash'}
for i = 1, #KEYS do
  local kind = redis.call('TYPE', KEYS[i])
  kind = kind.ok or kind
  if kind ~= 'none' and kind ~= (types[i] or 'hash') then redis.call('DEL', KEYS[i]) end
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  if redis.call('HGET', KEYS[1], 'status') then return 0 end
  redis.call('DEL', KEYS[1])
end
for i = 6, #KEYS do  -- no DEL without need: after one, a server that is out of memory would take the rest
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('DEL', KEYS[i]) end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""

END = """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'ended' then return 0 end
if ARGV[3] ~= '0' and redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[3] then return -1 end
redis.call('HSET', KEYS[1], 'status', 'ended', 'ended_because', ARGV[1], 'ended_ms', ARGV[4], 'reopens_ms', '0')
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[3], 60)
redis.call('EXPIRE', KEYS[4], ARGV[2])
return 1
"""

CLAIM = """
if redis.call('HGET', KEYS[1], 'status') ~= 'live' then return {0, 'over'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {0, 'held'} end
local token = redis.call('HINCRBY', KEYS[1], 'token:' .. ARGV[1], 1)
redis.call('HSET', KEYS[1], 'owner:' .. ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], 'owner', ARGV[2], 'token', token)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {token, redis.call('HGETALL', KEYS[1])}
"""

# The next three begin with the claim: pool, token, owner.
HOLDS = """
local newest = redis.call('HMGET', KEYS[1], 'token:' .. ARGV[1], 'owner:' .. ARGV[1])
if newest[1] ~= ARGV[2] or newest[2] ~= ARGV[3] then return 0 end
"""

RENEW = f"""{HOLDS}
if redis.call('HGET', KEYS[1], 'status') ~= 'live' then return 0 end
redis.call('HSET', KEYS[2], 'owner', ARGV[3], 'token', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
"""

APPEND = f"""{HOLDS}
for i = 4, #ARGV do redis.call('XADD', KEYS[2], '*', 'd', ARGV[i]) end
return 1
"""

CHECKPOINT = f"""{HOLDS}
redis.call('HSET', KEYS[1], 'checkpoint:' .. ARGV[1], ARGV[4])
return 1
"""

RELEASE = """
local held = redis.call('HMGET', KEYS[1], 'token', 'owner')
if held[1] == ARGV[1] and held[2] == ARGV[2] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# Keys: the state, the events, the leases.  Arguments: epoch, how many of the next are fields, those, the story.
RESTORE = """
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
redis.call('PERSIST', KEYS[1])
for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
for i = fields + 3, #ARGV do redis.call('XADD', KEYS[2], '*', 'd', ARGV[i]) end
return 1
"""

# Effects.  Keys: the state, the effects.  Arguments: pool, token, owner (empty without a claim), place, and more.
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

# attempt, most effects, seconds to keep them unless the call is live: then its end says how long
BEGIN_EFFECT = f"""{_MAY_ACT}
if known == 'b' .. ARGV[5] then return {{'new', ''}} end
if known then return {{'begun', ''}} end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[6]) then return {{'full', ''}} end
redis.call('HSET', KEYS[2], ARGV[4], 'b' .. ARGV[5])
if redis.call('HGET', KEYS[1], 'status') ~= 'live' then redis.call('EXPIRE', KEYS[2], ARGV[7]) end
return {{'new', ''}}
"""

# result, seconds as above
FINISH_EFFECT = f"""{_MAY_ACT}
redis.call('HSET', KEYS[2], ARGV[4], 'd' .. ARGV[5])
if redis.call('HGET', KEYS[1], 'status') ~= 'live' then redis.call('EXPIRE', KEYS[2], ARGV[6]) end
return {{'done', ARGV[5]}}
"""
