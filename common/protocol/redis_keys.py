"""Builds the name of every Redis key and defines its bounds; docs/bus.md is checked against this file.

`{sNN}` is `crc32(call_id) % 32`, a Redis Cluster hash tag in every key of a call: all keys of a call are in one slot,
and shards can be added.
"""

import re
from zlib import crc32

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The pattern of a call id, which is part of URL paths and stream names."""

SHARDS = 32

AUDIO_MAXLEN = 1500
"""Frames kept of a caller's audio: 30 s, enough to replay an utterance after a takeover."""
EVENTS_MAXLEN = 20_000
"""A call with a longer event log is ended: events are decisions, so they are never trimmed."""
EDGE_AUDIO_MAXLEN = 20_000
EDGE_PRIORITY_MAXLEN = 2_000
POOL_CALLS_MAXLEN = 10_000

LIVE_SECONDS = 3600
"""A live call's keys expire this long after the last sign of life of its edge."""
WRITTEN_SECONDS = 120
"""A call's audio, and the streams of an edge, expire this long after the last append (or the edge's heartbeat)."""
EXPIRE_AGAIN_SECONDS = 30
"""A writer sets the expiry of a stream again after this time."""

POOLS = ("stt", "llm", "tts")
"""The pools that every call needs."""
TOOLS_POOL = "tools"
"""The pool that only calls of agents with tools need (common/agents/needs.py); `CallRecord.more_pools` says so."""
ALL_POOLS = (*POOLS, TOOLS_POOL)
CALLS_LIVE = "calls:live"
"""Sorted set: call ids by the Unix time in ms of their edge's last heartbeat for them."""

CALLS_ENDED = "calls:ended"
"""Sorted set: ended calls that can still be read, by the server's time in ms at which they ended."""
CALLS_TO_COMPACT = "calls:to-compact"
"""Sorted set: ended calls whose event log is not yet compacted, by the server's time in ms at which it is due."""

STREAM_SECRET = "deployment:stream-secret"  # noqa: S105 - the name of the key
"""String: the secret that signs stream tokens when STREAM_SECRET is not set."""

FIXED_SENTENCES = "speech:{fixed}:used"
"""Sorted set: the keys of the fixed sentences whose audio is kept, by the server's time in ms of their last use."""


AGENTS_IN_FILES = "{agents}:in-files"
"""Hash: agent -> the version of its file, as an edge last read it."""
AGENT_PINS = "{agents}:pins"
"""Hash: agent -> the version that calls get, and the version of the file in whose place they get it."""


def agent_versions(agent: str) -> str:
    """Hash: the last versions of an agent's file, each with its document (common/store/agent_versions.py)."""
    return "{agents}:versions:" + agent


def fixed_sentence(digest: str) -> str:
    """String: the audio of one fixed sentence (common/store/fixed_speech.py)."""
    return "speech:{fixed}:audio:" + digest


def shard(call_id: str) -> str:
    """The hash tag of a call, such as "{s07}"."""
    return f"{{s{crc32(call_id.encode()) % SHARDS:02d}}}"


def shard_index(call_id: str, servers: int) -> int:
    """The index of the server that has the call: the number of its hash tag modulo `servers`."""
    return crc32(call_id.encode()) % SHARDS % servers


def call_of(stream: str) -> str:
    """The call id in a stream's name, or "" for a stream of an edge or a pool."""
    return stream.split(":", 3)[2] if stream.startswith("call:") else ""


def call_audio(call_id: str) -> str:
    """Stream: the caller's audio."""
    return f"call:{shard(call_id)}:{call_id}:audio"


def call_events(call_id: str) -> str:
    """Stream: the event log of the call."""
    return f"call:{shard(call_id)}:{call_id}:events"


def call_events_compacted(call_id: str) -> str:
    """Stream: the compacted event log while one script builds it and puts it in place of the whole one."""
    return f"call:{shard(call_id)}:{call_id}:compacted"


