"""`python -m tests.counts`: counts what a call costs, and compares it with what was accepted.

python -m tests.counts             # half a minute: what has risen; three runs if something has
python -m tests.counts --accept    # three runs: their medians are the new limits (tests/counts/counts.json)
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.redis_server import redis_server
from benchmarks.report import table
from tests.counts import accepted
from tests.counts.system import measure


def main() -> int:
    """Return 1 if a count has risen."""
    parser = argparse.ArgumentParser(prog="python -m tests.counts", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--accept", action="store_true", help="write the counts of today's code to counts.json")
    parser.add_argument("--all", action="store_true", help="print every count")
    options = parser.parse_args()
    runs: list[accepted.Counts] = []

    def once() -> accepted.Counts:
        with redis_server(aof=False) as url:
            runs.append(measure(url))
        return runs[-1]

    before = accepted.read() if accepted.FILE.exists() else {}
    if options.accept:
        for _ in range(accepted.RUNS_MAX):
            once()
        found = accepted.typical(runs)
        risen = accepted.rises(before, found)
        accepted.write(found)
    else:
        risen = accepted.risen(once)
        found = accepted.typical(runs)
    if options.all:
        print(table(["in", "count", "accepted", "found"], _rows(before, found)))
    for title, lines in (("risen", risen), ("fallen", accepted.falls(before, found))):
        print("\n".join([f"{title}:", *(f"  {line}" for line in lines)]) if lines else f"{title}: nothing")
    if options.accept:
        print(f"accepted: {accepted.FILE.name}")
    elif risen:
        print(accepted.ACCEPT)
    return 1 if risen and not options.accept else 0


def _rows(before: accepted.Counts, found: accepted.Counts) -> Sequence[Sequence[str]]:
    return [
        [part, what, f"{before.get(part, {}).get(what, 0):g}", f"{count:g}"]
        for part, counts in found.items()
        for what, count in counts.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
