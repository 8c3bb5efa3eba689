"""The ledger in Redis, by redis-py: none of this is on the media path.

Keys (all names in common/streams.py):

  call:{sNN}:<id>:state         hash    agent, numbers, status, epoch, edge; token:<pool> and checkpoint:<pool>
  call:{sNN}:<id>:lease:<pool>  hash    owner, token; expires by itself unless renewed
  pool:<name>:calls             stream  offers; its consumer group "members" hands each to one member
  call:{sNN}:<id>:facts         hash    what the carrier's webhooks said, by event and field
  calls:live, nodes:<kind>      zset    by the time of the last sign of life
  nonce:<nonce>                 string  digest of the webhook that used this nonce; expires after ten minutes

What must be decided in one step is a Lua script over keys of one call, hence of one Redis Cluster slot.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar, cast

import msgpack
import redis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from common import streams
from common.ledger import UNSTARTED_SECONDS, CallRecord, Claim
from common.messages import BadMessage, Message, Offer, decode, encode

T = TypeVar("T")

LEASE_MS = 1500
LIVE_STALE_MS = 15_000
"""An edge touches its calls every few seconds; one untouched for this long has no edge."""
LOST_MS = 75_000
"""A call untouched for this long is over: its edge died, and the carrier did not come back to another one."""
OFFER_IDLE_MS = 1000
"""An offer taken this long ago and not settled had a taker who died."""
EDGE_STREAMS_SECONDS = 120
"""The streams of an edge that is gone are forgotten after this."""
GROUP = "members"
SOCKET_SECONDS = 3.0

_START = """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'ended' then return 0 end
redis.call('HSET', KEYS[1], 'status', 'live', 'edge', ARGV[1])
redis.call('PERSIST', KEYS[1])
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
"""

_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""

_END = """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'ended' then return 0 end
if ARGV[3] ~= '0' and redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[3] then return -1 end
redis.call('HSET', KEYS[1], 'status', 'ended', 'ended_because', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[3], 60)
return 1
"""

_CLAIM = """
if redis.call('HGET', KEYS[1], 'status') ~= 'live' then return {0, 'over'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {0, 'held'} end
local token = redis.call('HINCRBY', KEYS[1], 'token:' .. ARGV[1], 1)
redis.call('HSET', KEYS[2], 'owner', ARGV[2], 'token', token)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {token, redis.call('HGETALL', KEYS[1])}
"""

_RENEW = """
if redis.call('HGET', KEYS[1], 'token:' .. ARGV[1]) ~= ARGV[3] then return 0 end
if redis.call('HGET', KEYS[1], 'status') ~= 'live' then return 0 end
redis.call('HSET', KEYS[2], 'owner', ARGV[2], 'token', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
"""

_RELEASE = """
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

_APPEND = """
if redis.call('HGET', KEYS[1], 'token:' .. ARGV[1]) ~= ARGV[2] then return 0 end
for i = 3, #ARGV do redis.call('XADD', KEYS[2], '*', 'd', ARGV[i]) end
return 1
"""

_CHECKPOINT = """
if redis.call('HGET', KEYS[1], 'token:' .. ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'checkpoint:' .. ARGV[1], ARGV[3])
return 1
"""


class RedisLedger:
    """See `common.ledger.Ledger`.  `retention_s` is how long an ended call can still be read."""

    def __init__(self, client: Redis, retention_s: int, lease_ms: int = LEASE_MS) -> None:
        self._redis = client
        self._retention_s = retention_s
        self._lease_ms = lease_ms
        self._create = client.register_script(_CREATE)
        self._start = client.register_script(_START)
        self._end = client.register_script(_END)
        self._claim = client.register_script(_CLAIM)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)
        self._append = client.register_script(_APPEND)
        self._checkpoint = client.register_script(_CHECKPOINT)

    @classmethod
    def connect(cls, url: str, name: str, retention_s: int, lease_ms: int = LEASE_MS) -> RedisLedger:
        """Connects lazily; `aclose` when done."""
        client = Redis.from_url(
            url, client_name=f"{name}:ledger", socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        )
        return cls(client, retention_s, lease_ms)

    async def aclose(self) -> None:
        """Close the connections; the ledger is not used afterwards."""
        await self._redis.aclose()

    async def create(self, record: CallRecord) -> None:
        fields = {**asdict(record), "agent": msgpack.packb(record.agent), "created_ms": record.created_ms or _now_ms()}
        flat = [part for pair in fields.items() for part in pair]
        await reached(self._create(keys=[streams.call_state(record.call_id)], args=[UNSTARTED_SECONDS, *flat]))

    async def read(self, call_id: str) -> CallRecord | None:
        fields: Any = await reached(self._redis.hgetall(streams.call_state(call_id)))
        return _record(fields) if fields else None

    async def start(self, call_id: str, edge: str) -> CallRecord | None:
        if not await reached(self._start(keys=[streams.call_state(call_id)], args=[edge])):
            return None
        await self.touch([call_id])
        return await self.read(call_id)

    async def end(self, call_id: str, reason: str, epoch: int = 0) -> bool:
        keys = [streams.call_state(call_id), streams.call_events(call_id), streams.call_audio(call_id)]
        first = await reached(self._end(keys=keys, args=[reason, self._retention_s, epoch]))
        if first >= 0:
            await reached(self._redis.zrem(streams.CALLS_LIVE, call_id))
        return bool(first > 0)

    async def touch(self, call_ids: Iterable[str]) -> None:
        scores = dict.fromkeys(call_ids, _now_ms())
        if scores:
            await reached(self._redis.zadd(streams.CALLS_LIVE, scores))

    async def live(self) -> list[str]:
        fresh: Any = await reached(self._redis.zrangebyscore(streams.CALLS_LIVE, _now_ms() - LIVE_STALE_MS, "+inf"))
        return [call_id.decode() for call_id in fresh]

    async def lost(self) -> list[str]:
        stale: Any = await reached(self._redis.zrangebyscore(streams.CALLS_LIVE, "-inf", _now_ms() - LOST_MS))
        return [call_id.decode() for call_id in stale]

    async def add_facts(self, call_id: str, facts: Mapping[str, str]) -> None:
        if not facts:
            return
        key = streams.call_facts(call_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hset(key, mapping=cast(Any, facts))
        pipeline.expire(key, self._retention_s)
        await reached(pipeline.execute())

    async def facts(self, call_id: str) -> dict[str, str]:
        found: Any = await reached(self._redis.hgetall(streams.call_facts(call_id)))
        return {name.decode(): value.decode() for name, value in sorted(found.items())}

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        key = streams.nonce(nonce)
        if await reached(self._redis.set(key, digest, nx=True, ex=seconds)):
            return True
        known: Any = await reached(self._redis.get(key))
        return known is None or known.decode() == digest

    async def shared_secret(self) -> bytes:
        await reached(self._redis.set(streams.STREAM_SECRET, secrets.token_hex(32), nx=True))
        secret: Any = await reached(self._redis.get(streams.STREAM_SECRET))
        return bytes(secret)

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        stream = streams.pool_calls(pool)
        try:
            left = await reached(
                self._redis.xautoclaim(stream, GROUP, owner, min_idle_time=OFFER_IDLE_MS, start_id="0-0", count=count)
            )
            entries = left[1]
            if not entries:
                found = await reached(
                    self._redis.xreadgroup(GROUP, owner, {stream: ">"}, count=count, block=block_ms or None)
                )
                entries = _entries(found)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._make_group(stream)
            return []
        return [(offer_id.decode(), call_id) for offer_id, fields in entries if (call_id := _offered(fields))]

    async def settle(self, pool: str, offer_id: str) -> None:
        stream = streams.pool_calls(pool)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xack(stream, GROUP, offer_id)
        pipeline.xdel(stream, offer_id)
        await reached(pipeline.execute())

    async def claim(self, pool: str, call_id: str, owner: str) -> Claim | None:
        keys = [streams.call_state(call_id), streams.call_lease(call_id, pool)]
        token, found = await reached(self._claim(keys=keys, args=[pool, owner, self._lease_ms]))
        if not token:
            return None
        fields = dict(zip(found[::2], found[1::2], strict=True))
        checkpoint = fields.get(f"checkpoint:{pool}".encode(), b"").decode()
        return Claim(call_id, pool, owner, token, _record(fields), checkpoint)

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        pipeline = await self._loaded(self._renew.script)
        for claim in claims:
            keys = (streams.call_state(claim.call_id), streams.call_lease(claim.call_id, claim.pool))
            pipeline.evalsha(self._renew.sha, 2, *keys, claim.pool, claim.owner, str(claim.token), str(self._lease_ms))
        replies = (await reached(pipeline.execute()))[1:]
        return [claim for claim, renewed in zip(claims, replies, strict=True) if not renewed]

    async def release(self, claim: Claim) -> None:
        await reached(self._release(keys=[streams.call_lease(claim.call_id, claim.pool)], args=[claim.token]))

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        keys = [streams.call_state(claim.call_id), streams.call_events(claim.call_id)]
        args: list[Any] = [claim.pool, claim.token, *map(encode, messages)]
        return bool(await reached(self._append(keys=keys, args=args)))

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        keys = [streams.call_state(claim.call_id)]
        return bool(await reached(self._checkpoint(keys=keys, args=[claim.pool, claim.token, checkpoint])))

    async def orphans(self, pool: str) -> list[str]:
        calls = await self.live()
        if not calls:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for call_id in calls:
            pipeline.exists(streams.call_lease(call_id, pool))
        held = await reached(pipeline.execute())
        return [call_id for call_id, lease in zip(calls, held, strict=True) if not lease]

    async def beat(self, kind: str, node: str) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zadd(streams.nodes(kind), {node: _now_ms()})
        pipeline.zremrangebyscore(streams.nodes(kind), "-inf", _now_ms() - 10 * LIVE_STALE_MS)
        if kind == "edge":
            for stream in (streams.edge_audio(node), streams.edge_priority(node)):
                pipeline.expire(stream, EDGE_STREAMS_SECONDS)
        await reached(pipeline.execute())

    async def _loaded(self, script: Any) -> Pipeline:
        """A pipeline that first makes sure the server knows the script (it forgets at a restart)."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.script_load(script)
        return pipeline

    async def _make_group(self, stream: str) -> None:
        try:
            await reached(self._redis.xgroup_create(stream, GROUP, id="0", mkstream=True))
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


async def reached(command: Awaitable[T]) -> T:
    """redis-py's connection errors are no OSErrors; the rest of the program knows only the built-in ones."""
    try:
        return await command
    except redis.TimeoutError as error:
        raise TimeoutError(str(error)) from error
    except redis.ConnectionError as error:
        raise ConnectionError(str(error)) from error


def _record(fields: dict[bytes, bytes]) -> CallRecord:
    texts = {name.decode(): value for name, value in fields.items()}
    known: dict[str, Any] = {}
    for name, default in asdict(CallRecord("")).items():
        if name not in texts:
            continue
        raw = texts[name]
        if name == "agent":
            known[name] = msgpack.unpackb(raw)
        else:
            known[name] = int(raw) if isinstance(default, int) else raw.decode()
    return replace(CallRecord(""), **known)


def _entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of a one-stream XREADGROUP reply, in either protocol version."""
    if not found:
        return []
    if isinstance(found, dict):
        return [entry for pages in found.values() for page in pages for entry in page]
    return [entry for _, entries in found for entry in entries]


def _offered(fields: dict[bytes, bytes] | None) -> str | None:
    try:
        message = decode((fields or {}).get(b"d", b""))
    except BadMessage:
        return None
    return message.call_id if isinstance(message, Offer) else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
