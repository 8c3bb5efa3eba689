"""Defines every metric of every process: names, labels, buckets.  label_sets.py alone also imports prometheus_client.

Labels have closed sets of values, and never a call id, a number or a text.  Where a value is not written in the code
(it came over the bus, or out of a record), `CLOSED` lists the set, and any other value counts as "other".  Buckets
follow the targets: an answer under 1.2 s (the objective that deploy/prometheus counts, so 1.2 is a bucket), a hop
under ten milliseconds, a clear within one frame.

Prometheus does not see a counter before its first count, and the first event of a kind would be no increase.  So
`begin` and `begin_provider` create all series that a process may use, at its start.
"""

import asyncio
from collections.abc import Container, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    disable_created_metrics,
    generate_latest,
)

from common.call.acts import ToolOutcome
from common.process.build import this_build
from common.protocol.fields import STAGES, USAGE_UNITS
from common.protocol.redis_keys import ALL_POOLS, POOLS
from common.redis.refusals import AWAY_KINDS, REFUSED_KINDS
from common.store import END_REASONS
from common.telemetry.costs import estimate, prices
from common.telemetry.label_sets import Counter, Gauge, Histogram

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each counter, without a use

_ANSWER = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0)
_STAGE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
_TOOL = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
_RING = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0)
_HOP = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)

BUILD_INFO = Gauge(
    "voice_build_info", "1; its labels say which build this process is", ["version", "revision", "process"]
)
CALLS_ACTIVE = Gauge("voice_calls_active", "Calls this process holds now", ["process"])
CALLS_MAX = Gauge("voice_calls_max", "Calls this process takes at once (CALLS_MAX)", ["process"])
TASKS = Gauge("voice_tasks", "Asyncio tasks of this process now", ["process"])
DRAINING = Gauge("voice_draining", "1 from SIGTERM until the process ends", ["process"])
CALLS_STARTED = Counter("voice_calls_started", "Calls answered whose stream is open, by direction", ["direction"])
CALLS_ENDED = Counter("voice_calls_ended", "Calls ended, by reason", ["reason"])
CALLS_REFUSED = Counter("voice_calls_refused", "Calls or sockets turned away, by reason", ["reason"])

AGENTS_RELOADS = Counter("voice_agents_reload", "Changed agent files that were read, by outcome", ["outcome"])
AGENTS_BROKEN = Gauge("voice_agents_broken", "1 while the agents stay as they were because of mistakes in their files")
AGENT_CALLS = Counter("voice_agent_calls", "Calls that were given an agent, by the variant of its file", ["variant"])
ON_CALLS = Counter("voice_on_call", "Webhooks of agents that were asked when a call came in, by outcome", ["outcome"])

POOL_HAS_ROOM = Gauge("voice_pool_has_room", "1 while a member of the pool takes calls, as this edge sees it", ["pool"])
CALLS_UNSERVED = Counter(
    "voice_calls_unserved", "Calls that no member of a pool took: ended with an apology, or without tools", ["pool"]
)
CALLS_WITH_TOOLS = Gauge("voice_calls_with_tools", "Calls of this edge that need the pool tools")

CALLS_PLACED = Counter("voice_calls_placed", "Outbound calls that the carrier accepted")
DIALS_PAUSED = Gauge(
    "voice_dials_paused", "1 while outbound calls wait because the carrier refuses the account, by reason", ["reason"]
)
DIALS_REFUSED = Counter(
    "voice_dials_refused", "Calls that were not dialled because a setting forbids it, by reason", ["reason"]
)
TRANSFERS = Counter(
    "voice_transfers", "Transfers of callers to persons that are settled, by outcome", ["mode", "outcome"]
)
TRANSFER_RING_SECONDS = Histogram(
    "voice_transfer_ring_seconds", "How long the person's telephone rang until it was answered", buckets=_RING
)
FAILURES_LIMITED = Counter(
    "voice_failures_limited", "Failed requests answered 429 because their address had too many", ["kind"]
)
HALF_OPEN_CLOSED = Counter("voice_half_open_closed", "Connections closed before they had asked, by reason", ["reason"])
REQUESTS_REFUSED = Counter(
    "voice_requests_refused", "Requests and WebSocket handshakes that the application never saw, by reason", ["reason"]
)
STREAMS_TOO_FAST = Counter(
    "voice_streams_too_fast", "Streams closed because their peer sent more than a line can, by reason", ["reason"]
)
WEBHOOKS_REFUSED = Counter("voice_webhooks_refused", "Webhooks turned away by their signature, by reason", ["reason"])

