"""`python -m tests.simulation`: the whole system in one process, under many seeds.  See docs/testing.md."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter

from tests.simulation.plan import KINDS, SPEECH
from tests.simulation.run import Outcome, simulate

TRACE_LINES = 200
PROGRESS_SECONDS = 5.0


def main() -> int:
    """Exit code 1 if a seed failed."""
    options = argparse.ArgumentParser(prog="python -m tests.simulation")
    options.add_argument("--seeds", type=int, default=200, help="how many")
    options.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    options.add_argument("--kind", choices=KINDS, default=SPEECH, help="callers who talk, or who have errands")
    options.add_argument("--seed", type=int, help="only this one")
    options.add_argument("-v", action="store_true", dest="verbose", help="print the whole trace")
    options.add_argument("--brief", action="store_true", help="print no traces, only what was wrong")
    options.add_argument("--failures", type=int, default=3, help="stop after so many")
    chosen = options.parse_args()
    if chosen.seed is not None:
        outcome = simulate(chosen.seed, chosen.kind)
        print_trace(outcome, len(outcome.trace) if chosen.verbose else 0 if chosen.brief else TRACE_LINES)
        return 1 if outcome.wrong else 0
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    return run_many(seeds, chosen.kind, chosen.failures, 0 if chosen.brief else TRACE_LINES)


def run_many(seeds: range, kind: str, failures_max: int, trace_lines: int) -> int:
    """Play them in order; print progress, and the trace of each that fails."""
    began = shown = time.perf_counter()
    calls = played = failures = 0
    virtual_s = 0.0
    ends: Counter[str] = Counter()
    tools: Counter[str] = Counter()
    gc.disable()  # a run makes few cycles; collected between runs
    for seed in seeds:
        outcome = simulate(seed, kind)
        gc.collect(0)
        played += 1
        calls += outcome.calls
        virtual_s += outcome.seconds
        ends.update(outcome.ends)
        tools.update(outcome.tools)
        if outcome.wrong:
            failures += 1
            print_trace(outcome, trace_lines)
            if failures == failures_max:
                break
        if time.perf_counter() - shown > PROGRESS_SECONDS:
            shown = time.perf_counter()
            print(f"{played} seeds, {calls} calls, {failures} failed", flush=True)
    took_s = time.perf_counter() - began
    print(f"{played} seeds, {calls} calls ({virtual_s / 3600:.1f} h of their time) in {took_s:.1f} s: ", end="")
    print(f"{60 * calls / took_s:.0f} calls a minute; {failures} failed")
    for reason, count in ends.most_common():
        print(f"{count:8}  {reason or 'never reached an edge'}")
    if asked := tools.pop("asked", 0):
        print(f"{asked:8}  calls of tools: {', '.join(f'{count} {what}' for what, count in tools.most_common())}")
    return 1 if failures else 0


def print_trace(outcome: Outcome, lines: int) -> None:
    """The end of the trace, what was wrong, and how to see it again."""
    shown = outcome.trace[-lines:] if lines else ()
    if shown and len(outcome.trace) > lines:
        print(f"... {len(outcome.trace) - lines} earlier lines")
    print("\n".join(shown))
    for text in outcome.wrong:
        print(f"WRONG  {text}")
    print(f"seed {outcome.seed}, {outcome.calls} calls, trace {outcome.digest[:16]}: ", end="")
    print(outcome.replay, flush=True)


if __name__ == "__main__":
    sys.exit(main())
