"""`python -m benchmarks.edge`: measures the cost of a call on an edge, by two paths.

The path `shortcut` goes past ASGI (edge/media/websocket.py), the path `asgi` through it.  Media goes in and out
all the time over real loopback WebSockets, with the callers in a separate process.
"""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.bare_socket import FRAME_NS
from benchmarks.children import ChildFailed, child
from benchmarks.edge_process import PATHS, EdgeLoad, EdgePlan, edge_main
from benchmarks.lines import LinesPlan, LinesResult, lines_main
from benchmarks.report import publish, spread, surroundings, table
from tools.ports import free_port

READY_SECONDS = 60.0
LEAD_NS = 500_000_000
WARM_UP_NS = 2_000_000_000
LATE_NS = 20_000_000
LATENESS_P99_MS_MAX = 5.0
FRAMES_PER_SECOND = 50
CALLS_MAX = 1000
SECONDS_MAX = 120.0


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 50, 200])
    parser.add_argument("--seconds", type=float, default=10.0, help="measured in each run, after 2 s of warm-up")
    parser.add_argument("--rounds", type=int, default=1, help="of all runs; the path that goes first alternates")
    options = parser.parse_args()
    if not (
        all(1 <= calls <= CALLS_MAX for calls in options.calls)
        and 1 <= options.seconds <= SECONDS_MAX
        and options.rounds >= 1
    ):
        parser.error(f"expected 1 to {CALLS_MAX} calls, 1 to {SECONDS_MAX:.0f} seconds, and at least one round")
    return options


def main() -> int:
    """Run both paths with every number of calls."""
    options = arguments()
    around = surroundings("benchmarks.edge", "no Redis")
    runs: list[dict[str, Any]] = []
    for round_ in range(options.rounds):
        for calls in options.calls:
            for path in PATHS if round_ % 2 == 0 else reversed(PATHS):
                try:
                    runs.append(_run(path, calls, options.seconds))
                except ChildFailed as error:
                    runs.append({"path": path, "calls": calls, "failed": str(error)})
    publish("edge", around, [_page(options.seconds, options.rounds, runs)], {"runs": runs})
    return 0


def _run(path: str, calls: int, seconds: float) -> dict[str, Any]:
    """Run one edge and its callers.  Raises ChildFailed."""
    port = free_port()
    call_ids = tuple(f"bench-{number:04d}" for number in range(calls))
    with child("edge", edge_main, EdgePlan(path, port, call_ids)) as edge:
        edge.receive(READY_SECONDS)
        with child("callers", lines_main, LinesPlan(port, call_ids)) as callers:
            callers.receive(READY_SECONDS)
            edge.receive(READY_SECONDS)
            start_ns = time.monotonic_ns() + LEAD_NS
            window = (start_ns + WARM_UP_NS, start_ns + WARM_UP_NS + int(seconds * 1e9))
            edge.send((start_ns, *window))
            callers.send((start_ns, window[1]))
            load: EdgeLoad = edge.receive(READY_SECONDS + seconds)
            heard: LinesResult = callers.receive(READY_SECONDS)
    return _numbers(path, calls, seconds, window, load, heard)


def _numbers(
    path: str, calls: int, seconds: float, window: tuple[int, int], load: EdgeLoad, heard: LinesResult
) -> dict[str, Any]:
    outward = [gap for arrivals in heard.arrivals for gap in gaps(arrivals, window)]
    lateness, inward = spread(heard.lateness), spread(load.inward)
    return {
        "path": path,
        "calls": calls,
        "cpu_s_per_call_minute": load.cpu_s / (calls * seconds / 60),
        "core_share": load.cpu_s / seconds,
        "frames_due": round(calls * seconds * FRAMES_PER_SECOND),
        "frames_in": inward.count,
        "frames_out": len(outward),
        "late_in": sum(lag > LATE_NS for lag in load.inward),
        "late_out": sum(lag > LATE_NS for lag in outward),
        "inward": asdict(inward),
        "outward": asdict(spread(outward)),
        "generator_lateness": asdict(lateness),
        "generator_cpu_s": heard.cpu_s,
        "void": lateness.p99_ms > LATENESS_P99_MS_MAX,
    }


def gaps(arrivals: array[int], window: tuple[int, int]) -> list[int]:
    """Return the silence that the caller hears before each frame in the window, in ns: 0 if it arrived in time.

    A carrier plays the frames one after the other, and what arrives when its queue is empty at once.
    """
    heard, dry_ns = [], arrivals[0] if arrivals else 0
    for moment in arrivals:
        if window[0] <= moment < window[1]:
            heard.append(max(0, moment - dry_ns))
        dry_ns = max(dry_ns, moment) + FRAME_NS
    return heard


def _page(seconds: float, rounds: int, runs: list[dict[str, Any]]) -> str:
    heads = ["calls, path", "CPU-s per call-minute", "of a core", "in p50 ms", "in p99 ms", "out p99 ms"]
    heads += ["late in", "late out", "frames in / out of", "generator p99 ms"]
    groups = sorted({(run["calls"], PATHS.index(run["path"])) for run in runs})
    rows = [_row([run for run in runs if (run["calls"], PATHS.index(run["path"])) == group]) for group in groups]
    return "\n\n".join(
        [
            f"## One edge process, {seconds:.0f} s a run, median of {rounds} rounds (frames: sum)",
            table(heads, rows),
            "In: from the caller's send to the publish. Out: silence before a frame, as a caller hears it. "
            "Late: more than 20 ms. The bus packs, counts and drops messages (no Redis); the agent never pauses. "
            f"VOID: runs whose generator's p99 lateness is over {LATENESS_P99_MS_MAX:.0f} ms; they do not count, "
            "unless there is no other.",
        ]
    )


def _row(runs: list[dict[str, Any]]) -> list[str]:
    """Return one row for all rounds of one path with one number of calls."""
    title = f"{runs[0]['calls']}, {runs[0]['path']}"
    ran = [run for run in runs if "failed" not in run]
    if not ran:
        return [title, f"FAILED: {runs[0]['failed']}", *["-"] * 8]
    void = sum(run["void"] for run in ran)
    counted = [run for run in ran if not run["void"]] or ran

    def middle(name: str, part: str = "") -> float:
        return median(float(run[name][part] if part else run[name]) for run in counted)

    def total(name: str) -> int:
        return sum(run[name] for run in counted)

    generator = f"{middle('generator_lateness', 'p99_ms'):.2f}"
    return [
        title,
        f"{middle('cpu_s_per_call_minute'):.4f}",
        f"{100 * middle('core_share'):.1f} %",
        f"{middle('inward', 'p50_ms'):.2f}",
        f"{middle('inward', 'p99_ms'):.2f}",
        f"{middle('outward', 'p99_ms'):.2f}",
        str(total("late_in")),
        str(total("late_out")),
        f"{total('frames_in')} / {total('frames_out')} of {total('frames_due')}",
        f"{generator}, {void} of {len(ran)} VOID" if void else generator,
    ]


if __name__ == "__main__":
    sys.exit(main())
