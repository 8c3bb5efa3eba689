"""The book of outbound calls in Redis: documents with a version, a queue, and one dialer at a time.

Keys (one Redis Cluster slot, by the tag {dials}):

  {dials}:<id>        hash    version, body, added (msgpack); once it is over it expires after CALL_RETENTION
  {dials}:key:<key>   string  the dial that an idempotency key made
  {dials}:call:<id>   string  the dial that the carrier's call with this id belongs to; CALL_KEY_SECONDS or as the dial
  {dials}:queued      zset    by the time at which to place it
  {dials}:open        zset    by the time at which to look it up
  {dials}:dialer      string  who dials now; expires unless renewed
  {dials}:paused      string  no call is placed while it is there; expires when the next one is to be tried
  {dials}:day         hash    how many requests have left on a day (UTC, by the server's clock); expires two days later
  {dials}:pauses      string  how many such pauses have followed each other, and why; until a call is placed again
  {dials}:unreadable  list    ids and documents that could not be read, for a person to look at

A document that waits or is open does not expire: its id would stand at the head of the queue, or take a line, for ever.
Should one be gone all the same (an older release wrote it, a person deleted it), its id is removed when it is met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from common.process.skipped import unreadable
from common.redis.client import Client
from common.redis.url import parse_redis_url
from common.store.mending import remove_unusable
from common.store.outbound import QueuedCall, QueueFull, UnreadableOutboundCall

QUEUE_MAX = 10_000
"""Requested calls that may wait; one more is refused."""
KEY_SECONDS = 86_400
"""How long an idempotency key is remembered."""

CALL_KEY_SECONDS = 7 * 86_400
"""How long a call's id leads to a dial that waits; each change of the dial begins it anew."""
LOOKED_AT = 100
"""Ids that one look at the queue, or at the open calls, compares with their documents."""
UNREADABLE_MAX = 100
"""Documents that are kept of those that could not be read."""
UNREADABLE_BYTES = 1024
UNREADABLE_SECONDS = 86_400
LEAD_MS_MAX = 5000
"""The lead without an end gets this one: whoever dials renews it much sooner."""

PAUSE_MS = 2000
"""The first pause after the carrier has refused the account; each that follows is twice as long."""
PAUSE_MS_MAX = 300_000
DAY_MS_MAX = 172_800_000
"""What was spent on a day is kept so long, by the script as well."""
_ADDED = frozenset({"sent", "requests", "refused_ms"})
"""Keys that stand in a field of their own: the previous release reads `body` and refuses keys that it does not know."""

_ADD = """
local known = ARGV[1] ~= '' and redis.call('GET', KEYS[4])
if known then return {0, known} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return {-1, ''} end
redis.call('HSET', KEYS[1], 'version', 1, 'body', ARGV[3], 'added', ARGV[7])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
if ARGV[1] ~= '' then redis.call('SET', KEYS[4], ARGV[2], 'EX', ARGV[6]) end
return {1, ARGV[2]}
"""

