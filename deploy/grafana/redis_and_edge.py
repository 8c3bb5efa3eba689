"""Defines the dashboard Redis and edge, the two components that every call passes."""

from deploy.grafana.panels import Dashboard, Panel, Query, Row, warns_above, warns_below

_REDIS = Row(
    "Redis",
    (
        Panel(
            "Answers",
            "1 if every edge got an answer to its last request. 0: no call works; the runbook's section on Redis "
            "says what to do.",
            (Query("min by (server) (voice_redis_up)", "{{server}}"),),
            kind="stat",
            width=4,
            steps=warns_below(1, 0.5),
            most=1,
            runbook="redis-is-away",
            empty_text="no edge",
        ),
        Panel(
            "Memory used",
            "Of maxmemory, or of the machine's memory without one. Good: under 60 %. At 100 % every write is refused: "
            "raise maxmemory, or keep ended calls for a shorter time (CALL_RETENTION_S).",
            (
                Query(
                    "max by (server) (voice_redis_memory_bytes) / (max by (server) (voice_redis_memory_max_bytes) > 0)",
                    "{{server}}",
                ),
            ),
            unit="percentunit",
            width=10,
            steps=warns_above(0.6, 0.8),
            runbook="redis-memory",
            empty_text="no bound",
        ),
        Panel(
            "Memory",
            "Good: follows the calls, and levels out after CALL_RETENTION_S. A straight climb: retention is long for "
            "this traffic, or something else writes there.",
            (
                Query("max by (server) (voice_redis_memory_bytes)", "used {{server}}"),
                Query("max by (server) (voice_redis_memory_max_bytes)", "bound {{server}}"),
            ),
            unit="bytes",
            width=10,
            runbook="redis-memory",
        ),
        Panel(
            "CPU",
            "Of one core: Redis works on one. Good: under 60 %. More: add a server to REDIS_URL (about 1,000 calls "
            "each).",
            (Query("max by (server) (rate(voice_redis_cpu_seconds[$__rate_interval]))", "{{server}}"),),
            unit="percentunit",
            steps=warns_above(0.6, 0.8),
            runbook="the-bus-or-the-edge-is-slow",
        ),
        Panel(
            "Commands per second",
            "As Redis counts them. Good: about in proportion to the calls. Much more: somebody else uses this Redis.",
            (Query("max by (server) (voice_redis_ops_per_second)", "{{server}}"),),
            unit="ops",
            runbook="the-bus-or-the-edge-is-slow",
        ),
        Panel(
            "Replicas, and changes of server",
            "Good: two replicas with Sentinel, and no changes. A change is a failover or a restart; calls go on, but "
            "see that the replicas come back.",
            (
                Query("max by (server) (voice_redis_replicas)", "replicas of {{server}}"),
                Query(
                    "max by (server) (increase(voice_redis_changes_total[$__rate_interval]))", "changes of {{server}}"
                ),
            ),
            runbook="redis-failover",
        ),
        Panel(
            "Streams that are not about one call",
            "Entries. Good: offers at 0; 'edge audio' rises to about 20,000 and 'edge priority' to about 2,000, where "
            "they are trimmed. Offers that stay: a pool starves.",
            (Query("max by (stream) (voice_stream_entries)", "{{stream}}"),),
            width=12,
            runbook="a-pool-starves",
        ),
        Panel(
            "Redis away, messages dropped, calls restored",
            "Per minute. Good: 0 but for a failover. Away without one: network, memory, or a starved Redis. Any "
            "restored call: Redis had lost its data; see that it writes an AOF.",
            (
                Query("60 * sum by (kind) (rate(voice_redis_away_total[$__rate_interval]))", "away: {{kind}}"),
                Query("60 * sum by (reason) (rate(voice_bus_dropped_total[$__rate_interval]))", "dropped: {{reason}}"),
                Query("60 * sum(rate(voice_calls_restored_total[$__rate_interval]))", "calls restored"),
                Query("60 * sum(rate(voice_bus_reconnects_total[$__rate_interval]))", "connections made again"),
            ),
            width=12,
            runbook="redis-is-away",
        ),
    ),
)

_EDGE = Row(
    "Edge",
    (
        Panel(
            "Event loop late",
            "How late timers fire, by edge, p99; workers do not measure it. Good: under 5 ms. Over 20 ms is audible "
            "when it lasts: fewer calls per edge, or more CPU.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (le, instance)"
                    " (rate(voice_loop_lag_seconds_bucket[$__rate_interval]))) >= 0",
                    "{{instance}}",
                ),
            ),
            unit="s",
            steps=((None, "transparent"), (0.02, "red")),
            runbook="the-bus-or-the-edge-is-slow",
        ),
        Panel(
            "Frames per second",
            "20 ms frames. Good: 'in' is 50 for each call on the line; 'out' is 50 while an agent speaks. 'in' well "
            "below: the carrier sends with gaps.",
            (Query("sum by (direction) (rate(voice_frames_total[$__rate_interval]))", "{{direction}}"),),
            runbook="the-bus-or-the-edge-is-slow",
        ),
        Panel(
            "Frames from the callers, of those due",
            "Received, of 50 per second and call. Good: about 100 %, a little less while calls begin and end. Below "
            "95 %: frames are late or lost before us.",
            (
                Query(
                    'sum(rate(voice_frames_total{direction="in"}[$__rate_interval]))'
                    " / (50 * sum(avg_over_time("
                    'voice_calls_active{process="edge"}[$__rate_interval])) > 0)'
                ),
            ),
            unit="percentunit",
            runbook="the-bus-or-the-edge-is-slow",
            empty_text="no calls",
        ),
        Panel(
            "Frames dropped per second, by reason",
            "'stale' and 'call is over' follow interruptions and hang-ups and are normal. 'too early': the edge is "
            "slow to set calls up. 'stt backlog': a vendor takes audio more slowly than it comes. 'duplicate or no "
            "room': a replay.",
            (Query("sum by (reason) (rate(voice_frames_dropped_total[$__rate_interval]))", "{{reason}}"),),
            width=12,
            runbook="the-bus-or-the-edge-is-slow",
        ),
        Panel(
            "Messages of a newer version skipped",
            "Per minute. Good: 0, but for a rollout. Afterwards it means that a process of an old version still runs.",
            (Query("60 * sum(rate(voice_unknown_tags_total[$__rate_interval]))", "skipped"),),
            width=12,
            runbook="deploy",
        ),
    ),
)

REDIS_AND_EDGE = Dashboard(
    "redis-and-edge",
    "Redis and edge",
    "**Do the two things that every call passes keep up?** Redis must have memory and CPU to spare, and the edges' "
    "event loop must be on time.",
    (_REDIS, _EDGE),
)
