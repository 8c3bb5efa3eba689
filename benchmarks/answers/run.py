"""Carries out one run: vendors and callers on one core, the server on the other."""

from __future__ import annotations

import re
import time
import urllib.request
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.answers.cores import core_seconds, cpu_seconds, memory_bytes, two_cores
from benchmarks.answers.hearing import Figures, measured
from benchmarks.answers.load import LoadPlan, LoadResult, load_main
from benchmarks.answers.plan import FRAME_NS, Pace
from benchmarks.answers.profiles import Profile, profiled
from benchmarks.answers.servers import ServerPlan, serving
from benchmarks.answers.vendors import BEAT_NS, VendorPlan, VendorResult, vendors_main
from benchmarks.children import child

READY_SECONDS = 60.0
LEAD_NS = 500_000_000
TAIL_NS = 3_000_000_000
"""Time within which a speech that ends in the window must be answered."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`server` is one of benchmarks.answers.servers; `profile_s` 0 makes no profile."""

    server: str
    calls: int
    seconds: float
    pace: Pace = field(default_factory=Pace)
    settings: Mapping[str, str] = field(default_factory=dict)
    profile_s: float = 0.0
    warm_up_s: float = 4.0


@dataclass(frozen=True, slots=True)
class Use:
    """Resources of one process: CPU seconds in the window, bytes before the calls, bytes at the end."""

    cpu_s: float
    idle_bytes: int
    busy_bytes: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run.  Lateness in ns: of each frame of the callers, and of the vendors' loop."""

    plan: RunPlan
    figures: Figures
    used: dict[str, Use]
    strangers_s: float
    """CPU seconds of the server's core used by programs outside the benchmark."""
    callers_late: array[int]
    vendors_late: array[int]
    callers_cpu_s: float
    vendors_cpu_s: float
    profiles: dict[str, Profile]
    reply_tokens: Mapping[str, float] = field(default_factory=dict)
    """Tokens that the stack's model streamed, `used` and `wasted`; empty for a server without that count."""


def run(plan: RunPlan) -> RunResult:
    """Carry out the run.  Raises ChildFailed or StackError."""
    server_core, load_core = two_cores()
    with child("vendors", vendors_main, VendorPlan(plan.pace, load_core)) as vendors:
        url = vendors.receive(READY_SECONDS)
        with serving(plan.server, ServerPlan(url, plan.pace.endpoint_ms, server_core, plan.settings)) as server:
            idle = {name: memory_bytes(pid) for name, pid in server.pids.items()}
            with child(
                "callers", load_main, LoadPlan(server.port, plan.calls, load_core, plan.pace.pause_ms)
            ) as callers:
                callers.receive(READY_SECONDS)
                callers.send("call")
                callers.receive(READY_SECONDS)
                start_ns = time.monotonic_ns() + LEAD_NS
                begin_ns = start_ns + int(plan.warm_up_s * 1e9)
                window = (begin_ns, begin_ns + int(plan.seconds * 1e9))
                vendors.send(start_ns)
                callers.send((start_ns, window[1] + TAIL_NS + int(plan.profile_s * 1e9)))
                used, core_s = _watched(server.pids, idle, window, server_core)
                profiles = profiled(server.pids, plan.profile_s) if plan.profile_s else {}
                load: LoadResult = callers.receive(READY_SECONDS + plan.profile_s)
                reply_tokens = _reply_tokens(server.llm_metrics_url)
        vendors.send("end")  # they are used no more
        result: VendorResult = vendors.receive(READY_SECONDS)
    return RunResult(
        plan,
        measured(dict(enumerate(load.heard)), result.detections, window),
        used,
        max(0.0, core_s - sum(use.cpu_s for use in used.values())) if server_core is not None else 0.0,
        _within(load.lateness, start_ns, FRAME_NS / plan.calls, window),
        _within(result.lateness, start_ns, BEAT_NS, window),
        load.cpu_s,
        result.cpu_s,
        profiles,
        reply_tokens,
    )


def _reply_tokens(metrics_url: str) -> dict[str, float]:
    if not metrics_url:
        return {}
    with urllib.request.urlopen(metrics_url, timeout=READY_SECONDS) as response:
        text = response.read().decode()
    found = re.findall(r'^voice_reply_tokens_total{outcome="(\w+)"} (\S+)$', text, re.MULTILINE)
    return {outcome: float(count) for outcome, count in found}


def _watched(
    pids: Mapping[str, int], idle: Mapping[str, int], window: tuple[int, int], core: int | None
) -> tuple[dict[str, Use], float]:
    """Wait for the window's end; return the use of each process in it, and the total use of the core."""
    _sleep_until(window[0])
    core_before, before = core_seconds(core), {name: cpu_seconds(pid) for name, pid in pids.items()}
    _sleep_until(window[1])
    core_after, after = core_seconds(core), {name: cpu_seconds(pid) for name, pid in pids.items()}
    used = {name: Use(after[name] - before[name], idle[name], memory_bytes(pid)) for name, pid in pids.items()}
    return used, core_after - core_before


def _within(lateness: array[int], start_ns: int, step_ns: float, window: tuple[int, int]) -> array[int]:
    """Return the samples that were due within the window."""
    return lateness[int((window[0] - start_ns) / step_ns) : int((window[1] - start_ns) / step_ns)]


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))
