"""Turns a run into figures: a flat document for JSON, and its ratios to the forwarder of the same run.  Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.answers.plan import ANSWER, ideal
from benchmarks.answers.run import RunResult
from benchmarks.answers.servers import PLAIN, STACK
from benchmarks.report import Spread, spread
from simulators.providers.openai_chat import tokens

LATENESS_P99_MS_MAX = 5.0
"""If callers or vendors are later than this, the run is VOID."""
STRANGERS_SHARE_MAX = 0.1
"""Largest share of the server's core that other programs may use."""
LATE_MS = 50.0
"""An answer that comes later than so much beyond the ideal counts as late."""
RATIOS = {
    "cpu": "cpu_s_per_call_minute",
    "wait_p50": "wait.p50_ms",
    "wait_p95": "wait.p95_ms",
    "clear_p95": "clear_p95_ms",
    "memory": "memory_mb_per_call",
    "set_up_p50": "set_up.p50_ms",
    "wake_ups": "wake_ups_per_call_s",
}
"""Figures whose ratio to the forwarder's is given, by the ratio's name."""
MB = 1 << 20
NS_PER_MS = 1e6


def numbers(run: RunResult) -> dict[str, Any]:
    """Return every figure of a run for JSON; NaN where there was no sample."""
    plan, figures = run.plan, run.figures
    best_ms = ideal(plan.pace).ms
    waits, clears = spread(figures.waits), spread(figures.detected_to_clear)
    callers_late, vendors_late = spread(run.callers_late), spread(run.vendors_late)
    limit_ns = (best_ms + LATE_MS) * NS_PER_MS
    return {
        "case": plan.case,
        "server": plan.server,
        "calls": plan.calls,
        "call_s": plan.call_s,
        "ramp_s": plan.ramp_s,
        "tls": plan.tls,
        "aof": plan.aof,
        "agents": plan.agents.name,
        "seconds": plan.seconds,
        "ideal_ms": best_ms,
        "answers": waits.count,
        "unanswered": figures.unanswered,
        "wait": asdict(waits),
        "beyond_p50_ms": waits.p50_ms - best_ms,
        "beyond_p95_ms": waits.p95_ms - best_ms,
        "late_percent": _percent(sum(wait > limit_ns for wait in figures.waits), waits.count),
        "barge_ins": len(figures.speech_to_clear) + figures.uncleared,
        "uncleared": figures.uncleared,
        "detected_to_clear": asdict(clears),
        "clear_p95_ms": clears.p95_ms,
        "speech_to_clear": asdict(spread(figures.speech_to_clear)),
        "silence_percent": 100 * figures.silence_share if figures.played_ns else math.nan,
        "gaps": asdict(spread(figures.gaps)),
        "reply_s": figures.played_ns / 1e9,
        "wasted_tokens_percent": _wasted_percent(run.reply_tokens),
        "tokens_unused_percent": 100 * _unused(run),
        "set_up": asdict(spread(run.set_up_ns)),
        "refused": run.refused,
        "stages_ms": run.stages_ms,
        **_resources(run),
        "callers_late": asdict(callers_late),
        "vendors_late": asdict(vendors_late),
        "callers_core_share": run.callers_cpu_s / plan.seconds,
        "vendors_core_share": run.vendors_cpu_s / plan.seconds,
        "strangers_share": run.strangers_s / plan.seconds,
        "void": max(_p99(callers_late), _p99(vendors_late)) > LATENESS_P99_MS_MAX
        or run.strangers_s / plan.seconds > STRANGERS_SHARE_MAX,
    }


def _resources(run: RunResult) -> dict[str, Any]:
    """CPU, memory, wake-ups, Redis and network; by call where there are calls."""
    plan = run.plan
    call_s = plan.calls * plan.seconds or math.nan
    per_process = {name: use.cpu_s / call_s * 60 for name, use in run.used.items()}
    memory = {name: (use.busy_bytes - use.idle_bytes) / (plan.calls or math.nan) / MB for name, use in run.used.items()}
    wake_ups = {name: use.wake_ups / plan.seconds for name, use in run.used.items()}
    whole_s = plan.calls * (plan.window(0)[1] / 1e9) or math.nan  # the callers count from the first call on
    sent, received = run.carrier_bytes
    return {
        "cpu_s_per_call_minute": sum(per_process.values()),
        "cpu_by_process": per_process,
        "core_share": sum(use.cpu_s for use in run.used.values()) / plan.seconds,
        "core_share_by_process": {name: use.cpu_s / plan.seconds for name, use in run.used.items()},
        "memory_mb_per_call": sum(memory.values()),
        "memory_by_process": memory,
        "memory_mb": {name: use.busy_bytes / MB for name, use in run.used.items()},
        "idle_mb": {name: use.idle_bytes / MB for name, use in run.used.items()},
        "wake_ups_per_s": wake_ups,
        "wake_ups_per_call_s": sum(use.wake_ups for use in run.used.values()) / call_s,
        "redis_per_call_s": {name: value / call_s for name, value in run.redis.items()},
        "carrier_in_bytes_per_call_s": sent / whole_s,
        "carrier_out_bytes_per_call_s": received / whole_s,
    }


def _unused(run: RunResult) -> float:
    """Share of the model's tokens that belong to no answer that a caller heard; NaN without tokens."""
    heard = len(run.figures.waits) * len(tokens(ANSWER))
    return max(0.0, 1 - heard / run.tokens) if run.tokens else math.nan


def _wasted_percent(reply_tokens: Mapping[str, float]) -> float:
    """Share of the tokens that the stack itself counts as wasted."""
    return _percent(reply_tokens.get("wasted", 0.0), sum(reply_tokens.values()))


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan


def _p99(late: Spread) -> float:
    return late.p99_ms if late.count else math.inf


def with_ratios(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs; each of the stack gets its `ratios` to the forwarder's run with the same calls, if there is one.

    Nothing is compared with a VOID run.
    """
    plain = {_same(found): found for found in runs if found["server"] == PLAIN and not found["void"]}
    return [
        found | {"ratios": _ratios(found, plain[_same(found)])}
        if found["server"] == STACK and not found["void"] and _same(found) in plain
        else found
        for found in runs
    ]


def _same(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(found[key] for key in ("calls", "call_s", "ramp_s", "tls", "agents"))


def _ratios(found: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, float]:
    return {name: _at(found, path) / (_at(plain, path) or math.nan) for name, path in RATIOS.items()}


def _at(found: Mapping[str, Any], path: str) -> float:
    value: Any = found
    for key in path.split("."):
        value = value[key]
    return float(value)
