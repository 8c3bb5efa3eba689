"""The book of outbound calls in Redis: documents with a version, a queue, and one dialer at a time.

Keys (one Redis Cluster slot, by the tag {dials}):

  {dials}:<id>        hash    version, body, added (msgpack); expires CALL_RETENTION after the last change
  {dials}:key:<key>   string  the dial that an idempotency key made
  {dials}:call:<id>   string  the dial that the carrier's call with this id belongs to; expires with the dial
  {dials}:queued      zset    by the time at which to place it
  {dials}:open        zset    by the time at which to look it up
  {dials}:dialer      string  who dials now; expires unless renewed
  {dials}:paused      string  no call is placed while it is there; expires when the next one is to be tried
  {dials}:day         hash    how many requests have left on a day (UTC, by the server's clock); expires two days later
  {dials}:pauses      string  how many such pauses have followed each other, and why; until a call is placed again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from common.ledger.client import Client
from common.redis_url import parse_redis_url

QUEUE_MAX = 10_000
"""Requested calls that may wait; one more is refused."""
KEY_SECONDS = 86_400
"""How long an idempotency key is remembered."""

PAUSE_MS = 2000
"""The first pause after the carrier has refused the account; each that follows is twice as long."""
PAUSE_MS_MAX = 300_000
_ADDED = frozenset({"sent", "requests", "refused_ms"})
"""Keys that stand in a field of their own: the previous release reads `body` and refuses keys that it does not know."""

_ADD = """
local known = ARGV[1] ~= '' and redis.call('GET', KEYS[4])
if known then return {0, known} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then return {-1, ''} end
redis.call('HSET', KEYS[1], 'version', 1, 'body', ARGV[3], 'added', ARGV[8])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
if ARGV[1] ~= '' then redis.call('SET', KEYS[4], ARGV[2], 'EX', ARGV[7]) end
return {1, ARGV[2]}
"""

_WRITE = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return 0 end
if ARGV[8] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[8] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2] + 1, 'body', ARGV[3], 'added', ARGV[7])
for place = 5, #KEYS do redis.call('SET', KEYS[place], ARGV[1], 'EX', ARGV[6]) end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if ARGV[4] == 'queued' then redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1]) end
if ARGV[4] == 'open' then redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1]) end
return 1
"""

_LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_PAUSE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local before = tonumber(string.match(redis.call('GET', KEYS[2]) or '0', '^%d+'))
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


class QueueFull(Exception):
    """`QUEUE_MAX` calls wait already."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored dial; `version` must be given back to `write`.  `now_ms`: the server's clock when it was read."""

    version: int
    body: dict[str, Any]
    now_ms: int = 0


class DialBook:
    """Raises ConnectionError or TimeoutError while the server is away."""

    def __init__(self, client: Client, retention_s: int) -> None:
        self._client = client
        self._redis = client.redis
        self._retention_s = retention_s
        self._add = self._redis.register_script(_ADD)
        self._write = self._redis.register_script(_WRITE)
        self._lead = self._redis.register_script(_LEAD)
        self._pause = self._redis.register_script(_PAUSE)
        self._spend = self._redis.register_script(_SPEND)

    @classmethod
    def connect(cls, url: str, name: str, retention_s: int) -> DialBook:
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
        args: list[Any] = [key, dial_id, packed, due_ms, self._retention_s, QUEUE_MAX, KEY_SECONDS, added]
        outcome, known = await self._client.reached(self._add(keys=keys, args=args))
        if outcome < 0:
            raise QueueFull(f"{QUEUE_MAX} calls wait already")
        return str(known.decode())

    async def read(self, dial_id: str) -> Entry | None:
        """The dial as it stands, or None if it is not known (any more)."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(_name(dial_id))
        pipeline.time()
        fields, time = await self._client.reached(pipeline.execute())
        if not fields:
            return None
        added = msgpack.unpackb(fields[b"added"]) if b"added" in fields else {}
        return Entry(int(fields[b"version"]), {**msgpack.unpackb(fields[b"body"]), **added}, _ms(time))

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
        args: list[Any] = [dial_id, version, packed, where, due_ms, self._retention_s, added, dialer]
        return bool(await self._client.reached(self._write(keys=keys, args=args)))

    async def now_ms(self) -> int:
        """The server's clock, Unix time in ms: every time in the book is of it, since any edge may dial next."""
        return _ms(await self._client.reached(self._redis.time()))

    async def due(self, count: int) -> list[str]:
        """Queued dials whose time has come, the earliest first."""
        return await self._range(_QUEUED, await self.now_ms(), count)

    async def overdue(self, count: int) -> list[str]:
        """Open dials of which nothing was heard for too long."""
        return await self._range(_OPEN, await self.now_ms(), count)

    async def open_count(self) -> int:
        """Dials that take a line now."""
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
        return found.decode() if found else ""

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
        return found.decode().partition(" ")[2], bool(holds)

    async def unpause(self) -> None:
        """A call was placed again: the next pause is a short one."""
        await self._client.reached(self._redis.delete(_PAUSED, _PAUSES))

    async def _range(self, key: str, until_ms: int, count: int) -> list[str]:
        found: Any = await self._client.reached(self._redis.zrangebyscore(key, "-inf", until_ms, start=0, num=count))
        return [dial_id.decode() for dial_id in found]


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
