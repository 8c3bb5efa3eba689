"""`python -m benchmarks.answers`: measures answer times beyond the ideal, and the CPU cost of a call.

The whole server side runs on one core, the callers and the scripted vendors on another; a plain forwarder is measured
in the same way, for comparison.
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.answers.caller import CALLERS_MAX
from benchmarks.answers.cores import two_cores
from benchmarks.answers.plan import CYCLE_MS, Pace
from benchmarks.answers.results import missed, numbers, page, profile_page
from benchmarks.answers.run import RunPlan, RunResult, run
from benchmarks.answers.servers import PLAIN, STACK
from benchmarks.children import ChildFailed
from benchmarks.report import publish, surroundings
from tools.stack import StackError

SECONDS_MAX = 600.0
PROFILE_SECONDS_MAX = 60.0


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 10, 50, 100])
    parser.add_argument("--seconds", type=float, default=30.0, help="measured in each run, after 4 s of warm-up")
    parser.add_argument("--server", choices=[STACK, PLAIN], nargs="+", default=[STACK, PLAIN])
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        nargs="+",
        default=[],
        help="settings of the stack's processes, such as BUS_PAUSE_MS=2 or AGENTS_DIR=folder",
    )
    parser.add_argument(
        "--interim-ms", type=int, default=Pace().interim_ms, help="audio per interim result of the recogniser"
    )
    parser.add_argument("--pause-ms", type=int, default=0, help="a pause in the middle of each speech, in whole frames")
    parser.add_argument("--profile", type=float, default=0.0, help="seconds of py-spy after the window of each run")
    parser.add_argument("--name", default="answers", help="name of the files in out/bench")
    options = parser.parse_args()
    if not (all(1 <= calls <= CALLERS_MAX for calls in options.calls) and 1 <= options.seconds <= SECONDS_MAX):
        parser.error(f"expected 1 to {CALLERS_MAX} calls and 1 to {SECONDS_MAX:.0f} seconds")
    if not 20 <= options.interim_ms <= 10_000 or not 0 <= options.pause_ms <= 600 or options.pause_ms % 40:
        parser.error("expected 20 to 10,000 ms of audio per interim result, and a pause of 0 to 600 ms in steps of 40")
    if not 0 <= options.profile <= PROFILE_SECONDS_MAX or not all("=" in pair for pair in options.set):
        parser.error(f"expected at most {PROFILE_SECONDS_MAX:.0f} s of profile, and settings as NAME=VALUE")
    return options


def main() -> int:
    """Measure both servers with every number of calls; return 1 if a run failed (a missed bar is no failure)."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends every child process, too
    pace = Pace(interim_ms=options.interim_ms, pause_ms=options.pause_ms)
    settings = dict(pair.split("=", 1) for pair in options.set)
    around = surroundings("benchmarks.answers", "embedded Valkey")
    runs: list[RunResult] = []
    failures: list[str] = []
    for calls in options.calls:
        for server in options.server:
            profile_s = options.profile if server == STACK else 0.0
            plan = RunPlan(server, calls, options.seconds, pace, settings=settings, profile_s=profile_s)
            print(f"{server}, {calls} calls …", file=sys.stderr, flush=True)
            try:
                runs.append(run(plan))
            except (ChildFailed, StackError) as error:
                failures.append(f"{server}, {calls} calls: {error}")
    found = [numbers(each) for each in runs]
    sections = [page(pace, found, failures, _cores())]
    if profiles := [each for each in runs if each.profiles]:
        sections.append(profile_page(profiles[-1].plan.calls, profiles[-1].profiles))
    elif options.profile:
        sections.append(profile_page(0, {}))
    publish(options.name, around, sections, _document(found, runs, settings, pace))
    return 1 if failures else 0


def _document(
    found: list[dict[str, Any]], runs: list[RunResult], settings: dict[str, str], pace: Pace
) -> dict[str, Any]:
    profiles = [
        {"calls": each.plan.calls, "by_process": {name: asdict(profile) for name, profile in each.profiles.items()}}
        for each in runs
        if each.profiles
    ]
    judged = [each | {"missed": missed(each)} for each in found]
    return {"pace": asdict(pace), "cycle_ms": CYCLE_MS, "settings": settings, "runs": judged, "profiles": profiles}


def _cores() -> str:
    server_core, load_core = two_cores()
    if server_core is None:
        return "This machine has **one core**: server, vendors and callers share it; the figures are of little use."
    return f"Server processes on core {server_core}, vendors and callers on core {load_core}."


if __name__ == "__main__":
    sys.exit(main())
