"""Garbage in every key that docs/bus.md lists: entries that nobody can read, and keys of another type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import redis

from common.protocol import redis_keys
from tests.fuzz.garbage import RAWS

DIALS = ("queued", "open", "dialer", "paused", "pauses", "out-0000000000000000000000000", "call:call-1", "key:a")


def call_keys(call_id: str) -> list[str]:
    """All keys of a call."""
    named = (
        redis_keys.call_audio,
        redis_keys.call_events,
        redis_keys.call_state,
        redis_keys.call_webhook_fields,
        redis_keys.call_effects,
    )
    return [name(call_id) for name in named]


def shared_keys(edges: Iterable[str]) -> list[str]:
    """What all calls, and all edges, share."""
    pools = [
        name(pool)
        for pool in redis_keys.POOLS
        for name in (redis_keys.pool_calls, redis_keys.pool_leases, redis_keys.pool_ready, redis_keys.pool_scan)
    ]
    own = [name(edge) for edge in edges for name in (redis_keys.edge_audio, redis_keys.edge_priority)]
    nodes = [redis_keys.nodes(kind) for kind in ("edge", *redis_keys.POOLS)]
    return [*pools, *own, *nodes, redis_keys.CALLS_LIVE, *(f"{{dials}}:{name}" for name in DIALS)]


def poison_entries(client: Any, call_ids: Iterable[str], edges: Iterable[str]) -> None:
    """What nobody can read, in keys of the right type; it is added to what is there."""
    for key in [*shared_keys(edges), *(key for call_id in call_ids for key in call_keys(call_id))]:
        for raw in RAWS:
            with contextlib.suppress(redis.ResponseError):  # it has just become another type, or ended
                _add(client, key, raw)


def _add(client: Any, key: str, raw: bytes) -> None:
    match (client.type(key).decode(), key.rpartition(":")[2]):
        case ("stream", _) | ("none", "audio" | "events" | "priority" | "calls"):
            client.xadd(key, {"d": raw})
            client.xadd(key, {"not d": raw, "d": raw})
        case ("zset", _) | ("none", "live" | "leases" | "ready" | "queued" | "open" | "edge"):
            client.zadd(key, {raw[:1000]: 0, raw[:999] + b"?": "+inf", "call-that-never-was": 9e15})
        case ("hash", _):
            client.hset(key, raw[:1000], raw[:1000])


def poison_types(client: Any, keys: Iterable[str]) -> None:
    """Keys of another type than everybody expects."""
    for at, key in enumerate(keys):
        is_list = client.type(key) == b"list"
        with client.pipeline(transaction=True) as at_once:  # or a live process writes its own in between
            at_once.delete(key)
            if at % 2 and not is_list:
                at_once.rpush(key, b"\xff\xfe", "garbage")
            else:
                at_once.sadd(key, b"\xff\xfe", "garbage")
            at_once.execute()


def edges_of(client: Any) -> list[str]:
    """The edges that have said that they are there."""
    key = redis_keys.nodes("edge")
    return [member.decode() for member in client.zrange(key, 0, -1)] if client.type(key) == b"zset" else []


def client_of(url: str) -> redis.Redis:
    """An operator's."""
    return redis.Redis.from_url(url, socket_timeout=5)
