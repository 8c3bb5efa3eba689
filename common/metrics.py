"""Every metric of every process: names, labels, buckets.  Nobody else imports prometheus_client.

Labels are closed sets; a call id, a number or a text is never one.  Buckets follow the targets: an answer under a
second, a hop under ten milliseconds, a clear within one frame.
"""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

_ANSWER = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
_STAGE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
_HOP = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)

CALLS_ACTIVE = Gauge("voice_calls_active", "Calls this process holds now", ["process"])
CALLS_MAX = Gauge("voice_calls_max", "Calls this process takes at once (CALLS_MAX)", ["process"])
CALLS_ENDED = Counter("voice_calls_ended", "Calls ended, by reason", ["reason"])
CALLS_REFUSED = Counter("voice_calls_refused", "Calls or sockets turned away, by reason", ["reason"])

CALLS_PLACED = Counter("voice_calls_placed", "Outbound calls that the carrier accepted")
WEBHOOKS_REFUSED = Counter("voice_webhooks_refused", "Webhooks turned away by their signature, by reason", ["reason"])

ANSWER_SECONDS = Histogram(
    "voice_answer_seconds", "From the caller's last word to the first frame of the answer", buckets=_ANSWER
)
STAGE_SECONDS = Histogram("voice_stage_seconds", "The stages whose sum is the answer time", ["stage"], buckets=_STAGE)
CLEAR_SECONDS = Histogram(
    "voice_clear_seconds", "From the moment the ears notice speech to clearAudio on the socket", buckets=_HOP
)
BUS_LAG_SECONDS = Histogram("voice_bus_lag_seconds", "Time of one hop over the bus (sampled)", ["hop"], buckets=_HOP)

TURNS = Counter("voice_turns", "Replies of the agent, by how they ended", ["outcome"])
FRAMES = Counter("voice_frames", "20 ms frames by direction", ["direction"])
FRAMES_DROPPED = Counter("voice_frames_dropped", "Frames that were not played or not sent on, by reason", ["reason"])
BAD_INPUT = Counter("voice_bad_input", "Messages or requests that were not understood, by kind", ["kind"])
UNKNOWN_TAGS = Counter("voice_unknown_tags", "Bus messages of a newer process that were skipped")

LEASES_LOST = Counter("voice_leases_lost", "Calls that this pool member held and lost to another", ["pool"])
TAKEOVERS = Counter("voice_takeovers", "Calls taken over from another pool member", ["pool"])
PROVIDER_ERRORS = Counter("voice_provider_errors", "Errors of a provider, by kind", ["provider", "kind"])
PROVIDER_SWITCHES = Counter(
    "voice_provider_switches", "Uses of a provider because those preferred to it were failing or full", ["provider"]
)
PROVIDER_IN_USE = Gauge("voice_provider_in_use", "Sockets or requests open at a provider now", ["provider"])
PROVIDER_STATE = Gauge(
    "voice_provider_state", "0: asked normally, 1: one use tries it, 2: left alone after failures", ["provider"]
)
PROVIDER_USAGE = Counter("voice_provider_usage", "What was used of a provider, by unit", ["provider", "unit"])
HEDGES = Counter("voice_hedges", "Second requests to another model because the first was slow, by winner", ["winner"])
PREPARED = Counter("voice_prepared_replies", "Replies begun before the caller's turn was over, by outcome", ["outcome"])
SESSION_ERRORS = Counter("voice_session_errors", "Errors that ended this process's part in a call", ["process"])

BUS_RECONNECTS = Counter("voice_bus_reconnects", "Connections to Redis that were lost and made again")
CALLS_RESTORED = Counter("voice_calls_restored", "Live calls written down again after Redis had lost them")
REDIS_AWAY = Counter("voice_redis_away", "Times that Redis could not be used, by kind", ["kind"])
BUS_DROPPED = Counter("voice_bus_dropped", "Bus messages given up while Redis was away, by reason", ["reason"])
LOOP_LAG_SECONDS = Histogram("voice_loop_lag_seconds", "How late the event loop woke a timer", buckets=_HOP)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """All metrics of this process in the Prometheus text format."""
    return generate_latest(REGISTRY)