ANSWER_SECONDS = Histogram(
    "voice_answer_seconds", "From the caller's last word to the first frame of the answer", buckets=_ANSWER
)
STAGE_SECONDS = Histogram("voice_stage_seconds", "The stages whose sum is the answer time", ["stage"], buckets=_STAGE)
CLEAR_SECONDS = Histogram(
    "voice_clear_seconds", "From the moment the STT worker notices speech to clearAudio on the socket", buckets=_HOP
)
BUS_LAG_SECONDS = Histogram("voice_bus_lag_seconds", "Time of one hop over the bus (sampled)", ["hop"], buckets=_HOP)

TURNS = Counter("voice_turns", "Replies of the agent, by how they ended", ["outcome"])
REPLIES_RESUMED = Counter("voice_replies_resumed", "Replies that went on after a cough or a mm-hm had stopped them")
TOOL_CALLS_NOT_RUN = Counter(
    "voice_tool_calls_not_run", "Calls of tools that no worker ran to its end, by reason: refused, given up", ["reason"]
)
ANSWERS_FAILED = Counter("voice_answers_failed", "Answers that no model or no voice could give, by reason", ["reason"])
CLAUSE_AUDIO_FAULTS = Counter(
    "voice_clause_audio_faults", "Clauses that a voice ended without audio that holds their text, by fault",
    ["provider", "fault"],
)  # fmt: skip
FRAMES = Counter("voice_frames", "20 ms frames by direction", ["direction"])
FRAMES_DROPPED = Counter("voice_frames_dropped", "Frames that were not played or not sent on, by reason", ["reason"])
BAD_INPUT = Counter("voice_bad_input", "Messages or requests that were not understood, by kind", ["kind"])
SECRET_KEYS_LOST = Counter("voice_secret_keys_lost", "Secret digits that could not be stored and were dropped")
UNREADABLE = Counter(
    "voice_unreadable", "What was found in Redis and could not be read, by what it should be", ["what"]
)
LOOP_ERRORS = Counter("voice_loop_errors", "Errors of which a loop skipped one item, or one round, by loop", ["loop"])
UNKNOWN_TAGS = Counter("voice_unknown_tags", "Bus messages of a newer process that were skipped")

