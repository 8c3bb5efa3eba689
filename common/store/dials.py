"""Stores outbound calls in Redis: documents with a version, a queue, and one dialer at a time.

Keys (one Redis Cluster slot, by the tag {dials}):

  {dials}:<id>        hash    version, body (msgpack); once it is over it expires after CALL_RETENTION
  {dials}:key:<key>   string  the outbound call that an idempotency key made
  {dials}:call:<id>   string  the outbound call of the carrier's call with this id; CALL_KEY_SECONDS, or as the document
  {dials}:queued      zset    by the time at which to place it
  {dials}:open        zset    by the time at which to look it up at the carrier
  {dials}:dialer      string  the edge that dials now; expires unless renewed
  {dials}:paused      string  no call is placed while it is there; expires when the next one is to be tried
  {dials}:day         hash    how many requests were sent on a day (UTC, server's clock); expires two days later
  {dials}:pauses      string  how many such pauses have followed each other, and why; until a call is placed again
  {dials}:unreadable  list    ids and documents that could not be read, for a person to look at

A document that waits or is open does not expire: its id would stay at the head of the queue, or count as an open call,
for ever.  If one is missing all the same (a person deleted it), its id is removed when met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from common.process.skipped import unreadable
from common.redis.client import Client
from common.redis.commands import Word
from common.redis.url import parse_redis_url
from common.store.mending import remove_unusable
from common.store.outbound import QueuedCall, QueueFull, UnreadableOutboundCall
from common.store.redis_values import ms_of, pairs_of

QUEUE_MAX = 10_000
"""Most requested calls that wait; one more is refused."""
KEY_SECONDS = 86_400
"""How long an idempotency key is remembered."""

CALL_KEY_SECONDS = 7 * 86_400
"""How long a carrier's call id leads to an outbound call that waits; each change starts it again."""
LOOKED_AT = 100
"""Most ids that one look at the queue, or at the open calls, compares with their documents."""
UNREADABLE_MAX = 100
"""Most unreadable documents that are kept."""
UNREADABLE_BYTES = 1024
UNREADABLE_SECONDS = 86_400
LEAD_MS_MAX = 5000
"""Expiry given to a dialer lock without one; the dialer renews it much sooner."""

PAUSE_MS = 2000
"""First pause after the carrier refused the account; each following one is twice as long."""
PAUSE_MS_MAX = 300_000
DAY_MS_MAX = 172_800_000
"""How long the count of a day is kept; the script has the same value."""

_ADD = """
local known = ARGV[1] ~= '' and redis.call('GET', KEYS[4])
if known then return {0, known} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return {-1, ''} end
redis.call('HSET', KEYS[1], 'version', 1, 'body', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
if ARGV[1] ~= '' then redis.call('SET', KEYS[4], ARGV[2], 'EX', ARGV[6]) end
return {1, ARGV[2]}
"""

