"""`python -m benchmarks.chaos`: kills, freezes and restarts real processes under live calls, and measures the callers'
audio.

Everything runs on loopback and is ended by its process id, also on Ctrl-C.  Writes out/chaos.  Exit code 1 if a bar was
missed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.chaos.fleet import ORDERING_AGENT, TRANSFERRING_AGENT, Fleet, FleetPlan, NotReady
from benchmarks.chaos.report import FOLDER, publish, write_run
from benchmarks.chaos.run import carry_out
from benchmarks.chaos.scenario import SCENARIOS, Scenario
from benchmarks.chaos.verdict import Row, absent, judge
from tools.stack import StackError

GROUPS = tuple(dict.fromkeys(scenario.group for scenario in SCENARIOS))
CRASHING = (("stt", "workers.stt"), ("llm", "benchmarks.chaos.crashing_llm"), ("tts", "workers.tts"))
OWN_FLEETS: dict[str, dict[str, Any]] = {
    "sentinel": {"sentinel": True},
    "grey": {"ways_out": True},
    "tools": {"agent": ORDERING_AGENT},
    "transfers": {"agent": TRANSFERRING_AGENT},
    "poison": {"members": 3, "modules": CRASHING},
}
"""Groups that need a fleet of their own, with its options."""
CALLS_MAX = 100
"""Most callers that two spelled digits can number."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--calls", type=int, default=20, help="at a time; the vendor scenario has 2.5 times as many")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the callers' pauses")
    asked = parser.parse_args(argv)
    asked.only = asked.only.split(",") if asked.only else list(GROUPS)
    if unknown := set(asked.only) - set(GROUPS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(GROUPS)}")
    if not 1 <= asked.calls <= CALLS_MAX / 2.5 or asked.rounds < 1:
        parser.error(f"expected 1 to {CALLS_MAX / 2.5:.0f} calls and at least one round")
    return asked


async def run_all(asked: argparse.Namespace, logs: Path) -> list[Row]:
    """Run every requested scenario, on one fleet for each kind of store."""
    rows: list[Row] = []
    wanted = [scenario for _ in range(asked.rounds) for scenario in SCENARIOS if scenario.group in asked.only]
    for kind, scenarios in groupby(wanted, key=lambda one: one.group if one.group in OWN_FLEETS else "single"):
        plan = FleetPlan(logs / kind, **OWN_FLEETS.get(kind, {}))
        await _on_fleets(plan, list(scenarios), asked, rows)
    return rows


async def _on_fleets(plan: FleetPlan, scenarios: list[Scenario], asked: argparse.Namespace, rows: list[Row]) -> None:
    """Run these scenarios on one fleet, and on a new one after a scenario from which the fleet did not recover."""
    while scenarios:
        try:
            async with Fleet(plan) as fleet:
                whole = True
                while scenarios and whole:
                    run = await carry_out(fleet, scenarios.pop(0), asked.calls, asked.seed + len(rows))
                    whole = run.healed
                    _add(rows, judge(run.outcome), run.details())
        except (NotReady, TimeoutError) as error:
            why = f"the platform did not come up: {error or type(error).__name__}"
            _add(rows, absent(scenarios.pop(0), why), {})


def _add(rows: list[Row], row: Row, details: dict[str, Any]) -> None:
    rows.append(row)
    print(f"{row.verdict:<5} {row.title}", flush=True)
    write_run(f"{len(rows):02}-{row.group}", row, details)


def main() -> int:
    """Run and report; return 0 if every bar was met."""
    asked = arguments()
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        rows = uvloop.run(run_all(asked, FOLDER / "logs"))
    except StackError as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if publish(rows, FOLDER / "logs", "benchmarks.chaos", "") else 1


if __name__ == "__main__":
    sys.exit(main())
