"""`python -m benchmarks.bus`: measures the two hops of a frame over a real Redis, and the cost of an append.

Bar: both hops p99 < 10 ms with 50 calls.  A run whose generator was late is VOID.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from dataclasses import asdict
from typing import Any

from benchmarks.appends import AppendCost, appends_main
from benchmarks.children import ChildFailed, child
from benchmarks.hops import DRAIN_SECONDS, EdgeResult, Plan, edge_main, worker_main
from benchmarks.redis_server import NoServer, client, cpu_seconds, redis_server, version
from benchmarks.report import SPREAD_HEADS, publish, spread, surroundings, table
from common.protocol.redis_keys import call_audio, call_events, edge_audio, edge_priority

READY_SECONDS = 30.0
LEAD_NS = 500_000_000
"""Between "go" and the first frame."""
HOP_P99_MS_MAX = 10.0
LATENESS_P99_MS_MAX = 5.0
CALLS_MAX = 1000
SECONDS_MAX = 300.0
APPENDS_SECONDS = 300.0
LANES = ("priority", "behind_audio")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description=__doc__)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, after 2 s of warm-up")
    parser.add_argument("--flush-ms", type=float, default=1.0)
    parser.add_argument("--pause-ms", type=float, default=1.0)
    parser.add_argument("--appends", type=int, default=20_000, help="messages in a round; 0: skip this part")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--aof", action="store_true", help="the embedded server writes an append-only file")
    options = parser.parse_args()
    if not (1 <= options.calls <= CALLS_MAX and 1 <= options.seconds <= SECONDS_MAX and options.rounds >= 1):
        parser.error(f"expected 1 to {CALLS_MAX} calls, 1 to {SECONDS_MAX:.0f} seconds, and at least one round")
    return options


def main() -> int:
    """Measure the hops, then the appends."""
    options = arguments()
    run = f"bench-{secrets.token_hex(4)}"
    try:
        with redis_server(options.aof) as url:
            plan = Plan(url, run, options.calls, options.seconds, options.flush_ms, options.pause_ms)
            around = surroundings("benchmarks.bus", version(url) + (" with AOF" if options.aof else ""))
            numbers: dict[str, Any] = {"hops": _hops(plan)}
            sections = [_hops_page(plan, numbers["hops"])]
            if options.appends:
                costs = _appends(url, run, options.appends, options.rounds)
                numbers["appends"] = [asdict(cost) for cost in costs]
                sections.append(_appends_page(options.appends, options.rounds, costs))
    except (NoServer, ChildFailed) as error:
        print(error, file=sys.stderr)
        return 2
    publish("bus", around, sections, numbers)
    return 0


def _hops(plan: Plan) -> dict[str, Any]:
    """Run both processes; return the figures in milliseconds and CPU seconds per call-minute."""
    with (
        client(plan.url) as redis,
        child("worker", worker_main, plan) as worker,
        child("edge", edge_main, plan) as edge,
    ):
        for process in (worker, edge):
            process.receive(READY_SECONDS)
        start_ns = time.monotonic_ns() + LEAD_NS
        for process in (worker, edge):
            process.send(start_ns)
        first_ns, last_ns = plan.window(start_ns)
        _sleep_until(first_ns)
        server_cpu = cpu_seconds(redis)
        _sleep_until(last_ns)
        server_cpu = cpu_seconds(redis) - server_cpu
        result: EdgeResult = edge.receive(DRAIN_SECONDS + READY_SECONDS)
        worker_cpu: float = worker.receive(READY_SECONDS)
        keys = [edge_audio(plan.run), edge_priority(plan.run), *map(call_audio, plan.call_ids())]
        for key in keys:
            redis.delete(key)
    call_minutes = plan.calls * plan.seconds / 60
    names = ("hop1", "hop2", "round_trip", *LANES, "lateness")
    spreads = {name: spread(getattr(result, name)) for name in names}
    return {
        **{name: asdict(found) for name, found in spreads.items()},
        "calls": plan.calls,
        "seconds": plan.seconds,
        "published": result.published,
        "lost": result.published - spreads["round_trip"].count,
        "cpu_s_per_call_minute": {
            "redis": server_cpu / call_minutes,
            "edge": result.cpu_s / call_minutes,
            "worker": worker_cpu / call_minutes,
        },
        "missing": [name for name in names if not spreads[name].count],
        "void": spreads["lateness"].p99_ms > LATENESS_P99_MS_MAX or not all(one.count for one in spreads.values()),
        "met": max(spreads["hop1"].p99_ms, spreads["hop2"].p99_ms) < HOP_P99_MS_MAX,
    }


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))


def _hops_page(plan: Plan, hops: dict[str, Any]) -> str:
    titles = {
        "hop1": "hop 1: edge to worker (AudioIn)",
        "hop2": "hop 2: worker to edge (AudioOut)",
        "round_trip": "round trip",
        "priority": "SpeechStarted on the priority lane",
        "behind_audio": "SpeechStarted behind the audio",
        "lateness": "the generator's lateness",
    }
    latency = [[title, str(hops[name]["count"]), *_cells(hops[name])] for name, title in titles.items()]
    cpu = hops["cpu_s_per_call_minute"]
    verdict = f"Both hops p99 < {HOP_P99_MS_MAX:.0f} ms: **{'met' if hops['met'] else 'missed'}**."
    if hops["missing"]:
        verdict = f"**VOID**: nothing was measured of: {', '.join(hops['missing'])}."
    elif hops["void"]:
        verdict = f"**VOID**: the generator's p99 lateness is over {LATENESS_P99_MS_MAX:.0f} ms. {verdict}"
    setting = f"flush {plan.flush_ms:g} ms, pause {plan.pause_ms:g} ms"
    return "\n\n".join(
        [
            f"## Two hops, {plan.calls} calls, {plan.seconds:.0f} s, {setting}",
            table(["", "messages", *SPREAD_HEADS], latency),
            table(["CPU-seconds per call-minute", ""], [[name, f"{cpu[name]:.4f}"] for name in cpu]),
            f"{hops['published']} frames published, {hops['lost']} lost. {verdict} "
            '"Edge" includes the generator; each call sends and receives audio all the time, one frame per AudioOut.',
        ]
    )


def _cells(found: dict[str, float]) -> list[str]:
    return [f"{found[name]:.2f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")]


def _appends(url: str, run: str, count: int, rounds: int) -> list[AppendCost]:
    with child("appends", appends_main, url, run, count, rounds) as process:
        costs: list[AppendCost] = process.receive(APPENDS_SECONDS)
    with client(url) as redis:
        redis.delete(call_audio(run))
        redis.delete(call_events(run))
    return costs


def _appends_page(count: int, rounds: int, costs: list[AppendCost]) -> str:
    rows = [[cost.way, f"{cost.cpu_us:.1f}", f"{cost.elapsed_us:.1f}"] for cost in costs]
    return "\n\n".join(
        [
            f"## One XADD of an encoded AudioIn, and one awaited append: {count} a round, median of {rounds} rounds",
            table(["way", "CPU us", "elapsed us"], rows),
            "CPU of the writing process; the server runs on the same machine.  Of appends there are a tenth as many.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
