"""Turns figures into a page.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.answers.bars import bars_page
from benchmarks.answers.figures import LATE_MS, LATENESS_P99_MS_MAX, RATIOS, STRANGERS_SHARE_MAX
from benchmarks.answers.profiles import Profile
from benchmarks.answers.servers import STACK
from benchmarks.report import table

PROFILE_ROWS = 8
HEADS = (
    "server, calls", "answers", "wait p50 ms", "beyond p50", "beyond p95", "beyond max", "late", "clear p50",
    "clear p95", "silence", "CPU-s per call-minute", "of the core", "MB per call", "tokens wasted", "set-up p50 ms",
    "late p99: callers", "vendors", "strangers",
)  # fmt: skip


def page(runs: Sequence[dict[str, Any]], failures: Sequence[str], cores: str) -> str:
    """Return the page of all runs: tables, legend and bars."""
    busy = [found for found in runs if found["calls"]]
    ideals = sorted({f"{found['ideal_ms']:.0f} ms ({found['agents']})" for found in busy})
    parts = [
        "## The whole stack, and a plain forwarder",
        f"Ideal answer time, by the vendors' latencies alone: {', '.join(ideals) or '-'}.",
        table(HEADS, [_row(found) for found in busy]),
        _ratios(busy),
        _by_process(runs),
        _stages(busy),
        "Wait: from the last frame of speech sent to the first audible frame received. Late: answers more than "
        f"{LATE_MS:.0f} ms beyond the ideal. Clear: from the vendor's report of speech to `clearAudio` at the caller. "
        "Silence: time with an empty buffer at the carrier, inside replies. Tokens wasted: the share of the model's, "
        "on replies begun too early. Set-up: from the answer webhook to the open stream. "
        f"{cores} VOID: the callers or the vendors were late themselves (p99 over {LATENESS_P99_MS_MAX:.0f} ms), or "
        f"other programs (strangers) used over {100 * STRANGERS_SHARE_MAX:.0f} % of the server's core; no other "
        "figure of that row is valid.",
        *(f"FAILED: {failure}" for failure in failures),
        bars_page(runs) if any(found["case"] for found in runs) else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _row(found: dict[str, Any]) -> list[str]:
    wait = found["wait"]
    problems = [f"{found[name]} {name}" for name in ("unanswered", "uncleared", "refused") if found[name]]
    return [
        title(found) + (" VOID" if found["void"] else ""),
        f"{found['answers']}" + (f" ({', '.join(problems)})" if problems else ""),
        f"{wait['p50_ms']:.1f}",
        f"{found['beyond_p50_ms']:.1f}",
        f"{found['beyond_p95_ms']:.1f}",
        f"{wait['max_ms'] - found['ideal_ms']:.1f}",
        f"{found['late_percent']:.1f} %",
        f"{found['detected_to_clear']['p50_ms']:.1f}",
        f"{found['clear_p95_ms']:.1f}",
        f"{found['silence_percent']:.3f} %",
        f"{found['cpu_s_per_call_minute']:.3f}",
        f"{100 * found['core_share']:.0f} %",
        f"{found['memory_mb_per_call']:.2f}",
        f"{found['wasted_tokens_percent']:.1f} %",
        f"{found['set_up']['p50_ms']:.0f}",
        f"{found['callers_late']['p99_ms']:.2f}",
        f"{found['vendors_late']['p99_ms']:.2f}",
        f"{100 * found['strangers_share']:.0f} %",
    ]


def title(found: dict[str, Any]) -> str:
    """Name a run: "stack, 50 calls of 28 s, ramp 5 s, TLS"."""
    if not found["calls"]:
        return f"{found['server']}, idle"
    words = [f"{found['server']}, {found['calls']}"]
    if found["call_s"]:
        words = [f"{words[0]} calls of {found['call_s']:g} s, ramp {found['ramp_s']:g} s"]
    words += [word for word, on in (("TLS", found["tls"]), ("AOF", found["aof"])) if on]
    return ", ".join(words)


def _ratios(runs: Sequence[dict[str, Any]]) -> str:
    compared = [found for found in runs if "ratios" in found]
    if not compared:
        return ""
    rows = [[title(found), *(f"{found['ratios'][name]:.2f}" for name in RATIOS)] for found in compared]
    return table(["times the forwarder's", *(name.replace("_", " ") for name in RATIOS)], rows)


def _by_process(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for found in runs:
        for name, cpu in found["cpu_by_process"].items():
            rows.append(
                [
                    f"{title(found)}: {name}",
                    f"{cpu:.4f}" if found["calls"] else "-",
                    f"{100 * found['core_share_by_process'][name]:.2f} %",
                    f"{found['wake_ups_per_s'][name]:.0f}",
                    f"{found['memory_mb'][name]:.0f}",
                    f"{found['memory_by_process'][name]:.3f}" if found["calls"] else "-",
                ]
            )
    heads = ["process", "CPU-s per call-minute", "of a core", "wake-ups a second", "MB", "MB per call"]
    return table(heads, rows)


def _stages(runs: Sequence[dict[str, Any]]) -> str:
    """The stack's own histograms: a row for each run, a column for each stage."""
    names = list(dict.fromkeys(name for found in runs for name in found["stages_ms"]))
    rows = [
        [title(found), *(f"{found['stages_ms'].get(name, float('nan')):.1f}" for name in names)]
        for found in runs
        if found["server"] == STACK
    ]
    return table(["mean in ms, by the edge's metrics", *names], rows) if names else ""


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