LEASES_LOST = Counter("voice_leases_lost", "Calls that this pool member held and lost to another", ["pool"])
TAKEOVERS = Counter("voice_takeovers", "Calls taken over from another pool member", ["pool"])
CALLS_SUSPECT = Counter(
    "voice_calls_suspect", "Claims of calls whose last owners were lost soon after they had claimed them", ["pool"]
)
CALLS_QUARANTINED = Counter(
    "voice_calls_quarantined", "Calls ended because too many owners in a row were lost with them", ["pool"]
)
CALLS_PASSED_ON = Counter(
    "voice_calls_passed_on", "Calls given to another member because no provider could be reached from here", ["pool"]
)
PROVIDERS_FAILING = Gauge(
    "voice_providers_failing", "1 while this process can reach none of its providers", ["process"]
)
PROVIDER_ERRORS = Counter("voice_provider_errors", "Errors of a provider, by kind", ["provider", "kind"])
PROVIDER_REOPENED = Counter(
    "voice_provider_reopened", "STT streams that failed in a call and were opened again, by provider", ["provider"]
)
PROVIDER_SWITCHES = Counter(
    "voice_provider_switches", "Uses of a provider because those preferred to it were failing or full", ["provider"]
)
PROVIDER_IN_USE = Gauge("voice_provider_in_use", "Sockets or requests open at a provider now", ["provider"])
PROVIDER_STATE = Gauge(
    "voice_provider_state", "0: asked normally, 1: one use tries it, 2: left alone after failures", ["provider"]
)
PROVIDER_USAGE = Counter("voice_provider_usage", "What was used of a provider, by unit", ["provider", "unit"])
PROVIDER_COST = Counter(
    "voice_provider_cost_dollars", "What that use costs by common/telemetry/prices.yaml: an estimate", ["provider"]
)
PROVIDER_UNPRICED = Gauge(
    "voice_provider_unpriced", "1 if common/telemetry/prices.yaml has no price for it", ["provider"]
)
HEDGES = Counter("voice_hedges", "Second requests to another model because the first was slow, by winner", ["winner"])
PREPARED = Counter("voice_prepared_replies", "Replies begun before the caller's turn was over, by outcome", ["outcome"])
FIXED_SENTENCES = Counter("voice_fixed_sentences", "Fixed sentences to be spoken, by what the cache had", ["result"])
REPLY_TOKENS = Counter("voice_reply_tokens", "Tokens that models streamed for replies, by outcome", ["outcome"])
REPLY_CHARACTERS = Counter(
    "voice_reply_characters", "Characters of replies that voices were given, by outcome", ["outcome"]
)
TOOL_CALLS = Counter("voice_tool_calls", "Calls of tools, by kind and by how they ended", ["kind", "outcome"])
TOOL_SECONDS = Histogram("voice_tool_seconds", "How long tools ran, by kind", ["kind"], buckets=_TOOL)
TOOLS_RUNNING = Gauge("voice_tools_running", "Calls of tools that run now, by kind", ["kind"])
TRACE_SPANS = Counter("voice_trace_spans", "Spans of traces, by what became of them", ["outcome"])
SESSION_ERRORS = Counter("voice_session_errors", "Errors that ended this process's part in a call", ["process"])

STALE_ORDERS = Counter(
    "voice_stale_orders", "Messages ignored because a newer owner or connection has the call, by message", ["message"]
)
CALLS_FOUND_ENDED = Counter(
    "voice_calls_found_ended", "Calls ended by others, who took this edge for dead, with the caller on the line here"
)
CLOCK_OFFSET_SECONDS = Gauge(
    "voice_clock_offset_seconds", "How far the clock of this host is ahead of the Redis server's", ["server"]
)
BUS_RECONNECTS = Counter("voice_bus_reconnects", "Connections to Redis that were lost and made again")
CALLS_RESTORED = Counter("voice_calls_restored", "Live calls written down again after Redis had lost them")
REDIS_AWAY = Counter("voice_redis_away", "Times that Redis could not be used, by kind", ["kind"])
REDIS_REFUSED = Counter("voice_redis_refused", "Commands that Redis refused for good, by kind", ["kind"])
BUS_DROPPED = Counter("voice_bus_dropped", "Bus messages given up while Redis was away, by reason", ["reason"])
LOOP_LAG_SECONDS = Histogram("voice_loop_lag_seconds", "How late the event loop woke a timer", buckets=_HOP)

REDIS_UP = Gauge("voice_redis_up", "1 if the server answered this edge's last question", ["server"])
REDIS_MEMORY_BYTES = Gauge("voice_redis_memory_bytes", "Memory that Redis uses", ["server"])
REDIS_MEMORY_MAX_BYTES = Gauge("voice_redis_memory_max_bytes", "maxmemory, or the machine's without it", ["server"])
CALLS_RETAINED = Gauge("voice_calls_retained", "Ended calls of which Redis still has the record", ["server"])
REDIS_OPS_PER_SECOND = Gauge("voice_redis_ops_per_second", "Commands per second, as Redis counts them", ["server"])
REDIS_CPU_SECONDS = Gauge("voice_redis_cpu_seconds", "CPU time that Redis has used since its start", ["server"])
REDIS_REPLICAS = Gauge("voice_redis_replicas", "Replicas that are connected to the primary", ["server"])
REDIS_CHANGES = Counter("voice_redis_changes", "Times that another Redis answered: failover or restart", ["server"])
STREAM_ENTRIES = Gauge("voice_stream_entries", "Entries of the streams that are not about one call", ["stream"])

