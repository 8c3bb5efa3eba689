"""Defines the dashboard Latency: how long callers wait, and for which stage."""

from common.protocol.fields import STAGES
from deploy.grafana.panels import Dashboard, Panel, Query, Row, warns_below

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_STAGES = {
    "endpoint": "Silence until the turn counts as over. Good: p50 near turn.endpointing_ms of the agent. More: STT "
    "workers short of CPU, or a vendor slow to report the end of speech.",
    "transcript": "What recognition still takes once the turn is over. Good: p95 under 200 ms. More: a larger model "
    "than this CPU carries, too many calls per process of stt, or a slow vendor.",
    "first_token": "The model's first words. Good: p95 under 500 ms. More: the vendor, a long prompt, or a distant "
    "region; a second provider with LLM_HEDGE=on cuts the tail.",
    "first_clause": "Until there is something to say. Good: p95 under 150 ms. More: the model writes slowly, or begins "
    "with long sentences: ask for short ones in the agent's instructions.",
    "first_audio": "The voice's first sound. Good: p95 under 300 ms. More: the vendor, or a process of tts short of "
    "CPU.",
    "first_frame": "From the voice to the carrier's socket. Good: p95 under 25 ms. More: Redis, or a busy edge: see "
    "the dashboard Redis and edge.",
}


def _quantiles(histogram: str, selector: str = "") -> tuple[Query, ...]:
    """Return the expression; it has no value while nothing is observed, since NaN is not >= 0."""
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{selector}[$__rate_interval]))) >= 0",
            name,
        )
        for name, share in _QUANTILES.items()
    )


_OBJECTIVE = Row(
    "Objective: 95 % of answers within 1.2 s",
    (
        Panel(
            "Answers within 1.2 s",
            "Share in this range. Good: 95 % and more. Below: find the stage that grew in 'Where the time goes'.",
            (
                Query(
                    'sum(increase(voice_answer_seconds_bucket{le="1.2"}[$__range]))'
                    " / (sum(increase(voice_answer_seconds_count[$__range])) > 0)"
                ),
            ),
            kind="stat",
            unit="percentunit",
            width=4,
            steps=warns_below(0.95, 0.9),
            most=1,
            runbook="answers-are-slow",
            empty_text="no calls",
        ),
        Panel(
            "Answer time",
            "From the caller's last word to the first frame of the answer. Good: p50 under 800 ms, p95 under 1.2 s. "
            "p99 far above p95: a few calls suffer, look for one slow process or a vendor's tail.",
            _quantiles("voice_answer_seconds"),
            unit="s",
            width=10,
            steps=((None, "transparent"), (1.2, "red")),
            runbook="answers-are-slow",
            empty_text="no calls",
        ),
        Panel(
            "All answers",
            "How answer times are spread. Good: one narrow band under 1.2 s. Two bands: two providers, or preemptive "
            "answers beside others. A band that climbs: something fills up.",
            (Query("sum by (le) (increase(voice_answer_seconds_bucket[$__rate_interval]))", "{{le}}"),),
            kind="heatmap",
            unit="s",
            width=10,
            runbook="answers-are-slow",
        ),
    ),
)

_WATERFALL = Row(
    "Where the time goes",
    (
        Panel(
            "The answer, stage by stage (mean)",
            "The stages in their order; their sum is the answer time. The stage that grew names the culprit; its own "
            "panel below says what to do.",
            tuple(
                Query(
                    f'sum(rate(voice_stage_seconds_sum{{stage="{stage}"}}[$__rate_interval]))'
                    f' / (sum(rate(voice_stage_seconds_count{{stage="{stage}"}}[$__rate_interval])) > 0)',
                    stage,
                )
                for stage in STAGES[1:]
            ),
            unit="s",
            width=24,
            height=8,
            stack=True,
            runbook="answers-are-slow",
            empty_text="no calls",
        ),
        *(
            Panel(
                f"Stage: {stage}",
                _STAGES[stage],
                _quantiles("voice_stage_seconds", f'{{stage="{stage}"}}'),
                unit="s",
                runbook="the-bus-or-the-edge-is-slow" if stage == "first_frame" else "answers-are-slow",
                empty_text="no calls",
            )
            for stage in STAGES[1:]
        ),
    ),
)

_TALKING_OVER = Row(
    "Interruptions, and answers begun early",
    (
        Panel(
            "Speech start to clearAudio",
            "From speech over the agent, as the STT worker detects it, to clearAudio on the socket. Good: "
            "p95 under 20 ms. More: Redis or the edge's event loop is late; or the clocks of two machines differ.",
            _quantiles("voice_clear_seconds"),
            unit="s",
            steps=((None, "transparent"), (0.02, "red")),
            runbook="the-bus-or-the-edge-is-slow",
            empty_text="no interruptions",
        ),
        Panel(
            "Lag of the bus",
            "One hop over Redis, one frame in 50. Good: p99 under 10 ms. More: Redis short of CPU, or a reader that is "
            "late. Negative clock differences count as 0.",
            tuple(
                Query(
                    f"histogram_quantile({share}, sum by (le, hop)"
                    " (rate(voice_bus_lag_seconds_bucket[$__rate_interval]))) >= 0",
                    f"{name} {{{{hop}}}}",
                )
                for name, share in _QUANTILES.items()
            ),
            unit="s",
            steps=((None, "transparent"), (0.01, "red")),
            runbook="the-bus-or-the-edge-is-slow",
            empty_text="no calls",
        ),
        Panel(
            "Preemptive replies, and second requests",
            "Released: the answer was ready when the caller was done. Mostly discarded: callers pause in mid-sentence, "
            "raise turn.eager_endpointing_ms. Second requests (LLM_HEDGE) mostly lost: wait longer.",
            (
                Query("sum by (outcome) (increase(voice_prepared_replies_total[$__range]))", "preemptive: {{outcome}}"),
                Query("sum by (winner) (increase(voice_hedges_total[$__range]))", "asked twice, winner: {{winner}}"),
            ),
            kind="stat",
            runbook="answers-are-slow",
            empty_text="none",
        ),
    ),
)

LATENCY = Dashboard(
    "latency",
    "Latency",
    "**How long do callers wait, and for what?** The stages add up to the answer time, so the one that grew is the one "
    "to look at.",
    (_OBJECTIVE, _WATERFALL, _TALKING_OVER),
)
