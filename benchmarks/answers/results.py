"""Turns a run into figures, a verdict and a page.  Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.answers.plan import Pace, ideal
from benchmarks.answers.profiles import Profile
from benchmarks.answers.run import RunResult
from benchmarks.answers.servers import STACK
from benchmarks.report import Spread, spread, table

LATENESS_P99_MS_MAX = 5.0
"""If callers or vendors are later than this, the run is VOID."""
STRANGERS_SHARE_MAX = 0.1
"""Largest share of the server's core that other programs may use."""
BAR_CALLS = 50
PROFILE_ROWS = 8
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for the stack with `BAR_CALLS` calls.  `key` is the figure's name in `numbers`."""

    what: str
    key: str
    most: float
    unit: str


BARS = (
    Bar("answer beyond the ideal, p50", "beyond_p50_ms", 25.0, "ms"),
    Bar("answer beyond the ideal, p95", "beyond_p95_ms", 60.0, "ms"),
    Bar("CPU-seconds per call-minute, all processes", "cpu_s_per_call_minute", 0.35, "s"),
    Bar("silence inside replies", "silence_percent", 0.5, "%"),
    Bar("speech detected to clearAudio, p95", "clear_p95_ms", 20.0, "ms"),
)


def numbers(run: RunResult) -> dict[str, Any]:
    """Return every figure of a run for JSON; NaN where there was no sample."""
    plan, figures = run.plan, run.figures
    best_ms = ideal(plan.pace).ms
    waits, clears = spread(figures.waits), spread(figures.detected_to_clear)
    callers_late, vendors_late = spread(run.callers_late), spread(run.vendors_late)
    call_minutes = plan.calls * plan.seconds / 60
    per_process = {name: use.cpu_s / call_minutes for name, use in run.used.items()}
    memory = {name: (use.busy_bytes - use.idle_bytes) / plan.calls / MB for name, use in run.used.items()}
    return {
        "server": plan.server,
        "calls": plan.calls,
        "seconds": plan.seconds,
        "ideal_ms": best_ms,
        "answers": waits.count,
        "unanswered": figures.unanswered,
        "wait": asdict(waits),
        "beyond_p50_ms": waits.p50_ms - best_ms,
        "beyond_p95_ms": waits.p95_ms - best_ms,
        "barge_ins": len(figures.speech_to_clear) + figures.uncleared,
        "uncleared": figures.uncleared,
        "detected_to_clear": asdict(clears),
        "clear_p95_ms": clears.p95_ms,
        "speech_to_clear": asdict(spread(figures.speech_to_clear)),
        "silence_percent": 100 * figures.silence_share if figures.played_ns else math.nan,
        "gaps": asdict(spread(figures.gaps)),
        "reply_s": figures.played_ns / 1e9,
        "cpu_s_per_call_minute": sum(per_process.values()),
        "cpu_by_process": per_process,
        "core_share": sum(use.cpu_s for use in run.used.values()) / plan.seconds,
        "memory_mb_per_call": sum(memory.values()),
        "memory_by_process": memory,
        "memory_mb": {name: use.busy_bytes / MB for name, use in run.used.items()},
        "callers_late": asdict(callers_late),
        "vendors_late": asdict(vendors_late),
        "callers_core_share": run.callers_cpu_s / plan.seconds,
        "vendors_core_share": run.vendors_cpu_s / plan.seconds,
        "strangers_share": run.strangers_s / plan.seconds,
        "wasted_tokens_percent": _wasted_percent(run.reply_tokens),
        "void": max(_p99(callers_late), _p99(vendors_late)) > LATENESS_P99_MS_MAX
        or run.strangers_s / plan.seconds > STRANGERS_SHARE_MAX,
    }


def _wasted_percent(reply_tokens: Mapping[str, float]) -> float:
    tokens = sum(reply_tokens.values())
    return 100 * reply_tokens["wasted"] / tokens if tokens else math.nan


def _p99(late: Spread) -> float:
    return late.p99_ms if late.count else math.inf


def missed(found: dict[str, Any]) -> list[str]:
    """Return the bars that a run of the stack with `BAR_CALLS` calls misses, as text; NaN misses every bar."""
    problems = [
        f"{bar.what}: {found[bar.key]:.2f} {bar.unit}, at most {bar.most:g}"
        for bar in BARS
        if not found[bar.key] <= bar.most
    ]
    if found["unanswered"]:
        problems.append(f"{found['unanswered']} speeches went unanswered")
    if found["uncleared"]:
        problems.append(f"{found['uncleared']} barge-ins cleared nothing")
    return problems


