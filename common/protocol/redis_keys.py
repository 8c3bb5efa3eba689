"""The names and bounds of every key on the bus (docs/bus.md is checked against this file).

`{sNN}` is `crc32(call_id) % 32`, a Redis Cluster hash tag on every key of a call: a call never crosses a slot, and
shards can be added.
"""

import re
from zlib import crc32

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a call id looks like: it stands in URL paths and in the names of streams."""

SHARDS = 32

AUDIO_MAXLEN = 1500
"""Frames kept of a caller's audio: 30 s, enough to replay an utterance after a takeover."""
EVENTS_MAXLEN = 20_000
"""A call whose story grows longer is ended: a trimmed event would be a lost decision, so events are never trimmed."""
EDGE_AUDIO_MAXLEN = 20_000
EDGE_PRIORITY_MAXLEN = 2_000
POOL_CALLS_MAXLEN = 10_000

LIVE_SECONDS = 3600
"""A live call's keys expire this long after the last sign of life of its edge."""
WRITTEN_SECONDS = 120
"""A call's audio, and the streams of an edge, expire this long after the last append (or the edge's heartbeat)."""
EXPIRE_AGAIN_SECONDS = 30
"""How often who writes to a stream says when it expires."""

POOLS = ("stt", "llm", "tts")
CALLS_LIVE = "calls:live"
"""Sorted set: call id by the Unix time in ms at which its edge last said that it is up."""

CALLS_ENDED = "calls:ended"
"""Sorted set: ended calls that can still be read, by the server's time in ms at which they ended."""
CALLS_TO_COMPACT = "calls:to-compact"
"""Sorted set: ended calls whose event log is still whole, by the server's time in ms at which to shorten it."""

STREAM_SECRET = "deployment:stream-secret"  # noqa: S105 - the name of the key
"""String: signs the stream tokens when STREAM_SECRET is not set."""


def shard(call_id: str) -> str:
    """The hash tag of a call: "{s07}"."""
    return f"{{s{crc32(call_id.encode()) % SHARDS:02d}}}"


def shard_index(call_id: str, servers: int) -> int:
    """Which of several servers has the call: the number of its hash tag, modulo."""
    return crc32(call_id.encode()) % SHARDS % servers


def call_of(stream: str) -> str:
    """The call whose stream this is, or "": it is an edge's or a pool's."""
    return stream.split(":", 3)[2] if stream.startswith("call:") else ""


def call_audio(call_id: str) -> str:
    """Stream: the caller's audio."""
    return f"call:{shard(call_id)}:{call_id}:audio"


def call_events(call_id: str) -> str:
    """Stream: the story of the call."""
    return f"call:{shard(call_id)}:{call_id}:events"


def call_events_compacted(call_id: str) -> str:
    """Stream: where the shortened events are built, within the one step that puts them in place."""
    return f"call:{shard(call_id)}:{call_id}:compacted"


def call_state(call_id: str) -> str:
    """Hash: the record of the call, with the fencing token and the checkpoint of each pool."""
    return f"call:{shard(call_id)}:{call_id}:state"


def call_lease(call_id: str, pool: str) -> str:
    """Hash: who holds the call for the pool right now; expires by itself."""
    return f"call:{shard(call_id)}:{call_id}:lease:{pool}"


def call_webhook_fields(call_id: str) -> str:
    """Hash: what the carrier's webhooks said about the call."""
    return f"call:{shard(call_id)}:{call_id}:facts"


def call_effects(call_id: str) -> str:
    """Hash: the side effects of the call that must not happen twice (common/call/once.py)."""
    return f"call:{shard(call_id)}:{call_id}:effects"


def call_end(call_id: str) -> str:
    """Marks a call that the carrier called over; it may have no record (yet)."""
    return f"call:{shard(call_id)}:{call_id}:ended"


def nonce(value: str) -> str:
    """String: the digest of the webhook that came with this nonce."""
    return f"nonce:{value}"


def edge_probe(edge: str) -> str:
    """String with a short life: written to see whether the server takes writes."""
    return f"edge:{edge}:probe"


def edge_audio(edge: str) -> str:
    """Stream: audio for all callers of an edge."""
    return f"edge:{edge}:audio"


def edge_priority(edge: str) -> str:
    """Stream: what an edge must know before any audio."""
    return f"edge:{edge}:priority"


def pool_calls(pool: str) -> str:
    """Stream with a consumer group: calls that want a member of the pool."""
    return f"pool:{pool}:calls"


def pool_unreadable(pool: str) -> str:
    """Stream: what stood among the offers and was none, for a person to look at."""
    return f"pool:{pool}:unreadable"


def pool_scan(pool: str) -> str:
    """String with a short life: the member that looks for calls that nobody holds."""
    return f"pool:{pool}:scan"


def pool_ready(pool: str) -> str:
    """Sorted set: members of the pool that take calls, by the server's time in ms at which they last said so."""
    return f"pool:{pool}:ready"


def pool_healthy(pool: str) -> str:
    """Sorted set: members of the pool whose providers can be reached, by the server's time in ms of their last word."""
    return f"pool:{pool}:healthy"


def pool_quarantine(pool: str) -> str:
    """List: the calls that the pool will not run again, because its members were lost with them; the newest first."""
    return f"pool:{pool}:quarantine"


def nodes(kind: str) -> str:
    """Sorted set: node id by the Unix time in ms of its last heartbeat.  `kind` is "edge" or a pool."""
    return f"nodes:{kind}"


def maxlen(stream: str) -> int | None:
    """How many entries a stream keeps (approximately); None: all, until it expires."""
    if stream.startswith("call:"):
        return AUDIO_MAXLEN if stream.endswith(":audio") else None
    if stream.startswith("edge:"):
        return EDGE_AUDIO_MAXLEN if stream.endswith(":audio") else EDGE_PRIORITY_MAXLEN
    return POOL_CALLS_MAXLEN


def expiry(stream: str) -> tuple[str | int, ...]:
    """What EXPIRE is told after an append to the stream; nothing for one that never expires.

    The end of a call decides how long its events stay: an append only sees to it that they do not stay for ever.
    """
    if stream.startswith("call:") and not stream.endswith(":audio"):
        return (LIVE_SECONDS, "NX")
    return (WRITTEN_SECONDS,) if stream.startswith(("call:", "edge:")) else ()


def is_priority(stream: str) -> bool:
    """Does the stream have a connection of its own, so that control never waits behind audio?"""
    return stream.endswith(":priority")
