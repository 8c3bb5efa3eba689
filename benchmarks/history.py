"""`python -m benchmarks.history`: keeps the figures of benchmark runs in the repository, and compares commits.

    python -m benchmarks.history add out/bench/edge.json     appends one line to benchmarks/history/edge.jsonl
    python -m benchmarks.history show edge                   prints the median of each figure, commit by commit
    python -m benchmarks.history release 0.2.0 out/bench/*.json    writes benchmarks/history/0.2.0.json
    python -m benchmarks.compare 0.1.0 0.2.0                 puts two releases, or two results, side by side

Runs that were VOID are left out: the machine was measured, not the program.  The README in the folder describes a line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import ROOT, table

FOLDER = ROOT / "benchmarks" / "history"
COMMITS_SHOWN = 6
LABELS = ("server", "path", "calls", "call_s", "ramp_s", "agents", "tls", "aof", "way", "title")
"""Fields that identify an entry of a list; together they are its part of a figure's name."""
UNITS = {"call_s": "s", "ramp_s": "s ramp"}
KEPT = {
    "bus": "hops.hop?.p*_ms hops.round_trip.p*_ms hops.cpu_s_per_call_minute.* hops.lost appends.*.cpu_us",
    "edge": "runs.*.cpu_s_per_call_minute runs.*ward.p*_ms runs.*.late_*",
    "answers": "runs.*.wait.p*_ms runs.*.beyond_*_ms runs.*.clear_p95_ms runs.*.silence_percent runs.*.unanswered"
    " runs.*.late_percent runs.*.refused runs.*.cpu_s_per_call_minute runs.*.core_share runs.*.memory_mb_per_call"
    " runs.*.set_up.p50_ms runs.*.wake_ups_per_call_s runs.*.ratios.*",
    "retained": "before after",
    "chaos": "row.*.added_*_ms row.*.off_line_p50_ms row.*.unanswered row.*.lost",
    "soak": "calls.* end.processes.*.rss_bytes end.redis.used_bytes",
}
"""For each benchmark, the patterns of the figures that a line of its history holds."""


class BadResult(Exception):
    """The file is not the result of a benchmark whose history is kept; the text names the file and the problem."""


