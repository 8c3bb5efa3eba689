"""The bars: which runs they are about, the figures, and what was measured.  Pure.

50 calls of 28 s      stack and forwarder: CPU ratio, time of an answer
100 calls of 2 min    the same, and clear, memory
no call; one call     share of a core
--capacity            stack with more and more calls, until an answer is late
--preemptive FOLDER   stack with an agent that begins its answers early
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.answers.plan import Pace, ideal, pace_of, the_agent
from benchmarks.answers.servers import PLAIN, STACK
from benchmarks.report import table

CAPACITY_BEYOND_P95_MS = 50.0
CAPACITY_SILENCE_PERCENT = 0.1
SHORT_S, LONG_S = 28.0, 120.0
CAPACITY, PREEMPTIVE = "capacity", "preemptive"
"""Cases that options ask for."""
AGENTS = Path(__file__).with_name("agents-defaults")
"""The agent that the bars are about: it greets, and its settings of turns are the defaults."""

Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """Runs that one group of bars needs: `name` selects them on the command line."""

    name: str
    calls: int
    call_s: float
    servers: tuple[str, ...]


CASES = (
    Case("idle", 0, 0.0, (STACK,)),
    Case("one", 1, SHORT_S, (STACK, PLAIN)),
    Case("short", 50, SHORT_S, (STACK, PLAIN)),
    Case("long", 100, LONG_S, (STACK, PLAIN)),
)
CASE_NAMES = tuple(case.name for case in CASES)


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure of the run that `case` names, and its limit; `figure` returns NaN where the run does not have it."""

    what: str
    case: str
    figure: Callable[[Found], float]
    limit: float
    unit: str = ""
    at_least: bool = False

    def holds(self, measured: float) -> bool:
        """Whether the bar is kept; NaN never is."""
        return measured >= self.limit if self.at_least else measured <= self.limit


def _ratio(name: str) -> Callable[[Found], float]:
    return lambda found: float(found.get("ratios", {}).get(name, math.nan))


def _figure(name: str, factor: float = 1.0) -> Callable[[Found], float]:
    return lambda found: factor * float(found[name])


def _against_floor(found: Found) -> float:
    return float(found["wait"]["p50_ms"]) - ideal(floor()).ms


def floor() -> Pace:
    """The vendors' latencies with the agent of the bars."""
    return pace_of(the_agent(AGENTS))


BARS = (
    Bar("CPU per call-minute / the forwarder's, 100 calls of 2 min", "long", _ratio("cpu"), 3.5),
    Bar("CPU per call-minute / the forwarder's, 50 calls of 28 s", "short", _ratio("cpu"), 4.0),
    Bar("answer beyond the ideal, 50 calls, p50", "short", _figure("beyond_p50_ms"), 12, "ms"),
    Bar("answer beyond the ideal, 50 calls, p95", "short", _figure("beyond_p95_ms"), 30, "ms"),
    Bar("answer beyond the ideal, 100 calls, p50", "long", _figure("beyond_p50_ms"), 20, "ms"),
    Bar("answer beyond the ideal, 100 calls, p95", "long", _figure("beyond_p95_ms"), 60, "ms"),
    Bar("calls on one core, p95 < 50 ms beyond the ideal, silence < 0.1 %", CAPACITY, _figure("calls"), 130, "", True),
    Bar("vendor's report of speech to clear, 100 calls, p95", "long", _figure("clear_p95_ms"), 15, "ms"),
    Bar("preemptive answer against the floor, p50", PREEMPTIVE, _against_floor, -80, "ms"),
    Bar("tokens of no heard answer, preemptive", PREEMPTIVE, _figure("tokens_unused_percent"), 15, "%"),
    Bar("idle: share of a core", "idle", _figure("core_share", 100), 1, "%"),
    Bar("one call: share of a core", "one", _figure("core_share", 100), 4, "%"),
    Bar("memory per call, all processes, 100 calls", "long", _figure("memory_mb_per_call"), 1, "MB"),
)


def judged(runs: Sequence[Found]) -> list[tuple[Bar, float]]:
    """Return each bar and what was measured, of the last run that is not VOID; NaN without one."""
    last = {str(found["case"]): found for found in runs if found["server"] == STACK and not found["void"]}
    if CAPACITY in last:
        room = [found["calls"] for found in runs if found["case"] == CAPACITY and not found["void"] and has_room(found)]
        last[CAPACITY] = {"calls": max(room, default=0)}
    return [(bar, bar.figure(last[bar.case]) if bar.case in last else math.nan) for bar in BARS]


def has_room(found: Found) -> bool:
    """Whether so many calls fit on one core: nearly all answers come in time, and no reply has a hole."""
    return (
        found["beyond_p95_ms"] < CAPACITY_BEYOND_P95_MS
        and found["silence_percent"] < CAPACITY_SILENCE_PERCENT
        and not found["unanswered"]
        and not found["refused"]
    )


def bars_page(runs: Sequence[Found]) -> str:
    """Return the table of the bars."""
    rows = [_row(bar, measured) for bar, measured in judged(runs)]
    note = "-: not measured in this run, or VOID. Ideal of these runs: " + str(ideal(floor())) + "."
    return "\n\n".join(["## The bars", table(["figure", "bar", "measured", ""], rows), note])


def _row(bar: Bar, measured: float) -> list[str]:
    sign = "≥" if bar.at_least else "≤"
    unit = f" {bar.unit}" if bar.unit else ""
    if math.isnan(measured):
        return [bar.what, f"{sign} {bar.limit:g}{unit}", "-", "-"]
    verdict = "PASS" if bar.holds(measured) else "**FAIL**"
    return [bar.what, f"{sign} {bar.limit:g}{unit}", f"{measured:.2f}{unit}", verdict]