_WRITE = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return 0 end
if ARGV[7] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[7] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2] + 1, 'body', ARGV[3])
local over = ARGV[4] == 'closed'
for at = 5, #KEYS do redis.call('SET', KEYS[at], ARGV[1], 'EX', over and ARGV[6] or ARGV[8]) end
if over then redis.call('EXPIRE', KEYS[1], ARGV[6]) else redis.call('PERSIST', KEYS[1]) end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if ARGV[4] == 'queued' then redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1]) end
if ARGV[4] == 'open' then redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1]) end
return 1
"""

# Ids of a set that are due, the earliest first; ids without a document are removed.  Keys: the set.
# Arguments: latest time, most ids, most ids to look at.  The documents are in the same slot, by their tag.
_DUE = """
local found, gone = {}, 0
local wanted, left = tonumber(ARGV[2]), tonumber(ARGV[3])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, left)) do
  local key = '{dials}:' .. id
  if not string.find(id, '^out%-%x+$') or redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', KEYS[1], id)
    gone = gone + 1
  elseif #found < wanted then
    redis.call('PERSIST', key)
    found[#found + 1] = id
  end
end
return {gone, found}
"""

# Takes an unreadable document out of the queue and the open calls.  Keys: the document, queued, open, unreadable.
# Arguments: the id, entries to keep, seconds to keep them, bytes of each, seconds that the document stays.
_SET_ASIDE = """
if redis.call('ZREM', KEYS[2], ARGV[1]) + redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return 0 end
local kind = redis.call('TYPE', KEYS[1])
local body = (kind.ok or kind) == 'hash' and redis.call('HGET', KEYS[1], 'body') or ''
redis.call('LPUSH', KEYS[4], string.sub(ARGV[1], 1, ARGV[4]) .. ' ' .. string.sub(body, 1, ARGV[4]))
redis.call('LTRIM', KEYS[4], 0, ARGV[2] - 1)
redis.call('EXPIRE', KEYS[4], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""

_LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and redis.call('PTTL', KEYS[1]) < 0 then leader = false end
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_PAUSE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local before = tonumber(string.match(redis.call('GET', KEYS[2]) or '0', '^%d+')) or 0
local ms = math.min(ARGV[2] * 2 ^ math.min(before, 20), tonumber(ARGV[3]))
redis.call('SET', KEYS[1], 1, 'PX', ms)
redis.call('SET', KEYS[2], (before + 1) .. ' ' .. ARGV[1], 'PX', ms + ARGV[3])
return 1
"""

# Counts the requests of today by the server's clock.  Arguments: how many more (or fewer), and the most of a day.
_SPEND = """
local day = tostring(math.floor(redis.call('TIME')[1] / 86400))
local known = redis.call('HMGET', KEYS[1], 'day', 'count')
local count = known[1] == day and tonumber(known[2]) or 0
local more = tonumber(ARGV[1])
if more == 0 then return count end
if more > 0 and count + more > tonumber(ARGV[2]) then return -1 end
redis.call('HSET', KEYS[1], 'day', day, 'count', math.max(0, count + more))
redis.call('EXPIRE', KEYS[1], 172800)
return math.max(0, count + more)
"""


class RedisOutboundQueue:
    """See `common.store.outbound.OutboundQueue`."""

    def __init__(self, client: Client, retention_s: int) -> None:
        self._client = client
        self._retention_s = retention_s

    @classmethod
    def connect(cls, url: str, name: str, retention_s: int) -> RedisOutboundQueue:
        """Create a client that connects when it is used; `aclose` it.  With several shards the first one is used."""
        return cls(Client(parse_redis_url(url)[0], f"{name}:dials"), retention_s)

    async def aclose(self) -> None:
        """Close all connections; the queue cannot be used afterwards."""
        await self._client.aclose()

    async def add(self, dial_id: str, body: dict[str, Any], due_ms: int, key: str = "") -> str:
        keys = [_name(dial_id), _QUEUED, _OPEN, f"{{dials}}:key:{key}"]
        args: list[Word] = [key, dial_id, msgpack.packb(body), due_ms, QUEUE_MAX, KEY_SECONDS]
        outcome, known = await self._client.run(_ADD, keys, args)
        if outcome < 0:
            raise QueueFull(f"{QUEUE_MAX} calls wait already")
        return str(known.decode())

    async def read(self, dial_id: str) -> QueuedCall | None:
        fields, time = await self._client.each([("HGETALL", _name(dial_id)), ("TIME",)])
        if fields is None:
            raise UnreadableOutboundCall("its key holds another type")
        return entry_of(pairs_of(fields), ms_of(time)) if fields else None

    async def set_aside(self, dial_id: str) -> None:
        keys = [_name(dial_id), _QUEUED, _OPEN, _UNREADABLE]
        args: list[Word] = [dial_id, UNREADABLE_MAX, UNREADABLE_SECONDS, UNREADABLE_BYTES, self._retention_s]
        if await self._client.run(_SET_ASIDE, keys, args):
            unreadable("outbound call")

    async def mend(self) -> None:
        kinds = {_QUEUED: ("zset", 0), _OPEN: ("zset", 0), _UNREADABLE: ("list", 0), _DIALER: ("string", LEAD_MS_MAX)}
        kinds |= {_PAUSED: ("string", PAUSE_MS_MAX), _PAUSES: ("string", 2 * PAUSE_MS_MAX), _DAY: ("hash", DAY_MS_MAX)}
        await remove_unusable(self._client, kinds)

    async def write(
        self,
        dial_id: str,
        version: int,
        body: dict[str, Any],
        where: str,
        due_ms: int,
        call_ids: Sequence[str] = (),
        dialer: str = "",
    ) -> bool:
        keys = [_name(dial_id), _QUEUED, _OPEN, _DIALER, *map(_call_name, call_ids)]
        waits_s = max(self._retention_s, CALL_KEY_SECONDS)
        args: list[Word] = [dial_id, version, msgpack.packb(body), where, due_ms, self._retention_s, dialer, waits_s]
        return bool(await self._client.run(_WRITE, keys, args))

    async def now_ms(self) -> int:
        return ms_of(await self._client.call("TIME"))

    async def due(self, count: int) -> list[str]:
        return await self._first(_QUEUED, await self.now_ms(), count)

    async def overdue(self, count: int) -> list[str]:
        return await self._first(_OPEN, await self.now_ms(), count)

    async def open_count(self) -> int:
        await self._first(_OPEN, "+inf", 0)
        return int(await self._client.call("ZCARD", _OPEN))

    async def queued_count(self) -> int:
        return int(await self._client.call("ZCARD", _QUEUED))

    async def made_by(self, key: str) -> str:
        found: Any = await self._client.call("GET", f"{{dials}}:key:{key}")
        return found.decode() if found else ""

    async def spent_today(self) -> int:
        return int(await self._client.run(_SPEND, [_DAY], [0, 0]))

    async def spend(self, most: int) -> bool:
        return int(await self._client.run(_SPEND, [_DAY], [1, most])) >= 0

    async def give_back(self) -> None:
        await self._client.run(_SPEND, [_DAY], [-1, 0])

    async def lead(self, owner: str, ms: int) -> bool:
        return bool(await self._client.run(_LEAD, [_DIALER], [owner, ms]))

    async def owner(self, call_id: str) -> str:
        found: Any = await self._client.call("GET", _call_name(call_id))
        return found.decode("utf-8", "replace") if found else ""

    async def pause(self, reason: str) -> None:
        args: list[Word] = [reason, PAUSE_MS, PAUSE_MS_MAX]
        await self._client.run(_PAUSE, [_PAUSED, _PAUSES], args)

    async def paused(self) -> tuple[str, bool]:
        found, holds = await self._client.all([("GET", _PAUSES), ("GET", _PAUSED)])
        if not found:
            return "", False
        return found.decode("utf-8", "replace").partition(" ")[2], bool(holds)

    async def unpause(self) -> None:
        await self._client.call("DEL", _PAUSED, _PAUSES)

    async def _first(self, key: str, until_ms: int | str, count: int) -> list[str]:
        """Up to `count` ids of a set; ids without a document are removed and counted."""
        gone, found = await self._client.run(_DUE, [key], [until_ms, count, LOOKED_AT])
        for _ in range(gone):
            unreadable("outbound call")
        return [dial_id.decode("utf-8", "surrogateescape") for dial_id in found]


def entry_of(fields: Mapping[bytes, bytes], now_ms: int) -> QueuedCall:
    """The document in a hash.  Raises UnreadableOutboundCall."""
    try:
        return QueuedCall(int(fields[b"version"]), {**msgpack.unpackb(fields[b"body"])}, now_ms)
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException) as error:
        raise UnreadableOutboundCall(type(error).__name__) from None


_UNREADABLE = "{dials}:unreadable"
_QUEUED = "{dials}:queued"
_OPEN = "{dials}:open"
_DIALER = "{dials}:dialer"
_DAY = "{dials}:day"
_PAUSED = "{dials}:paused"
_PAUSES = "{dials}:pauses"


def _name(dial_id: str) -> str:
    return f"{{dials}}:{dial_id}"


def _call_name(call_id: str) -> str:
    return f"{{dials}}:call:{call_id}"