def call_state(call_id: str) -> str:
    """Hash: the record of the call, with the fencing token and the checkpoint of each pool."""
    return f"call:{shard(call_id)}:{call_id}:state"


def call_webhook_fields(call_id: str) -> str:
    """Hash: the fields of the carrier's webhooks about the call."""
    return f"call:{shard(call_id)}:{call_id}:facts"


def call_effects(call_id: str) -> str:
    """Hash: the side effects of the call that must not happen twice (common/call/once.py)."""
    return f"call:{shard(call_id)}:{call_id}:effects"


def call_secrets(call_id: str) -> str:
    """Hash: digits that the caller entered and that only tools may know (common/store/secret_keys.py)."""
    return f"call:{shard(call_id)}:{call_id}:secrets"


def call_end(call_id: str) -> str:
    """String: marks a call that the carrier reported as over, with or without a record."""
    return f"call:{shard(call_id)}:{call_id}:ended"


def nonce(value: str) -> str:
    """String: the digest of the webhook that had this nonce."""
    return f"nonce:{value}"


def edge_probe(edge: str) -> str:
    """String with a short life, written to see whether the server accepts writes."""
    return f"edge:{edge}:probe"


def edge_audio(edge: str) -> str:
    """Stream: audio for all callers of an edge."""
    return f"edge:{edge}:audio"


def edge_priority(edge: str) -> str:
    """Stream: messages that an edge must handle before any audio."""
    return f"edge:{edge}:priority"


def pool_calls(pool: str) -> str:
    """Stream with a consumer group: calls that need a member of the pool."""
    return f"pool:{pool}:calls"


def pool_unreadable(pool: str) -> str:
    """Stream: entries found among the offers that are no offers, kept for people to look at."""
    return f"pool:{pool}:unreadable"


def pool_leases(pool: str) -> str:
    """Sorted set: members of the pool that hold calls, by the server's time in ms at which their lease runs out."""
    return f"pool:{pool}:leases"


def pool_scan(pool: str) -> str:
    """String: the server's time in ms of the pool's last scan for calls without an owner."""
    return f"pool:{pool}:scan"


def pool_ready(pool: str) -> str:
    """Sorted set: members of the pool that have room, by the server's time in ms of their last report."""
    return f"pool:{pool}:ready"


def pool_healthy(pool: str) -> str:
    """Sorted set: members of the pool that reach a provider, by the server's time in ms of their last report."""
    return f"pool:{pool}:healthy"


def pool_quarantine(pool: str) -> str:
    """List: calls that the pool does not run again because they killed their owners; the newest first."""
    return f"pool:{pool}:quarantine"


def nodes(kind: str) -> str:
    """Sorted set: node ids by the Unix time in ms of their last heartbeat.  `kind` is "edge" or a pool."""
    return f"nodes:{kind}"


def maxlen(stream: str) -> int | None:
    """How many entries a stream keeps (approximately); None: all, until the stream expires."""
    if stream.startswith("call:"):
        return AUDIO_MAXLEN if stream.endswith(":audio") else None
    if stream.startswith("edge:"):
        return EDGE_AUDIO_MAXLEN if stream.endswith(":audio") else EDGE_PRIORITY_MAXLEN
    return POOL_CALLS_MAXLEN


def expiry(stream: str) -> tuple[str | int, ...]:
    """The arguments of EXPIRE after an append to the stream; empty for a stream that never expires.

    The end of a call decides how long its events stay, so an append only sets an expiry where there is none ("NX").
    """
    if stream.startswith("call:") and not stream.endswith(":audio"):
        return (LIVE_SECONDS, "NX")
    return (WRITTEN_SECONDS,) if stream.startswith(("call:", "edge:")) else ()


def is_priority(stream: str) -> bool:
    """Whether the stream has a connection of its own, so that control messages never wait behind audio."""
    return stream.endswith(":priority")