CONTENT_TYPE = CONTENT_TYPE_LATEST
PROCESSES = ("edge", *ALL_POOLS)
PROVIDERS_MAX = 500
"""Most providers with series of their own in one process; an agent's file may name any."""
_ERROR_KINDS = ("busy", "down", "rejected", "timeouterror", "empty")
_AUDIO_FAULTS = ("no audio", "silence", "too short")
_providers: set[str] = set()
UNREADABLE_WHATS = ("call id", "record", "notes", "checkpoint", "offer", "outbound call", "key", "secret", "hand-off")
EDGE_LOOPS = (
    *("bus", "housekeeping", "call store", "abandoned calls", "call backups"),
    *("pool watch", "redis watch", "dialer", "look-up", "agents", "orders"),
)
WORKER_LOOPS = ("bus", "take", "renew", "scan", "heartbeat", "room", "health", "session", "agents")
AGENTS_RELOADED = ("loaded", "broken")
AGENT_VARIANTS = ("stable", "canary")
ON_CALL_OUTCOMES = ("answered", "late", "failed", "bad answer")
_REQUEST_REFUSALS = (
    *("malformed", "head too large", "too many headers", "request too large", "too many pipelined", "bad handshake"),
)
_DROPS = ("stale", "duplicate or no room", "call is over", "too early")
_ORDERS = (
    *("hang up", "speech started", "speech ended", "words detected", "reply released", "keep keys secret"),
    *("transfer call", "send keys"),
)
_TOO_FAST = ("audio", "events", "frames", "pings")
_TRANSFER_OUTCOMES = (
    *("connected", "no answer", "busy", "declined", "unreachable", "short talk", "timeout", "caller gone"),
    *("not allowed", "no target", "not now", "no account", "limit", "store"),
)
_NOT_DIALLED = ("prefix", "number type", "sip", "day")
TOOL_KINDS = ("http", "python", "mcp")
TOOL_OUTCOMES = tuple(outcome.value for outcome in ToolOutcome)
CLOSED: dict[Counter | Gauge | Histogram, tuple[Container[str], ...]] = {
    CALLS_ACTIVE: (PROCESSES,),
    DRAINING: (PROCESSES,),
    SESSION_ERRORS: (PROCESSES,),
    LEASES_LOST: (ALL_POOLS,),
    TAKEOVERS: (ALL_POOLS,),
    CALLS_STARTED: (("inbound", "outbound"),),
    CALLS_ENDED: (END_REASONS,),
    CALLS_UNSERVED: (ALL_POOLS,),
    POOL_HAS_ROOM: (ALL_POOLS,),
    DIALS_PAUSED: (("credit", "credentials", "limit", "account"),),
    STAGE_SECONDS: (STAGES,),
    TURNS: (("heard", "interrupted"),),
    PREPARED: (("released", "discarded"),),
    FIXED_SENTENCES: (("hit", "miss", "away"),),
    REPLY_TOKENS: (("used", "wasted"),),
    REPLY_CHARACTERS: (("used", "wasted"),),
    REDIS_AWAY: (AWAY_KINDS,),
    FRAMES_DROPPED: ((*_DROPS, "stt backlog"),),
    STALE_ORDERS: (_ORDERS,),
    TRANSFERS: (("cold", "warm"), _TRANSFER_OUTCOMES),
    CLAUSE_AUDIO_FAULTS: (_providers, _AUDIO_FAULTS),
    PROVIDER_ERRORS: (_providers, _ERROR_KINDS),
    PROVIDER_SWITCHES: (_providers,),
    PROVIDER_IN_USE: (_providers,),
    PROVIDER_STATE: (_providers,),
    PROVIDER_USAGE: (_providers, USAGE_UNITS),
    PROVIDER_COST: (_providers,),
    PROVIDER_UNPRICED: (_providers,),
    PROVIDER_REOPENED: (_providers,),
    TASKS: (PROCESSES,),
    CALLS_SUSPECT: (ALL_POOLS,),
    CALLS_QUARANTINED: (ALL_POOLS,),
    CALLS_PASSED_ON: (ALL_POOLS,),
    PROVIDERS_FAILING: (ALL_POOLS,),
    DIALS_REFUSED: (_NOT_DIALLED,),
    REQUESTS_REFUSED: (_REQUEST_REFUSALS,),
    STREAMS_TOO_FAST: (_TOO_FAST,),
    UNREADABLE: (UNREADABLE_WHATS,),
    LOOP_ERRORS: ((*EDGE_LOOPS, *WORKER_LOOPS),),
    REDIS_REFUSED: (REFUSED_KINDS,),
    AGENTS_RELOADS: (AGENTS_RELOADED,),
    AGENT_CALLS: (AGENT_VARIANTS,),
    ON_CALLS: (ON_CALL_OUTCOMES,),
    TOOL_CALLS: ((*TOOL_KINDS, "none"), TOOL_OUTCOMES),
    TOOL_SECONDS: (TOOL_KINDS,),
    TOOLS_RUNNING: (TOOL_KINDS,),
}
"""Family -> the set of values of each of its labels."""
for _family, _sets in CLOSED.items():
    _family.close(*_sets)