_WRITE = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return 0 end
if ARGV[8] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[8] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2] + 1, 'body', ARGV[3], 'added', ARGV[7])
local over = ARGV[4] == 'closed'
for at = 5, #KEYS do redis.call('SET', KEYS[at], ARGV[1], 'EX', over and ARGV[6] or ARGV[9]) end
if over then redis.call('EXPIRE', KEYS[1], ARGV[6]) else redis.call('PERSIST', KEYS[1]) end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if ARGV[4] == 'queued' then redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1]) end
if ARGV[4] == 'open' then redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1]) end
return 1
"""

# Ids of a set whose time has come, the earliest first; those without a document are removed.  Keys: the set.
# Arguments: latest time, how many, how many to look at.  The documents are in the same slot, by their tag.
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

# What cannot be read leaves the queue and gives its line back.  Keys: the document, queued, open, unreadable.
# Arguments: the id, how many to keep, how long, how much of each, how long the document stays.
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

# What was spent today by the server's clock.  Arguments: how many more (or fewer), and the most of a day.
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
        self._redis = client.redis
        self._retention_s = retention_s
        self._add = self._redis.register_script(_ADD)
        self._write = self._redis.register_script(_WRITE)
        self._lead = self._redis.register_script(_LEAD)
        self._pause = self._redis.register_script(_PAUSE)
        self._spend = self._redis.register_script(_SPEND)
        self._due = self._redis.register_script(_DUE)
        self._set_aside = self._redis.register_script(_SET_ASIDE)

    @classmethod
    def connect(cls, url: str, name: str, retention_s: int) -> RedisOutboundQueue:
        """Connects lazily; `aclose` when done.  With several shards the book is on the first."""
        return cls(Client(parse_redis_url(url)[0], f"{name}:dials"), retention_s)

    async def aclose(self) -> None:
        """Close all connections; the book cannot be used afterwards."""
        await self._client.aclose()

    async def add(self, dial_id: str, body: dict[str, Any], due_ms: int, key: str = "") -> str:
        """Queue a new dial and return its id; with a known idempotency key, the id of the dial it made before.

        Raises QueueFull.
        """
        keys = [_name(dial_id), _QUEUED, _OPEN, f"{{dials}}:key:{key}"]
        packed, added = _packed(body)
        args: list[Any] = [key, dial_id, packed, due_ms, QUEUE_MAX, KEY_SECONDS, added]
        outcome, known = await self._client.reached(self._add(keys=keys, args=args))
        if outcome < 0:
            raise QueueFull(f"{QUEUE_MAX} calls wait already")
        return str(known.decode())

    async def read(self, dial_id: str) -> QueuedCall | None:
        """The dial as it stands, or None if it is not known (any more).  Raises UnreadableDial."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(_name(dial_id))
        pipeline.time()
        fields, time = await self._client.each(pipeline)
        if fields is None:
            raise UnreadableOutboundCall("its key holds another type")
        return entry_of(fields, _ms(time)) if fields else None

    async def set_aside(self, dial_id: str) -> None:
        """A dial that cannot be read waits no more and takes no line; what there is of it is kept for a while."""
        keys = [_name(dial_id), _QUEUED, _OPEN, _UNREADABLE]
        args: list[Any] = [dial_id, UNREADABLE_MAX, UNREADABLE_SECONDS, UNREADABLE_BYTES, self._retention_s]
        if await self._client.reached(self._set_aside(keys=keys, args=args)):
            unreadable("outbound call")

    async def mend(self) -> None:
        """Remove keys of another type, and give locks without an end one: nobody could place a call."""
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
        """Replace the document if it still has this version.  `where`: "queued", "open" or "closed".

        `call_ids` are the carrier's calls that belong to the dial: `owner` finds it by them.  With a `dialer`, only
        while that is the one who dials.
        """
        keys = [_name(dial_id), _QUEUED, _OPEN, _DIALER, *map(_call_name, call_ids)]
        packed, added = _packed(body)
        waits_s = max(self._retention_s, CALL_KEY_SECONDS)
        args: list[Any] = [dial_id, version, packed, where, due_ms, self._retention_s, added, dialer, waits_s]
        return bool(await self._client.reached(self._write(keys=keys, args=args)))

    async def now_ms(self) -> int:
        """The server's clock, Unix time in ms: every time in the book is of it, since any edge may dial next."""
        return _ms(await self._client.reached(self._redis.time()))

    async def due(self, count: int) -> list[str]:
        """Queued dials whose time has come, the earliest first."""
        return await self._first(_QUEUED, await self.now_ms(), count)

    async def overdue(self, count: int) -> list[str]:
        """Open dials of which nothing was heard for too long."""
        return await self._first(_OPEN, await self.now_ms(), count)

    async def open_count(self) -> int:
        """Dials that take a line now; one whose document is gone takes none."""
        await self._first(_OPEN, "+inf", 0)
        return int(await self._client.reached(self._redis.zcard(_OPEN)))

    async def queued_count(self) -> int:
        """Dials that wait."""
        return int(await self._client.reached(self._redis.zcard(_QUEUED)))

    async def made_by(self, key: str) -> str:
        """The dial that an idempotency key made; empty if it made none."""
        found: Any = await self._client.reached(self._redis.get(f"{{dials}}:key:{key}"))
        return found.decode() if found else ""

    async def spent_today(self) -> int:
        """Requests that have left today, a day of UTC by the server's clock."""
        return int(await self._client.reached(self._spend(keys=[_DAY], args=[0, 0])))

    async def spend(self, most: int) -> bool:
        """Count a request that is about to leave; False, and it is not counted, if today has had `most`."""
        return int(await self._client.reached(self._spend(keys=[_DAY], args=[1, most]))) >= 0

    async def give_back(self) -> None:
        """A request that was counted has rung nobody."""
        await self._client.reached(self._spend(keys=[_DAY], args=[-1, 0]))

    async def lead(self, owner: str, ms: int) -> bool:
        """Be, or go on being, the one who dials."""
        return bool(await self._client.reached(self._lead(keys=[_DIALER], args=[owner, ms])))

    async def owner(self, call_id: str) -> str:
        """The dial that the carrier's call belongs to; empty if it is none of ours, or not known to be."""
        found: Any = await self._client.reached(self._redis.get(_call_name(call_id)))
        return found.decode("utf-8", "replace") if found else ""

    async def pause(self, reason: str) -> None:
        """Place no call for a while, which grows with each pause that follows another; one that is on goes on."""
        args: list[Any] = [reason, PAUSE_MS, PAUSE_MS_MAX]
        await self._client.reached(self._pause(keys=[_PAUSED, _PAUSES], args=args))

    async def paused(self) -> tuple[str, bool]:
        """Why calls were refused of late, empty if they were not; and whether none may be placed now."""
        found: Any = await self._client.reached(self._redis.get(_PAUSES))
        if not found:
            return "", False
        holds = await self._client.reached(self._redis.get(_PAUSED))
        return found.decode("utf-8", "replace").partition(" ")[2], bool(holds)

    async def unpause(self) -> None:
        """A call was placed again: the next pause is a short one."""
        await self._client.reached(self._redis.delete(_PAUSED, _PAUSES))

    async def _first(self, key: str, until_ms: int | str, count: int) -> list[str]:
        """Up to `count` ids of a set; those that lead nowhere are removed and counted."""
        gone, found = await self._client.reached(self._due(keys=[key], args=[until_ms, count, LOOKED_AT]))
        for _ in range(gone):
            unreadable("outbound call")
        return [dial_id.decode("utf-8", "surrogateescape") for dial_id in found]


