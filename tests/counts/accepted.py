"""The counts that were accepted, and what has risen since.  Pure but for the file."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

FILE = Path(__file__).with_name("counts.json")
RISE_MAX = 0.10
"""A count that is higher by more than this share fails ..."""
SLACK = {"an idle second": 0.5, "a second of a call": 0.5}
SLACK_BY_CALL = 3.0
"""... and by more than this: some scans and renewals fall now into the window, now beside it."""
RUNS_MAX = 3
ACCEPT = "If it must cost so much, accept it: .venv/bin/python -m tests.counts --accept"

Counts = Mapping[str, Mapping[str, float]]
"""Part of a call's life -> what is counted -> how often."""


def risen(measure: Callable[[], Counts]) -> list[str]:
    """Measure, and again while something has risen; return what has risen in all of at most `RUNS_MAX` runs."""
    runs: list[Counts] = []
    lines: list[str] = []
    while len(runs) < RUNS_MAX:
        runs.append(measure())
        if not (lines := rises(read(), least(runs))):
            break
    return lines


def least(runs: Sequence[Counts]) -> dict[str, dict[str, float]]:
    """Return the lowest count of each of the runs: what really has risen is high in all of them."""
    return {
        part: {what: min(run[part].get(what, 0.0) for run in runs) for what in _names(runs, part)} for part in runs[0]
    }


def typical(runs: Sequence[Counts]) -> dict[str, dict[str, float]]:
    """Return the median of each count."""
    return {
        part: {what: round(median(run[part].get(what, 0.0) for run in runs), 2) for what in _names(runs, part)}
        for part in runs[0]
    }


def rises(accepted: Counts, found: Counts) -> list[str]:
    """Return a line for each count that has risen, the largest share first: part, role, what, from, to."""
    return [f"{name}: {before:g} -> {count:g}" for name, before, count in _higher(accepted, found)]


def falls(accepted: Counts, found: Counts) -> list[str]:
    """Return a line for each count that has fallen as much."""
    return [f"{name}: {before:g} -> {count:g}" for name, count, before in _higher(found, accepted)]


def _higher(low: Counts, high: Counts) -> list[tuple[str, float, float]]:
    """Return (name, lower, higher) of what is higher in the second, beyond what chance explains."""
    lines = []
    for part, counts in high.items():
        slack = SLACK.get(part, SLACK_BY_CALL)
        for what, count in counts.items():
            before = low.get(part, {}).get(what, 0.0)
            if count > before * (1 + RISE_MAX) + slack:
                lines.append((f"{part}: {what}", before, count))
    return sorted(lines, key=lambda line: line[2] / (line[1] or 1e-9), reverse=True)


def read() -> Counts:
    """Return the accepted counts."""
    counts: Counts = json.loads(FILE.read_text("utf-8"))
    return counts


def write(counts: Counts) -> None:
    """Accept these counts."""
    ordered = {part: dict(sorted(found.items())) for part, found in counts.items()}
    FILE.write_text(json.dumps(ordered, indent=1) + "\n", "utf-8")


def _names(runs: Sequence[Counts], part: str) -> list[str]:
    return sorted({what for run in runs for what in run[part]})