_REFUSALS = (
    "full",
    "overloaded",
    "draining",
    "cut off from Redis",
    "Redis refuses writes",
    "no agent",
    *(f"no {pool}" for pool in POOLS),
)
_STREAM_REFUSALS = (
    *("bad token", "token expired", "another call's token", "call is over", "too many sockets"),
    *("no start", "no call id", "bad format"),
)
_SIGNATURES = (
    *("signature_missing", "signature_wrong", "signature_malformed", "nonce_replayed"),
    *("url_unproven", "url_forged", "url_expired"),
)
_EDGE: tuple[tuple[Counter | Histogram, tuple[str, ...]], ...] = (
    (CALLS_STARTED, ("inbound", "outbound")),
    (CALLS_ENDED, END_REASONS),
    (CALLS_REFUSED, (*_REFUSALS, *_STREAM_REFUSALS)),
    (CALLS_UNSERVED, ALL_POOLS),
    (STALE_ORDERS, _ORDERS),
    (DIALS_REFUSED, _NOT_DIALLED),
    (FAILURES_LIMITED, ("http", "websocket")),
    (HALF_OPEN_CLOSED, ("late", "crowded out", "idle", "too many", "unread")),
    (REQUESTS_REFUSED, _REQUEST_REFUSALS),
    (STREAMS_TOO_FAST, _TOO_FAST),
    (WEBHOOKS_REFUSED, _SIGNATURES),
    (STAGE_SECONDS, STAGES[1:]),
    (TURNS, ("heard", "interrupted")),
    (FRAMES, ("in", "filled", "out")),
    (FRAMES_DROPPED, _DROPS),
    (AGENTS_RELOADS, AGENTS_RELOADED),
    (AGENT_CALLS, AGENT_VARIANTS),
    (ON_CALLS, ON_CALL_OUTCOMES),
    (BAD_INPUT, ("request", "sender went away", "unknown event", "too many keys")),
)
_POOL: dict[str, tuple[tuple[Counter | Histogram, tuple[str, ...]], ...]] = {
    "stt": ((BUS_LAG_SECONDS, ("edge to stt",)), (FRAMES_DROPPED, ("stt backlog",))),
    "llm": (
        (ANSWERS_FAILED, ("no model",)),
        (TOOL_CALLS_NOT_RUN, ("refused", "given up")),
        (PREPARED, ("released", "discarded")),
        (REPLY_TOKENS, ("used", "wasted")),
        (REPLY_CHARACTERS, ("used", "wasted")),
        (HEDGES, ("first", "second")),
    ),
    "tts": ((ANSWERS_FAILED, ("no voice",)), (FIXED_SENTENCES, ("hit", "miss", "away"))),
}
_UNITS = {"stt": ("audio_ms",), "llm": ("tokens_in", "tokens_cached", "tokens_out"), "tts": ("characters",)}


