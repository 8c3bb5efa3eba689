"""Defines the dashboard Pools: the worker pools and the vendors behind them."""

from deploy.grafana.panels import Dashboard, Panel, Query, Row, warns_above

_PLACES = Row(
    "Places",
    (
        Panel(
            "Places used",
            "Calls against CALLS_MAX, of processes that take calls. Good: under 70 %, so that the others can take "
            "over when a process dies. Above 85 %: add processes of that kind.",
            (Query("voice:places_used:ratio", "{{process}}"),),
            unit="percentunit",
            steps=warns_above(0.7, 0.85),
            most=1,
            runbook="places-run-short",
            empty_text="no processes",
        ),
        Panel(
            "Calls nobody holds",
            "Good: 0, but for a second or two after a crash. Longer: the pool is full, gone or cut off from Redis, and "
            "those callers wait in silence.",
            (Query("voice:calls_unheld:sum", "{{pool}}"),),
            steps=warns_above(1, 2),
            runbook="a-pool-starves",
        ),
        Panel(
            "Offers that wait",
            "Offers not yet taken. A call that nobody takes is offered again and again: 'Calls nobody holds' counts "
            "calls. Good: 0 nearly always. More: no member has a free place, or none reads.",
            (Query('max by (stream) (voice_stream_entries{stream=~"offers:.*"})', "{{stream}}"),),
            steps=warns_above(1, 5),
            runbook="a-pool-starves",
        ),
        Panel(
            "Calls per process",
            "Good: about equal within a pool. One at its maximum beside idle ones: the idle ones cannot reach Redis.",
            (Query("voice_calls_active", "{{process}} {{instance}}"),),
            runbook="places-run-short",
        ),
        Panel(
            "Builds that run",
            "Processes by version and revision. Good: one build of each kind, and two only during a rollout. Else: a "
            "rollout is stuck, or a process was forgotten; with an unknown revision the image was built without one.",
            (
                Query(
                    "count by (process, version, revision) (voice_build_info)", "{{process}} {{version}} {{revision}}"
                ),
            ),
            runbook="deploy",
        ),
        Panel(
            "Processes, needed and draining",
            "Good: as many as the calls need at 70 % filling, or more; draining ones only during a rollout. Fewer for "
            "minutes: the autoscaler is at its maximum, or new pods do not get ready. An edge that drains for over "
            "half an hour holds a rollout up.",
            (
                Query("count by (process) (voice_calls_max)", "{{process}}"),
                Query("max by (process) (voice_members_needed)", "{{process}} needed"),
                Query("sum by (process) (voice_draining)", "{{process}} draining"),
            ),
            runbook="scale",
        ),
    ),
)

_CARRYING_ON = Row(
    "Carrying on",
    (
        Panel(
            "Calls taken over",
            "Per minute. Good: only at rollouts and crashes. Else: see 'Leases lost'.",
            (Query("60 * sum by (pool) (rate(voice_takeovers_total[$__rate_interval]))", "{{pool}}"),),
            runbook="places-run-short",
        ),
        Panel(
            "Leases lost",
            "Per minute: a member that still ran lost a call to another. Good: 0. Else members freeze: too many calls "
            "per process, or CPU limits that are too tight.",
            (Query("60 * sum by (pool) (rate(voice_leases_lost_total[$__rate_interval]))", "{{pool}}"),),
            runbook="places-run-short",
        ),
        Panel(
            "Errors that ended a session",
            "Per minute. Good: 0; any is a fault of ours, and the log of that process has the traceback.",
            (Query("60 * sum by (process) (rate(voice_session_errors_total[$__rate_interval]))", "{{process}}"),),
            runbook="sessions-fail",
        ),
    ),
)

_TOOLS = Row(
    "Tools",
    (
        Panel(
            "Calls with tools",
            "Calls whose agent has tools, and those that a tools worker holds. Good: the same number, but for a second "
            "or two. Else the agents of the others say that they cannot look it up.",
            (
                Query("sum(voice_calls_with_tools)", "need tools"),
                Query('sum(voice_calls_active{process="tools"}) or vector(0)', "held"),
            ),
            runbook="tools-do-not-run",
        ),
        Panel(
            "Tools by outcome",
            "Calls of tools per minute. Good: done, and cancelled by callers who interrupt. Else the service behind "
            "them fails (failed) or is slow (timeout), or a worker died while it ran (unknown).",
            (
                Query(
                    "60 * sum by (kind, outcome) (rate(voice_tool_calls_total[$__rate_interval]))",
                    "{{kind}} {{outcome}}",
                ),
            ),
            runbook="tools-fail",
            empty_text="no tools",
        ),
        Panel(
            "Tools: seconds, p95",
            "From the begin of a run to its result. Good: under 1 s, which a caller hears as a pause; longer ones need "
            "a sentence for meanwhile. At the timeout: the service behind it hangs.",
            (
                Query(
                    "histogram_quantile(0.95, sum by (le, kind) (rate(voice_tool_seconds_bucket[$__rate_interval])))",
                    "{{kind}}",
                ),
            ),
            unit="s",
            runbook="tools-fail",
            empty_text="no tools",
        ),
    ),
)

_VENDORS = Row(
    "Vendors",
    (
        Panel(
            "Sockets and requests open",
            "At each provider now. Good: well under PROVIDER_CONCURRENCY and the account's limit. At the limit calls "
            "go to the next provider.",
            (Query("sum by (provider) (voice_provider_in_use)", "{{provider}}"),),
            runbook="a-vendor-fails",
        ),
        Panel(
            "State of each provider",
            "0 asked normally, 1 being tried, 2 left alone after failures. Good: 0. At 2 for minutes: the vendor is "
            "down or the key is wrong; the runbook has a section.",
            (Query("max by (provider) (voice_provider_state)", "{{provider}}"),),
            steps=((None, "transparent"), (2, "red")),
            most=2,
            runbook="a-vendor-fails",
        ),
        Panel(
            "Used instead of a preferred one",
            "Failovers per minute, by who was used instead. Good: 0. Else the vendor before it in the list fails or is "
            "full: see its errors.",
            (Query("60 * sum by (provider) (rate(voice_provider_switches_total[$__rate_interval]))", "{{provider}}"),),
            runbook="a-vendor-fails",
        ),
        Panel(
            "Errors by vendor and kind",
            "Per minute. busy: the account's limit or PROVIDER_CONCURRENCY. down: vendor or network. rejected: key, "
            "credit or a wrong name. timeouterror: it went on for too long.",
            (
                Query(
                    "60 * sum by (provider, kind) (rate(voice_provider_errors_total[$__rate_interval]))",
                    "{{provider}} {{kind}}",
                ),
            ),
            width=12,
            runbook="a-vendor-fails",
        ),
        Panel(
            "Answers that failed, by reason",
            "Per minute. Good: 0. 'no model': the caller heard an apology. 'no voice': a sentence was not spoken. "
            "'call broke': it ended by an error of ours.",
            (
                Query("60 * sum by (reason) (rate(voice_answers_failed_total[$__rate_interval]))", "{{reason}}"),
                Query('60 * sum(rate(voice_calls_ended_total{reason="error"}[$__rate_interval]))', "call broke"),
            ),
            width=12,
            runbook="answers-fail",
        ),
    ),
)

POOLS = Dashboard(
    "pools",
    "Pools",
    "**Is there somebody for every call?** Capacity and takeovers of the STT, LLM, TTS and tools workers, and "
    "the vendors behind them.",
    (_PLACES, _CARRYING_ON, _TOOLS, _VENDORS),
)