def figures(document: Mapping[str, Any], kept: str) -> dict[str, float]:
    """The finite numbers of a result whose dotted name matches a pattern of `kept`, without VOID runs."""
    return {
        name: value
        for name, value in _numbers("", document)
        if math.isfinite(value) and any(fnmatchcase(name, pattern) for pattern in kept.split())
    }


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        if value.get("void") is True or value.get("verdict") == "VOID":
            return
        for key, item in value.items():
            label = f"{key}.{_label(item)}" if key == "row" else key  # chaos: one row, not a list of rows
            yield from _numbers(f"{name}.{label}" if name else label, item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(f"{name}.{_label(item)}", item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def _label(item: Any) -> str:
    """What identifies the entry; of a field that is true its name, and nothing of one that is false or no length."""
    if not isinstance(item, Mapping):
        return ""
    parts = []
    for key in LABELS:
        value = item.get(key)
        if value is True:
            parts.append(key)
        elif key in UNITS and value:
            parts.append(f"{value:g} {UNITS[key]}")
        elif key in item and key not in UNITS and value is not False:
            parts.append(str(value))
    return " ".join(parts)


def record(document: Mapping[str, Any], written: datetime) -> tuple[str, dict[str, Any]]:
    """The benchmark's name and its line; `written` stands in for the date of an old result.  Raises BadResult."""
    around = document.get("around")
    if not isinstance(around, Mapping) or not {"command", "commit", "cpus"} <= around.keys():
        raise BadResult("it does not say which command and commit it is of")
    words = str(around["command"]).split()
    bench = words[2].removeprefix("benchmarks.") if len(words) > 2 else ""
    if bench not in KEPT:
        raise BadResult(f"{bench or around['command']} is none of {', '.join(KEPT)}")
    if not (found := figures(document, KEPT[bench])):
        raise BadResult("it has no figure that counts: every run failed or was VOID")
    date = around.get("date") or written.isoformat(timespec="seconds")
    return bench, {"date": date, **{key: around[key] for key in ("commit", "command", "cpus")}, "figures": found}


def comparison(lines: Iterable[Mapping[str, Any]], last: int = COMMITS_SHOWN) -> str:
    """A table: a row for each figure, a column for each of the `last` commits; a cell is the median of its lines."""
    commits: dict[str, list[Mapping[str, float]]] = {}
    for line in sorted(lines, key=lambda line: str(line["date"])):
        column = f"{line['commit']}, {line['cpus']} cores"  # figures of two machines cannot be compared
        commits.setdefault(column, []).append(line["figures"])
    shown = dict(list(commits.items())[-last:])
    names = list(dict.fromkeys(name for runs in shown.values() for run in runs for name in run))
    heads = ["figure", *(f"{column} ({len(runs)})" for column, runs in shown.items())]
    return table(heads, [[name, *(_cell(name, runs) for runs in shown.values())] for name in names])


def _cell(name: str, runs: Sequence[Mapping[str, float]]) -> str:
    values = [run[name] for run in runs if name in run]
    return f"{median(values):.4g}" if values else "-"


def add(file: Path, folder: Path = FOLDER) -> Path:
    """Append the result's line to its benchmark's history, and return that file.  Raises BadResult."""
    bench, line = read(file)
    with (path := folder / f"{bench}.jsonl").open("a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")
    return path


def release(version: str, files: Iterable[Path], folder: Path = FOLDER) -> Path:
    """Write the figures of these results as those of a release, and return the file.  Raises BadResult."""
    benches = {}
    for file in files:
        bench, line = read(file)
        if bench in benches:
            raise BadResult(f"{file}: there is already a result of {bench}")
        benches[bench] = line
    path = folder / f"{version}.json"
    path.write_text(json.dumps({"release": version, "benches": benches}, indent=1) + "\n", "utf-8")
    return path


def read(file: Path) -> tuple[str, dict[str, Any]]:
    """Return the benchmark's name and the line of a result.  Raises BadResult, which names the file."""
    try:
        document = json.loads(file.read_text("utf-8"))
        return record(document, datetime.fromtimestamp(file.stat().st_mtime, UTC))
    except (OSError, ValueError, AttributeError, BadResult) as error:
        raise BadResult(f"{file}: {error}") from None


def show(bench: str, last: int, folder: Path = FOLDER) -> str:
    """The heading and the table of one benchmark's history."""
    lines = [json.loads(line) for line in (folder / f"{bench}.jsonl").read_text("utf-8").splitlines()]
    return f"## {bench}: median of the runs (their number), the newest commit last\n\n{comparison(lines, last)}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description="Figures of earlier runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("add", help="append results to the history")
    adding.add_argument("files", type=Path, nargs="+", help="JSON that a benchmark wrote to out/")
    releasing = commands.add_parser("release", help="write the figures of a release")
    releasing.add_argument("version", help="such as 0.2.0")
    releasing.add_argument("files", type=Path, nargs="+", help="one result for each benchmark")
    showing = commands.add_parser("show", help="print the medians per commit")
    showing.add_argument("benches", nargs="*", help="default: every benchmark with a history")
    showing.add_argument("--last", type=int, default=COMMITS_SHOWN, help="commits to show (%(default)s)")
    options = parser.parse_args(argv)
    try:
        if options.command == "add":
            for file in options.files:
                print(f"{file}: added to {add(file).relative_to(ROOT)}")
            return 0
        if options.command == "release":
            print(f"written: {release(options.version, options.files).relative_to(ROOT)}")
            return 0
        known = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
        if unknown := set(options.benches) - set(known):
            raise BadResult(
                f"no history of {', '.join(sorted(unknown))}; there is one of: {', '.join(known) or 'none'}"
            )
        print("\n".join(show(bench, options.last) for bench in options.benches or known) or "no history yet")
    except BadResult as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
