"""Defines the dashboard Calls, the first to look at: are callers served?"""

from deploy.grafana.panels import Dashboard, Panel, Query, Row, warns_above, warns_below
from deploy.runbook_url import runbook

_ABOUT = "alertname, severity, section, process, pool, server, provider, instance, reason, hop, kind"

_FIRES = Row(
    "What fires",
    (
        Panel(
            "Alerts that fire",
            "Good: none. Else: the link in the column 'section' leads to what to do, pages before tickets. An alert "
            "that only waits for its time to pass is not in the list.",
            (
                Query(
                    f"1000 * max by ({_ABOUT}) (ALERTS_FOR_STATE"
                    ' and ignoring (alertstate) ALERTS{alertstate="firing", alertname=~"Voice.*"})'
                ),
            ),
            kind="table",
            unit="dateTimeAsIso",
            width=24,
            height=5,
            runbook="alerts",
            empty_text="nothing fires",
        ),
    ),
)

_NOW = Row(
    "Now",
    (
        Panel(
            "On the line",
            "Calls at all edges. Good: what you expect for the hour. Zero in business hours: phone the number "
            "yourself, then see 'Turned away' below.",
            (Query('sum(voice_calls_active{process="edge"})'),),
            kind="stat",
            width=4,
            height=4,
            runbook="no-calls",
            empty_text="no edge",
        ),
        Panel(
            "Places used at the edges",
            "Calls against CALLS_MAX. Good: under 70 %. Above 85 %: add edges before callers are turned away.",
            (Query('voice:places_used:ratio{process="edge"}'),),
            kind="stat",
            unit="percentunit",
            width=4,
            height=4,
            steps=warns_above(0.7, 0.85),
            runbook="places-run-short",
            empty_text="no edge",
        ),
        Panel(
            "Calls nobody holds",
            "Calls on the line that a pool does not carry: those callers hear nothing, or are not heard. Good: 0, but "
            "for a moment after a crash. Else: see the dashboard Pools; add members of that pool.",
            (Query("voice:calls_unheld:sum", "{{pool}}"),),
            kind="stat",
            width=8,
            height=4,
            steps=warns_above(1, 2),
            runbook="a-pool-starves",
            empty_text="no edge",
        ),
        Panel(
            "Answered in 1.2 s",
            "Share of the answers in this range that began within 1.2 s. Objective: 95 %. Below: the dashboard Latency "
            "shows the stage that grew.",
            (
                Query(
                    'sum(increase(voice_answer_seconds_bucket{le="1.2"}[$__range]))'
                    " / (sum(increase(voice_answer_seconds_count[$__range])) > 0)"
                ),
            ),
            kind="stat",
            unit="percentunit",
            width=4,
            height=4,
            steps=warns_below(0.95, 0.9),
            most=1,
            runbook="answers-are-slow",
            empty_text="no calls",
        ),
        Panel(
            "Answers that failed",
            "Apologies, silence, and calls that broke, in this range. Objective: under 0.5 % of the answers. Else: see "
            "the vendors' errors on the dashboard Pools.",
            (
                Query(
                    "sum(increase(voice_answers_failed_total[$__range]))"
                    ' + sum(increase(voice_calls_ended_total{reason="error"}[$__range]))'
                ),
            ),
            kind="stat",
            width=4,
            height=4,
            steps=warns_above(1, 10),
            runbook="answers-fail",
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Calls on the line",
            "By process: every pool should hold what the edges hold. A pool that stays below the edges is full or "
            "gone.",
            (Query("sum by (process) (voice_calls_active)", "{{process}}"),),
            width=12,
            runbook="a-pool-starves",
        ),
        Panel(
            "Calls begun per minute",
            "Streams that opened, by direction. Good: follows the day. A sudden zero with calls still ringing at the "
            "carrier: webhooks do not reach us.",
            (Query("60 * sum by (direction) (rate(voice_calls_started_total[$__rate_interval]))", "{{direction}}"),),
            stack=True,
            width=12,
            runbook="no-calls",
        ),
        Panel(
            "Calls ended per minute, by reason",
            "Good: callers and agents hang up. 'error' is a fault of ours: read that edge's log. 'carrier': "
            "connections that broke. 'silence': often one-way audio, look at the carrier's side. 'too long': "
            "limits.call_s.",
            (Query("60 * sum by (reason) (rate(voice_calls_ended_total[$__rate_interval]))", "{{reason}}"),),
            stack=True,
            width=12,
            runbook="sessions-fail",
        ),
        Panel(
            "Turned away per minute, by reason",
            "Good: 0. 'full': add edges. 'draining': no ready edge is left. 'no agent': no agent file has the number. "
            "'bad token': somebody tries the port, or the edges do not share STREAM_SECRET.",
            (Query("60 * sum by (reason) (rate(voice_calls_refused_total[$__rate_interval]))", "{{reason}}"),),
            stack=True,
            width=12,
            runbook="callers-are-turned-away",
        ),
    ),
)

_TURNS = Row(
    "Conversations and the carrier",
    (
        Panel(
            "Replies per minute, by how they ended",
            "Heard to their end, or interrupted. Mostly interrupted: answers are too long, or echo and noise pass for "
            "speech: raise turn.min_interruption_ms of the agent.",
            (Query("60 * sum by (outcome) (rate(voice_turns_total[$__rate_interval]))", "{{outcome}}"),),
            stack=True,
            runbook="look-at-a-bad-call",
        ),
        Panel(
            "Outbound: answer rate",
            "Outbound streams that opened, of the calls the carrier accepted, in this range. Good: what you know of "
            "your list. A sharp fall: the carrier shows another number, or blocks it.",
            (
                Query(
                    'sum(increase(voice_calls_started_total{direction="outbound"}[$__range]))'
                    " / (sum(increase(voice_calls_placed_total[$__range])) > 0)"
                ),
            ),
            kind="stat",
            unit="percentunit",
            width=4,
            runbook="look-at-a-bad-call",
            empty_text="no calls",
        ),
        Panel(
            "Inbound: connected",
            "Inbound streams that opened, of all that asked for one or were turned away, in this range. Good: over 99 "
            "%. Else see 'Turned away'.",
            (
                Query(
                    'sum(increase(voice_calls_started_total{direction="inbound"}[$__range]))'
                    ' / (sum(increase(voice_calls_started_total{direction="inbound"}[$__range]))'
                    " + sum(increase(voice_calls_refused_total[$__range])) > 0)"
                ),
            ),
            kind="stat",
            unit="percentunit",
            width=4,
            steps=warns_below(0.99, 0.95),
            runbook="callers-are-turned-away",
            empty_text="no calls",
        ),
        Panel(
            "Webhooks refused, and input not understood, per minute",
            "Good: near 0. 'signature_wrong' for all: PUBLIC_URL is not what Vobiz calls. 'unknown event': Vobiz "
            "speaks something new. 'request': strangers, or mistakes of API users. 'bus': something else writes to "
            "our keys.",
            (
                Query("60 * sum by (reason) (rate(voice_webhooks_refused_total[$__rate_interval]))", "{{reason}}"),
                Query("60 * sum by (kind) (rate(voice_bad_input_total[$__rate_interval]))", "{{kind}}"),
            ),
            runbook="no-calls",
        ),
    ),
)

CALLS = Dashboard(
    "calls",
    "Calls",
    "**Are callers served?** The rows 'What fires' and 'Now' must be empty and green; what is not leads to another "
    f"dashboard, and [the runbook]({runbook()}) says what to do.",
    (_FIRES, _NOW, _TRAFFIC, _TURNS),
)
