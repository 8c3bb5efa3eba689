"""Describes a benchmark's machine and commit, formats its numbers, and writes them to out/bench."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "out" / "bench"
GIT_SECONDS = 5.0
NOISE = "this machine is shared and noisy; compare within one run"


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution in milliseconds.  All are NaN if there was no sample."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def cells(self) -> list[str]:
        return [f"{value:.2f}" for value in (self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms)]


SPREAD_HEADS = ["p50 ms", "p95 ms", "p99 ms", "max ms"]


def spread(samples_ns: Sequence[int]) -> Spread:
    """Return the percentiles (nearest rank) of durations in nanoseconds."""
    ordered = sorted(samples_ns)
    if not ordered:
        return Spread(0, *[float("nan")] * 4)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6 for share in (0.5, 0.95, 0.99, 1)]
    return Spread(len(ordered), *at)


def surroundings(module: str, redis: str) -> dict[str, Any]:
    """Return what the numbers depend on.  `redis` is the server and its version, or "no Redis"."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", module, *sys.argv[1:]]),
        "commit": _commit(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "redis": redis,
        "note": NOISE,
    }


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column left-aligned, the others right-aligned."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows)]
    return "\n".join(lines)


def publish(name: str, around: dict[str, Any], sections: Sequence[str], numbers: dict[str, Any]) -> None:
    """Print the page, and write it to out/bench as Markdown, and all numbers as JSON."""
    caption = (
        f"`{around['command']}`, commit {around['commit']}, {around['cpus']} CPUs, Python {around['python']}, "
        f"{around['redis']}; {around['note']}."
    )
    page = "\n\n".join([f"# Benchmark: {name}", *(f"{section}\n\n{caption}" for section in sections)]) + "\n"
    print(page)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.md").write_text(page)
    (FOLDER / f"{name}.json").write_text(json.dumps({"around": around, **numbers}, indent=2) + "\n")


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    return commit + (
        " with changes"
        if _git("--no-optional-locks", "status", "--porcelain", "--", "common", "edge", "benchmarks")
        else ""
    )


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