def begin(process: str, calls_max: int) -> None:
    """Create the series of this process, at 0.  `process` is "edge" or a pool; it takes `calls_max` calls."""
    build = this_build()
    BUILD_INFO.labels(build.version, build.revision, process).set(1)
    CALLS_MAX.labels(process).set(calls_max)
    CALLS_ACTIVE.labels(process).set(0)
    DRAINING.labels(process).set(0)
    mine = _EDGE if process == "edge" else _POOL.get(process, ())
    both = (
        (SESSION_ERRORS, (process,)),
        (BAD_INPUT, ("bus",)),
        (REDIS_AWAY, AWAY_KINDS),
        (REDIS_REFUSED, REFUSED_KINDS),
    )
    broken = ((UNREADABLE, UNREADABLE_WHATS), (LOOP_ERRORS, EDGE_LOOPS if process == "edge" else WORKER_LOOPS))
    more = ((BUS_DROPPED, ("server away", "refused")), (TRACE_SPANS, ("sent", "failed", "dropped")))
    for family, values in (*mine, *both, *broken, *more):
        for value in values:
            family.labels(value)
    if process == "edge":
        for mode in ("cold", "warm"):
            for outcome in _TRANSFER_OUTCOMES:
                TRANSFERS.labels(mode, outcome)
    if process in ALL_POOLS:
        LEASES_LOST.labels(process)
        TAKEOVERS.labels(process)
        CALLS_SUSPECT.labels(process)
        CALLS_QUARANTINED.labels(process)
        CALLS_PASSED_ON.labels(process)
        PROVIDERS_FAILING.labels(process).set(0)


def count_tasks(process: str, loop: asyncio.AbstractEventLoop) -> None:
    """Report the number of the loop's tasks at every scrape, from any thread."""
    TASKS.labels(process).set_function(lambda: len(asyncio.all_tasks(loop)))


def begin_provider(pool: str, spec: str) -> None:
    """Create the series of a provider that this process may use, at 0."""
    if len(_providers) < PROVIDERS_MAX:
        _providers.add(spec)
    for kind in ("busy", "down", "rejected", "timeouterror", *(("empty",) if pool == "llm" else ())):
        PROVIDER_ERRORS.labels(spec, kind)
    for unit in _UNITS.get(pool, ()):
        PROVIDER_USAGE.labels(spec, unit)
    for fault in _AUDIO_FAULTS if pool == "tts" else ():
        CLAUSE_AUDIO_FAULTS.labels(spec, fault)
    PROVIDER_SWITCHES.labels(spec)
    if pool == "stt":
        PROVIDER_REOPENED.labels(spec)
    PROVIDER_IN_USE.labels(spec).set(0)
    PROVIDER_STATE.labels(spec).set(0)
    PROVIDER_COST.labels(spec)
    unpriced = estimate({(pool, spec, unit): 1 for unit in _UNITS.get(pool, ())}, prices()).unpriced
    PROVIDER_UNPRICED.labels(spec).set(len(unpriced))


def count_usage(pool: str, spec: str, amounts: Mapping[str, int]) -> None:
    """Count one use of a provider: the amount of each unit of `USAGE_UNITS`, and the cost by the price table."""
    for unit, amount in amounts.items():
        PROVIDER_USAGE.labels(spec, unit).inc(amount)
    PROVIDER_COST.labels(spec).inc(estimate({(pool, spec, unit): n for unit, n in amounts.items()}, prices()).total)


def exposition() -> bytes:
    """All metrics of this process in the Prometheus text format."""
    return generate_latest(REGISTRY)
