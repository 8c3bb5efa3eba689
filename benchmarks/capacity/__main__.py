"""`python -m benchmarks.capacity`: what a number of calls needs, by measured constants.

python -m benchmarks.capacity --calls 10000 [--calls-max 100]
python -m benchmarks.capacity --measure           # three minutes; then as --from out/bench/capacity.json
python -m benchmarks.capacity --from JSON         # constants of a run; updates docs/capacity.md and the manifests
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.capacity import constants, pages
from benchmarks.capacity.plan import CALLS_MAX, calls_by_core, plan
from benchmarks.report import FOLDER, ROOT

NAME = "capacity"
MEASURE_SECONDS = 900.0
CALLS_LIMIT = 10_000_000


def main() -> int:
    """Print a plan, or measure; return 1 if nothing valid was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1000, help="at the same time (%(default)s)")
    parser.add_argument("--calls-max", type=int, default=CALLS_MAX, help="CALLS_MAX of each process (%(default)s)")
    parser.add_argument("--with-tools", type=int, default=0, help="of these, calls whose agent has tools (%(default)s)")
    parser.add_argument("--measure", action="store_true", help="measure the constants anew, and update what uses them")
    parser.add_argument("--from", dest="file", type=Path, help="take the constants from a result of benchmarks.answers")
    options = parser.parse_args()
    if not (1 <= options.calls <= CALLS_LIMIT and 1 <= options.calls_max <= CALLS_LIMIT):
        parser.error(f"expected 1 to {CALLS_LIMIT} calls")
    if not 0 <= options.with_tools <= options.calls:
        parser.error("--with-tools: expected 0 to --calls")
    file: Path | None = options.file
    if options.measure:
        words = ["-m", "benchmarks.answers", "--bars", "short", "--name", NAME]
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, timeout=MEASURE_SECONDS)
        file = FOLDER / f"{NAME}.json"
    if file is not None:
        try:
            taken = constants.taken_from(json.loads(file.read_text("utf-8")))
        except (OSError, constants.NoConstants, KeyError, ValueError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            return 1
        constants.write(taken)
        pages.update(taken)
    known = constants.read()
    print(pages.plan_page(known, plan(known, options.calls, options.calls_max, options.with_tools)))
    most = min(calls_by_core(known, role) for role in constants.ROLES)
    if options.calls_max > most:
        print(f"\nCALLS_MAX={options.calls_max} is too much for one core here: at most {most}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
