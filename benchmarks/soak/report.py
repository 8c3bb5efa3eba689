"""Writes the table of a soak run, and its samples as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.chaos.report import leaks
from benchmarks.report import ROOT, surroundings, table
from benchmarks.soak.callers import Talk
from benchmarks.soak.verdict import GROWTH_MAX, Line, Sample, left_keys

FOLDER = ROOT / "out" / "soak"
DIED_MAX = 12
LEGEND = (
    "*Memory*: resident size; medians of the first and the last tenth of the samples after the warm-up, and the growth "
    "between: the median of the slopes of all pairs of these samples (Theil-Sen) times their time, as a share of their "
    f"median; under {GROWTH_MAX:.0%} is flat. The streams of the edges and pools fill up to a fixed length "
    "(docs/bus.md): Redis's used_memory and size are taken from when they are full (VOID if that is too late). "
    "*Everything else*: counted in the quiet before the first call, after a rehearsal by as many callers, and "
    "in the quiet after the last one; no more may be left; without sockets that the other side has closed. VOID: the "
    "callers' own frames were late, or there were too few samples."
)


def log_lines(logs: Path) -> list[Line]:
    """Return lines for private words and tracebacks in the logs of all processes."""
    private = leaks(logs)
    traces = sum(
        len(re.findall(r"^Traceback|\"exc", path.read_text(errors="replace"), re.MULTILINE))
        for path in logs.rglob("*.log")
    )
    found = ", ".join(f"{kind} {count}" for kind, count in private.items())
    return [
        Line("logs: private words", "", "", found, "FAIL" if any(private.values()) else "PASS"),
        Line("logs: tracebacks", "", "", str(traces), "FAIL" if traces else "PASS"),
    ]


def page(lines: Sequence[Line], around: dict[str, Any], notes: Sequence[str]) -> str:
    """Return the whole report."""
    cells = [[line.title, line.start, line.end, line.found, f"**{line.verdict}**"] for line in lines]
    parts = [
        "# Soak",
        f"`{around['command']}`, commit {around['commit']}, {around['cpus']} CPUs, Python {around['python']}; "
        f"{around['note']}.",
        *notes,
        table(["what", "start", "end", "found", "verdict"], cells),
        LEGEND,
    ]
    return "\n\n".join(parts) + "\n"


def publish(
    lines: Sequence[Line],
    talk: Talk,
    ends: tuple[Sample, Sample],
    notes: Sequence[str],
) -> bool:
    """Print and write the report; return True if every line passed."""
    around = surroundings("benchmarks.soak", "")
    left = left_keys(*ends)
    more = [f"Keys that stayed: {', '.join(f'{kind} {count}' for kind, count in left.items())}."] if left else []
    more += [f"- {died}" for died in talk.died[:DIED_MAX]]
    text = page(lines, around, [*notes, *more])
    print(text)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "report.md").write_text(text)
    document = {
        "around": around,
        "lines": [asdict(line) for line in lines],
        "calls": asdict(talk.total()),
        "died": talk.died,
        "start": asdict(ends[0]),
        "end": asdict(ends[1]),
    }
    (FOLDER / "soak.json").write_text(json.dumps(document, indent=1) + "\n")
    return all(line.verdict == "PASS" for line in lines)


def write_samples(samples: Sequence[Sample]) -> None:
    """Write all samples, for a plot."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "samples.json").write_text(json.dumps([asdict(sample) for sample in samples]) + "\n")