def page(pace: Pace, runs: Sequence[dict[str, Any]], failures: Sequence[str], cores: str) -> str:
    """Return the page of all runs: tables, legend and verdict."""
    heads = [
        "server, calls",
        "answers",
        "wait p50 ms",
        "beyond p50",
        "beyond p95",
        "beyond max",
        "clear p50",
        "clear p95",
    ]
    heads += [
        "silence",
        "CPU-s per call-minute",
        "MB per call",
        "tokens wasted",
        "late p99: callers",
        "vendors",
        "strangers",
    ]
    rows = [_row(found) for found in runs]
    return "\n\n".join(
        [
            "## The whole stack, and a plain forwarder",
            f"Ideal answer time, by the vendors' latencies alone: {ideal(pace)}.",
            table(heads, rows),
            _by_process(runs),
            "Wait: from the last frame of speech sent to the first audible frame received. Clear: from the vendor's "
            "report of speech to `clearAudio` at the caller. Silence: time with an empty buffer at the carrier, inside "
            "replies. Tokens wasted: the share of the model's, on replies begun too early. Callers start spread over a "
            "cycle of two answers heard to the end and one barge-in. "
            f"{cores} Valkey writes no append-only file. VOID: the callers or the vendors were late themselves "
            f"(p99 over {LATENESS_P99_MS_MAX:.0f} ms), or other programs (strangers) used over "
            f"{100 * STRANGERS_SHARE_MAX:.0f} % of the server's core; no other figure of that row is valid.",
            *(f"FAILED: {failure}" for failure in failures),
            _verdict(runs),
        ]
    )


def _row(found: dict[str, Any]) -> list[str]:
    wait = found["wait"]
    name = f"{found['server']}, {found['calls']}" + (" VOID" if found["void"] else "")
    lost = f" ({found['unanswered']} missing)" if found["unanswered"] else ""
    return [
        name,
        f"{found['answers']}{lost}",
        f"{wait['p50_ms']:.1f}",
        f"{found['beyond_p50_ms']:.1f}",
        f"{found['beyond_p95_ms']:.1f}",
        f"{wait['max_ms'] - found['ideal_ms']:.1f}",
        f"{found['detected_to_clear']['p50_ms']:.1f}",
        f"{found['clear_p95_ms']:.1f}",
        f"{found['silence_percent']:.3f} %",
        f"{found['cpu_s_per_call_minute']:.3f}",
        f"{found['memory_mb_per_call']:.2f}",
        f"{found['wasted_tokens_percent']:.1f} %",
        f"{found['callers_late']['p99_ms']:.2f}",
        f"{found['vendors_late']['p99_ms']:.2f}",
        f"{100 * found['strangers_share']:.0f} %",
    ]


def _by_process(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for found in runs:
        for name, cpu in found["cpu_by_process"].items():
            memory = f"{found['memory_mb'][name]:.0f}"
            per_call = f"{found['memory_by_process'][name]:.3f}"
            rows.append([f"{found['server']}, {found['calls']}: {name}", f"{cpu:.4f}", memory, per_call])
    return table(["process", "CPU-s per call-minute", "MB", "MB per call"], rows)


def _verdict(runs: Sequence[dict[str, Any]]) -> str:
    judged = [found for found in runs if found["server"] == STACK and found["calls"] == BAR_CALLS]
    if not judged:
        return f"No verdict: the bars are for the stack with {BAR_CALLS} calls."
    if judged[0]["void"]:
        return "No verdict: the run is **VOID**."
    problems = missed(judged[0])
    if not problems:
        return f"The bars with {BAR_CALLS} calls: **met**."
    return "\n".join([f"The bars with {BAR_CALLS} calls: **missed**.", "", *(f"- {problem}" for problem in problems)])


def profile_page(calls: int, profiles: dict[str, Profile]) -> str:
    """Return the most expensive functions of each process."""
    if not profiles:
        return "No profile: py-spy is not installed, or may not look at other processes here."
    parts = [f"## Where the time goes, {calls} calls"]
    for name, profile in profiles.items():
        rows = [
            [own, f"{100 * share:.1f} %", whole, f"{100 * all_of_it:.1f} %"]
            for (own, share), (whole, all_of_it) in zip(
                profile.own[:PROFILE_ROWS], profile.whole[:PROFILE_ROWS], strict=False
            )
        ]
        parts += [f"### {name} ({profile.samples} busy samples)", table(["itself", "", "with what it calls", ""], rows)]
    return "\n\n".join(parts)
