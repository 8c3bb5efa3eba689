"""Defines the dashboard Cost, an estimate by the price table."""

from deploy.grafana.panels import Dashboard, Panel, Query, Row, warns_above

# Minutes of calls, counted by the frames that callers sent: 3,000 frames are a minute.
_MINUTES = 'sum(increase(voice_frames_total{{direction=~"in|filled"}}[{0}])) / 3000'
_DOLLARS = "sum(increase(voice_provider_cost_dollars_total[{0}]))"

_NOW = Row(
    "Dollars, estimated",
    (
        Panel(
            "In this range",
            "All providers together, by common/telemetry/prices.yaml: list prices unless you put yours there. Good: in "
            "proportion to the minutes. Not in it: the carrier, the machines.",
            (Query(_DOLLARS.format("$__range")),),
            kind="stat",
            unit="currencyUSD",
            width=6,
            height=5,
            runbook="the-cost-is-wrong",
        ),
        Panel(
            "Per minute of call",
            "Good: what your plan says, and steady. It rises: long prompts, long answers, preemptive replies that are "
            "discarded, or a more expensive provider that stands in.",
            (
                Query(
                    f"{_DOLLARS.format('$__range')} / ({_MINUTES.format('$__range')} > 0)",
                ),
            ),
            kind="stat",
            unit="currencyUSD",
            width=6,
            height=5,
            runbook="the-cost-is-wrong",
            empty_text="no calls",
        ),
        Panel(
            "Per call",
            "Dollars in this range by calls ended in it. Good: steady. It rises while the price of a minute does not: "
            "calls are longer.",
            (Query(f"{_DOLLARS.format('$__range')} / (sum(increase(voice_calls_ended_total[$__range])) > 0)"),),
            kind="stat",
            unit="currencyUSD",
            width=6,
            height=5,
            runbook="the-cost-is-wrong",
            empty_text="no calls",
        ),
        Panel(
            "Providers without a price",
            "Good: 0. Else the estimate leaves them out: add them to common/telemetry/prices.yaml.",
            (Query("count(max by (provider) (voice_provider_unpriced) > 0) or vector(0)"),),
            kind="stat",
            width=6,
            height=5,
            steps=warns_above(1, 2),
            runbook="the-cost-is-wrong",
        ),
    ),
)

_BY_PROVIDER = Row(
    "By provider",
    (
        Panel(
            "Dollars per hour",
            "By provider. Good: follows the calls. One that stands in for another shows here first.",
            (
                Query(
                    "3600 * sum by (provider) (rate(voice_provider_cost_dollars_total[$__rate_interval]))",
                    "{{provider}}",
                ),
            ),
            unit="currencyUSD",
            stack=True,
            width=12,
            runbook="the-cost-is-wrong",
        ),
        Panel(
            "Dollars of the last hour",
            "By provider, recorded. Good: no more than yesterday at this hour, call for call.",
            (Query("voice:cost_dollars:increase1h", "{{provider}}"),),
            unit="currencyUSD",
            stack=True,
            width=12,
            runbook="the-cost-is-wrong",
        ),
        Panel(
            "Audio heard",
            "Minutes of callers' audio per hour that speech-to-text charges for. Good: about the minutes of the calls.",
            (
                Query(
                    '3600 * sum by (provider) (rate(voice_provider_usage_total{unit="audio_ms"}'
                    "[$__rate_interval])) / 60000",
                    "{{provider}}",
                ),
            ),
            stack=True,
            runbook="the-cost-is-wrong",
        ),
        Panel(
            "Characters spoken",
            "Per minute. More without more calls: answers grew; ask for shorter ones in the agent's instructions.",
            (
                Query(
                    '60 * sum by (provider) (rate(voice_provider_usage_total{unit="characters"}[$__rate_interval]))',
                    "{{provider}}",
                ),
            ),
            stack=True,
            runbook="the-cost-is-wrong",
        ),
        Panel(
            "Tokens",
            "Per minute. tokens_in is the prompt, and tokens_cached the part of it that is cheaper. Good: most of a "
            "long prompt is cached. None is: something at its beginning changes with every turn.",
            (
                Query(
                    '60 * sum by (provider, unit) (rate(voice_provider_usage_total{unit=~"tokens_.*"}'
                    "[$__rate_interval]))",
                    "{{provider}} {{unit}}",
                ),
            ),
            runbook="the-cost-is-wrong",
        ),
    ),
)

COST = Dashboard(
    "cost",
    "Cost",
    "**What do the providers cost?** An estimate: what was used, times the table in common/telemetry/prices.yaml, "
    "which has list prices until you put your own there.",
    (_NOW, _BY_PROVIDER),
)
