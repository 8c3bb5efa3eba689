"""Removes Redis keys that no process can use, and sets entries aside that would block others.

A key of another type than docs/bus.md says is of no use to any process of any release, because the type of a key never
changes.  A shared key of a wrong type would stop all calls, so an edge looks every few seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from common.process.skipped import unreadable
from common.protocol import redis_keys
from common.redis.client import Client
from common.redis.commands import Command, script
from common.store.redis_values import CALL_ID

UNREADABLE_MAXLEN = 100
"""Most unreadable entries that are kept for a person to look at."""
UNREADABLE_BYTES = 1024
"""Most bytes that are kept of each."""
UNREADABLE_SECONDS = 86_400
IDS_LOOKED_AT = 1000
"""Most members of `calls:live` that one look compares with their records."""
PAST_MS = 600_000
"""A heartbeat this far in the future was written by a wrong clock; it is set back."""

# Key: any.  Arguments: its type, and for a lock the expiry in ms that it gets if it has none (0: no lock).
MEND = """
local kind = redis.call('TYPE', KEYS[1])
kind = kind.ok or kind
if kind == 'none' then return 0 end
if kind ~= ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
if ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) == -1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
return 0
"""

# A secret that is too short would not protect anything.  Arguments: a new one, and the length of one.
SHARED = """
local kind = redis.call('TYPE', KEYS[1])
kind = kind.ok or kind
local known = kind == 'string' and redis.call('GET', KEYS[1])
if known and #known >= tonumber(ARGV[2]) then return known end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
"""

# Removes an id without a live record.  Keys: the record, calls:live.  Arguments: the id, the latest score.
RECONCILE = """
local kind = redis.call('TYPE', KEYS[1])
kind = kind.ok or kind
if kind ~= 'hash' or redis.call('HGET', KEYS[1], 'status') ~= 'live' then
  return redis.call('ZREM', KEYS[2], ARGV[1])
end
local score = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]))
if score and score > tonumber(ARGV[2]) then redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1]) end
return 0
"""


async def shared_secret(client: Client) -> bytes:
    """The deployment's secret, created now if there is none that is long enough."""
    made = secrets.token_hex(32)
    return bytes(await client.run(SHARED, [redis_keys.STREAM_SECRET], [made, len(made)]))


def call_keys(call_id: str) -> list[str]:
    """All keys of a call, the record first."""
    return list(_call_types(call_id))


def _call_types(call_id: str) -> dict[str, str]:
    return {
        redis_keys.call_state(call_id): "hash",
        redis_keys.call_events(call_id): "stream",
        redis_keys.call_audio(call_id): "stream",
        redis_keys.call_effects(call_id): "hash",
        redis_keys.call_webhook_fields(call_id): "hash",
        redis_keys.call_secrets(call_id): "hash",
    }


def shared_types(edge: str) -> dict[str, tuple[str, int]]:
    """Key -> (type, 0: no lock) of the keys that all calls, or all calls of this edge, need."""
    found: dict[str, tuple[str, int]] = {redis_keys.CALLS_LIVE: ("zset", 0), redis_keys.nodes("edge"): ("zset", 0)}
    found[redis_keys.STREAM_SECRET] = ("string", 0)
    for pool in redis_keys.ALL_POOLS:
        found[redis_keys.pool_calls(pool)] = ("stream", 0)
        found[redis_keys.pool_leases(pool)] = ("zset", 0)
        found[redis_keys.pool_ready(pool)] = ("zset", 0)
        found[redis_keys.pool_scan(pool)] = ("string", 0)
    return found | {redis_keys.edge_audio(edge): ("stream", 0), redis_keys.edge_priority(edge): ("stream", 0)}


async def mend(client: Client, edge: str, call_ids: Sequence[str]) -> int:
    """See `common.store.CallStore.mend`."""
    shared = shared_types(edge)
    own = {call_id: _call_types(call_id) for call_id in call_ids}
    keys = shared | {key: (kind, 0) for types in own.values() for key, kind in types.items()}
    mended = await remove_unusable(client, keys)
    for call_id in call_ids:
        if redis_keys.call_events(call_id) in mended:  # the edge restores both if the record is missing
            await client.call("DEL", redis_keys.call_state(call_id))
    return len(mended) + await _reconcile(client)


async def remove_unusable(client: Client, keys: Mapping[str, tuple[str, int]]) -> list[str]:
    """Delete those of the keys that have a wrong type, and give locks an expiry; returns the keys that were changed."""
    replies = await client.each([script(MEND, [key], about) for key, about in keys.items()])
    found = [key for key, mended in zip(keys, replies, strict=True) if mended]
    for _ in found:
        unreadable("key")
    return found


async def _reconcile(client: Client) -> int:
    """Compare the newest and the oldest ids in `calls:live` with their records, since a wrong one might never leave."""
    live = redis_keys.CALLS_LIVE
    newest, oldest, (seconds, _) = await client.all(
        [("ZREVRANGE", live, 0, IDS_LOOKED_AT - 1), ("ZRANGE", live, 0, IDS_LOOKED_AT - 1), ("TIME",)]
    )
    members: dict[bytes, None] = dict.fromkeys([*newest, *oldest])
    latest_ms = int(seconds) * 1000 + PAST_MS
    commands = [
        script(RECONCILE, [redis_keys.call_state(member.decode()), live], [member, latest_ms])
        for member in members
        if CALL_ID.fullmatch(member)
    ]
    if wrong := [member for member in members if not CALL_ID.fullmatch(member)]:
        commands.append(("ZREM", live, *wrong))
        unreadable("call id")
    return sum(reply for reply in await client.each(commands) if isinstance(reply, int))


async def set_offers_aside(client: Client, pool: str, entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
    """Move unreadable offers to a stream of their own, since they would be delivered before all others for ever."""
    aside, offers = redis_keys.pool_unreadable(pool), redis_keys.pool_calls(pool)
    commands: list[Command] = []
    for entry_id, fields in entries:
        raw = next(iter(fields.values()), b"")[:UNREADABLE_BYTES]
        commands.append(("XADD", aside, "MAXLEN", UNREADABLE_MAXLEN, "*", "d", raw))
        commands += [("XACK", offers, "members", entry_id), ("XDEL", offers, entry_id)]
        unreadable("offer")
    await client.each([*commands, ("EXPIRE", aside, UNREADABLE_SECONDS)])
