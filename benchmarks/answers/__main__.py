"""`python -m benchmarks.answers`: measures answer times beyond the ideal, and the CPU cost of a call.

The whole server side runs on one core, the callers and the scripted vendors on another; a plain forwarder is measured
in the same way, for comparison.  `--bars` measures what the bars are about, and prints them.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.answers.bars import AGENTS, CAPACITY, CASE_NAMES, CASES, PREEMPTIVE, SHORT_S, has_room
from benchmarks.answers.caller import CALLERS_MAX
from benchmarks.answers.cores import two_cores
from benchmarks.answers.figures import numbers, with_ratios
from benchmarks.answers.plan import CYCLE_MS, Pace
from benchmarks.answers.results import page, profile_page
from benchmarks.answers.run import RunPlan, RunResult, run
from benchmarks.answers.servers import PLAIN, STACK, NoCertificate
from benchmarks.children import ChildFailed
from benchmarks.report import publish, surroundings
from tools.stack import StackError

SECONDS_MAX = 600.0
PROFILE_SECONDS_MAX = 60.0
IDLE_SECONDS = 20.0
CAPACITY_STEP = 20
"""Calls by which `--capacity` goes up."""


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 10, 50, 100], help="0: the idle server")
    parser.add_argument("--seconds", type=float, help="measured in each run; default --call-s, or 30")
    parser.add_argument("--call-s", type=float, default=0.0, help="length of a call; 0: to the end of the run")
    parser.add_argument("--ramp-s", type=float, help="time over which calls begin; default --call-s, or 1")
    parser.add_argument("--tls", action="store_true", help="the vendors' sockets by TLS")
    parser.add_argument("--aof", action="store_true", help="the stack's Redis writes an append-only file")
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
    bars = parser.add_argument_group("the bars")
    bars.add_argument("--bars", nargs="*", choices=CASE_NAMES, help="measure these cases, or all; 9 minutes")
    bars.add_argument("--capacity", type=int, metavar="CALLS", help="raise the calls from here until answers are late")
    bars.add_argument("--preemptive", metavar="FOLDER", help="agents that begin answers early; 50 calls of 28 s")
    bars.add_argument("--with", dest="earlier", type=Path, nargs="+", default=[], metavar="JSON", help="add these runs")
    options = parser.parse_args()
    if not all(0 <= calls <= CALLERS_MAX for calls in [*options.calls, options.capacity or 0]):
        parser.error(f"expected 0 to {CALLERS_MAX} calls")
    lengths = (options.seconds, options.call_s, options.ramp_s)
    if not all(length is None or 0 <= length <= SECONDS_MAX for length in lengths):
        parser.error(f"expected at most {SECONDS_MAX:.0f} seconds")
    if not 20 <= options.interim_ms <= 10_000 or not 0 <= options.pause_ms <= 600 or options.pause_ms % 40:
        parser.error("expected 20 to 10,000 ms of audio per interim result, and a pause of 0 to 600 ms in steps of 40")
    if not 0 <= options.profile <= PROFILE_SECONDS_MAX or not all("=" in pair for pair in options.set):
        parser.error(f"expected at most {PROFILE_SECONDS_MAX:.0f} s of profile, and settings as NAME=VALUE")
    return options


def plans(options: argparse.Namespace) -> Iterator[RunPlan]:
    """Yield the runs that the command line asks for, but those of `--capacity`."""
    settings = dict(pair.split("=", 1) for pair in options.set)
    call_s: float = options.call_s
    if options.bars is None and options.capacity is None and options.preemptive is None:
        seconds = options.seconds or call_s or 30.0
        ramp_s = (call_s or 1.0) if options.ramp_s is None else options.ramp_s
        common = _with_options(options, RunPlan(STACK, 0, seconds, settings, call_s=call_s, ramp_s=ramp_s))
        for calls in options.calls:
            for server in options.server:
                profile_s = options.profile if server == STACK else 0.0
                yield replace(common, server=server, calls=calls, profile_s=profile_s)
        return
    for case in CASES:
        if options.bars is not None and case.name in (options.bars or CASE_NAMES):
            for server in case.servers:
                if server in options.server:
                    yield _of_bars(options, case.name, case.calls, case.call_s, server)
    if options.preemptive is not None:
        early = _of_bars(options, PREEMPTIVE, 50, SHORT_S, STACK)
        yield replace(early, settings={**early.settings, "AGENTS_DIR": options.preemptive})


def _of_bars(options: argparse.Namespace, case: str, calls: int, call_s: float, server: str = STACK) -> RunPlan:
    settings = {"AGENTS_DIR": str(AGENTS), **dict(pair.split("=", 1) for pair in options.set)}
    ramp_s = (min(call_s, SHORT_S) if calls > 1 else 0.0) if options.ramp_s is None else options.ramp_s
    seconds = call_s or IDLE_SECONDS
    profile_s = options.profile if server == STACK and calls else 0.0
    plan = RunPlan(server, calls, seconds, settings, profile_s, call_s=call_s, ramp_s=ramp_s, case=case)
    return _with_options(options, plan)


def _with_options(options: argparse.Namespace, plan: RunPlan) -> RunPlan:
    paces = {"interim_ms": options.interim_ms, "pause_ms": options.pause_ms}
    return replace(plan, tls=options.tls, aof=options.aof, **paces)


def main() -> int:
    """Carry out all runs; return 1 if one failed (a missed bar is no failure)."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends every child process, too
    around = surroundings("benchmarks.answers", "embedded Valkey" + (" with AOF" if options.aof else ""))
    found = [each for file in options.earlier for each in json.loads(file.read_text("utf-8"))["runs"]]
    runs: list[RunResult] = []
    failures: list[str] = []

    def carry_out(plan: RunPlan) -> dict[str, Any] | None:
        print(f"{plan.server}, {plan.calls} calls …", file=sys.stderr, flush=True)
        try:
            runs.append(run(plan))
        except (ChildFailed, StackError, NoCertificate) as error:
            failures.append(f"{plan.server}, {plan.calls} calls: {error}")
            return None
        figures = numbers(runs[-1])
        found.append(figures)
        return figures

    for plan in plans(options):
        carry_out(plan)
    if options.capacity is not None:
        for calls in range(options.capacity, CALLERS_MAX + 1, CAPACITY_STEP):
            last = carry_out(_of_bars(options, CAPACITY, calls, SHORT_S))
            if last is None or not has_room(last):
                break
    found = with_ratios(found)
    sections = [page(found, failures, _cores(options.aof))]
    if profiles := [each for each in runs if each.profiles]:
        sections.append(profile_page(profiles[-1].plan.calls, profiles[-1].profiles))
    elif options.profile:
        sections.append(profile_page(0, {}))
    publish(options.name, around, sections, _document(found, runs))
    return 1 if failures else 0


def _document(found: list[dict[str, Any]], runs: list[RunResult]) -> dict[str, Any]:
    profiles = [
        {"calls": each.plan.calls, "by_process": {name: asdict(profile) for name, profile in each.profiles.items()}}
        for each in runs
        if each.profiles
    ]
    settings = dict(runs[-1].plan.settings) if runs else {}
    pace = runs[-1].plan.pace if runs else Pace()
    return {"pace": asdict(pace), "cycle_ms": CYCLE_MS, "settings": settings, "runs": found, "profiles": profiles}


def _cores(aof: bool) -> str:
    server_core, load_core = two_cores()
    file = "Valkey writes an append-only file." if aof else "Valkey writes no append-only file."
    if server_core is None:
        return f"This machine has **one core**: all share it; the figures are of little use. {file}"
    return f"Server processes on core {server_core}, vendors and callers on core {load_core}. {file}"


if __name__ == "__main__":
    sys.exit(main())