def entry_of(fields: Mapping[bytes, bytes], now_ms: int) -> QueuedCall:
    """A document from its hash.  Raises UnreadableDial."""
    try:
        added = msgpack.unpackb(fields[b"added"]) if b"added" in fields else {}
        body = msgpack.unpackb(fields[b"body"])
        return QueuedCall(int(fields[b"version"]), {**body, **added}, now_ms)
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException) as error:
        raise UnreadableOutboundCall(type(error).__name__) from None


_UNREADABLE = "{dials}:unreadable"
_QUEUED = "{dials}:queued"
_OPEN = "{dials}:open"
_DIALER = "{dials}:dialer"
_DAY = "{dials}:day"
_PAUSED = "{dials}:paused"
_PAUSES = "{dials}:pauses"


def _ms(time: Any) -> int:
    """The answer to TIME in ms."""
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000


def _packed(body: dict[str, Any]) -> tuple[bytes, bytes]:
    """A document as the two fields that hold it."""
    known = {key: value for key, value in body.items() if key not in _ADDED}
    return msgpack.packb(known), msgpack.packb({key: body[key] for key in body.keys() & _ADDED})


def _name(dial_id: str) -> str:
    return f"{{dials}}:{dial_id}"


def _call_name(call_id: str) -> str:
    return f"{{dials}}:call:{call_id}"
