"""`python -m benchmarks.compare OLD NEW`: two results of benchmarks, or two releases, side by side.

    python -m benchmarks.compare out/bench/old.json out/bench/answers.json
    python -m benchmarks.compare 0.1.0 0.2.0               # benchmarks/history/0.1.0.json and 0.2.0.json
    python -m benchmarks.compare 0.1.0 out/bench/answers.json

Which figures count, and that those of VOID runs do not, is said in history.py.  Compare runs of one machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.history import FOLDER, BadResult, read
from benchmarks.report import table

CHANGE_MIN = 0.10
"""Figures that differ by less are equal; a larger change is marked."""

Lines = Mapping[str, Mapping[str, Any]]
"""Benchmark -> its line, as in the history."""


def lines_of(name: str, folder: Path = FOLDER) -> Lines:
    """Return the lines of a release, or of the result in a file.  Raises BadResult."""
    kept = folder / f"{name}.json"
    file = kept if kept.is_file() else Path(name)
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadResult(f"{name} is neither a release of {folder.name}/ nor a result: {error}") from None
    if isinstance(document, dict) and "benches" in document:
        benches: Lines = document["benches"]
        return benches
    bench, line = read(file)
    return {bench: line}


def side_by_side(old: Lines, new: Lines) -> str:
    """Return a table for each benchmark that both have: figure, old, new, change; changes over a tenth are bold."""
    if not (both := [bench for bench in old if bench in new]):
        raise BadResult(f"nothing to compare: {', '.join(old)} and {', '.join(new)}")
    return "\n\n".join(_page(bench, old[bench], new[bench]) for bench in both)


def _page(bench: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys([*old["figures"], *new["figures"]]))
    rows = [_row(name, old["figures"].get(name), new["figures"].get(name)) for name in names]
    heads = ["figure", *(f"{line['commit']}, {line['cpus']} cores" for line in (old, new)), "change"]
    warning = "" if old["cpus"] == new["cpus"] else "\n\n**Two machines**: the figures cannot be compared."
    return f"## {bench}\n\n{table(heads, rows)}{warning}"


def _row(name: str, old: float | None, new: float | None) -> list[str]:
    cells = [name, *("-" if value is None else f"{value:.4g}" for value in (old, new))]
    if old is None or new is None:
        return [*cells, ""]
    if old == new:
        return [*cells, "="]
    change = (new - old) / abs(old) if old else float("inf")
    text = f"{100 * change:+.0f} %"
    return [*cells, f"**{text}**" if abs(change) > CHANGE_MIN else text]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; return 1 if there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", help="a release, or JSON that a benchmark wrote to out/")
    parser.add_argument("new")
    options = parser.parse_args(argv)
    try:
        print(side_by_side(lines_of(options.old), lines_of(options.new)))
    except BadResult as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
