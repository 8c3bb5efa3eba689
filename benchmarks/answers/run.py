"""Carries out one run: vendors and callers on one core, the server on the other."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.answers.cores import core_seconds, cpu_seconds, memory_bytes, two_cores, wake_ups
from benchmarks.answers.hearing import Figures, measured
from benchmarks.answers.load import LoadPlan, LoadResult, load_main
from benchmarks.answers.plan import AGENTS, FRAME_NS, Pace, pace_of, the_agent
from benchmarks.answers.profiles import Profile, profiled
from benchmarks.answers.scrapes import Scrape, scrape
from benchmarks.answers.servers import ServerPlan, ServerUnderTest, certificate, serving
from benchmarks.answers.vendors import BEAT_NS, VendorPlan, VendorResult, vendors_main
from benchmarks.children import Child, child

READY_SECONDS = 60.0
LEAD_NS = 500_000_000
TAIL_NS = 3_000_000_000
"""Time within which a speech that ends in the window must be answered."""
SETTLE_SECONDS = 3.0
"""Between the start of the processes and the window of a run without calls."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`server` is one of benchmarks.answers.servers; 0 calls measure the idle server; `profile_s` 0 makes no profile.

    Calls begin spread over `ramp_s`.  With `call_s` 0 they last to the end, and the window begins `warm_up_s` after the
    ramp.  Else each ends after `call_s` and the next begins; the window follows the ramp, so that a window of `call_s`
    holds one beginning and one end for each call.
    """

    server: str
    calls: int
    seconds: float
    settings: Mapping[str, str] = field(default_factory=dict)
    profile_s: float = 0.0
    warm_up_s: float = 4.0
    call_s: float = 0.0
    ramp_s: float = 0.0
    tls: bool = False
    """The vendors' sockets are wss:// and https://."""
    aof: bool = False
    interim_ms: int = Pace().interim_ms
    """Audio per interim result of the recogniser."""
    pause_ms: int = 0
    """Pause in the middle of each speech."""
    case: str = ""
    """Which of the bars it is for (bars.py)."""

    @property
    def agents(self) -> Path:
        """The folder of the agent that answers."""
        return Path(self.settings.get("AGENTS_DIR", AGENTS))

    @property
    def pace(self) -> Pace:
        """The vendors' latencies with this agent."""
        return replace(pace_of(the_agent(self.agents)), interim_ms=self.interim_ms, pause_ms=self.pause_ms)

    def window(self, start_ns: int) -> tuple[int, int]:
        """Return begin and end of what is measured, if the first call begins at `start_ns`."""
        begin_ns = start_ns + int((self.ramp_s + (0 if self.call_s else self.warm_up_s)) * 1e9)
        return begin_ns, begin_ns + int(self.seconds * 1e9)


@dataclass(frozen=True, slots=True)
class Use:
    """Resources of one process in the window: CPU seconds, wake-ups; bytes before the calls, bytes at the end."""

    cpu_s: float
    idle_bytes: int
    busy_bytes: int
    wake_ups: int = 0


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
    stages_ms: dict[str, float] = field(default_factory=dict)
    """Means of the stack's own histograms."""
    redis: dict[str, float] = field(default_factory=dict)
    """Growth of Redis's counters in the window."""
    set_up_ns: tuple[int, ...] = ()
    refused: int = 0
    reply_tokens: Mapping[str, float] = field(default_factory=dict)
    """Tokens that the stack's model streamed in the window, `used` and `wasted`; empty without that count."""
    tokens: int = 0
    """Tokens that the model sent in the window."""
    carrier_bytes: tuple[int, int] = (0, 0)
    """Sent to the server and received from it on the media sockets, in the whole run."""


def run(plan: RunPlan) -> RunResult:
    """Carry out the run.  Raises ChildFailed, StackError or NoCertificate."""
    server_core, load_core = two_cores()
    agent = the_agent(plan.agents)
    pace = plan.pace
    with certificate(plan.tls) as pem, child("vendors", vendors_main, VendorPlan(pace, load_core, pem)) as vendors:
        url = vendors.receive(READY_SECONDS)
        asked = ServerPlan(url, pace.endpoint_ms, server_core, agent.greeting, plan.settings, plan.aof)
        with serving(plan.server, asked) as server:
            idle = {name: memory_bytes(pid) for name, pid in server.pids.items()}
            watch = _Watch(server, idle, server_core)
            if not plan.calls:
                return _idle(plan, watch, vendors)
            with child("callers", load_main, _load(plan, server, load_core)) as callers:
                callers.receive(READY_SECONDS)
                start_ns = time.monotonic_ns() + LEAD_NS
                window = plan.window(start_ns)
                vendors.send(start_ns)
                callers.send((start_ns, window[1] + TAIL_NS + int(plan.profile_s * 1e9)))
                watch.over(window)
                profiles = profiled(server.pids, plan.profile_s) if plan.profile_s else {}
                load: LoadResult = callers.receive(READY_SECONDS + plan.profile_s)
        vendors.send("end")  # they are used no more
        result: VendorResult = vendors.receive(READY_SECONDS)
    return _result(plan, watch, window, start_ns, load, result, profiles)


def _load(plan: RunPlan, server: ServerUnderTest, core: int | None) -> LoadPlan:
    return LoadPlan(server.answer_url, plan.calls, core, plan.call_s, plan.ramp_s, plan.pause_ms)


def _idle(plan: RunPlan, watch: _Watch, vendors: Child) -> RunResult:
    """Measure the server without a call."""
    start_ns = time.monotonic_ns() + int(SETTLE_SECONDS * 1e9)
    vendors.send(start_ns)
    watch.over((start_ns, start_ns + int(plan.seconds * 1e9)))
    vendors.send("end")
    result: VendorResult = vendors.receive(READY_SECONDS)
    late: array[int] = array("q", [0])
    redis = watch.after.redis_since(watch.before)
    return RunResult(plan, Figures(), watch.used, watch.strangers_s, late, late, 0.0, result.cpu_s, {}, redis=redis)


def _result(
    plan: RunPlan,
    watch: _Watch,
    window: tuple[int, int],
    start_ns: int,
    load: LoadResult,
    vendors: VendorResult,
    profiles: dict[str, Profile],
) -> RunResult:
    return RunResult(
        plan,
        measured(load.heard, vendors.detections, window),
        watch.used,
        watch.strangers_s,
        _within(load.lateness, start_ns, FRAME_NS / plan.calls, window),
        _within(vendors.lateness, start_ns, BEAT_NS, window),
        load.cpu_s,
        vendors.cpu_s,
        profiles,
        watch.after.means_ms(watch.before),
        watch.after.redis_since(watch.before),
        tuple(took for _, took in load.set_up),
        len(load.refused),
        watch.after.tokens_since(watch.before),
        sum(window[0] <= sent < window[1] for sent in vendors.tokens),
        (load.sent_bytes, load.received_bytes),
    )


class _Watch:
    """Reads the counters of the server's processes at the beginning and at the end of the window."""

    def __init__(self, server: ServerUnderTest, idle: Mapping[str, int], core: int | None) -> None:
        self._server = server
        self._idle = idle
        self._core = core
        self.before = self.after = Scrape()
        self.used: dict[str, Use] = {}
        self.strangers_s = 0.0

    def over(self, window: tuple[int, int]) -> None:
        """Wait for the window and its end."""
        pids = self._server.pids
        _sleep_until(window[0])
        self.before = self._scrape()
        core_before, before = core_seconds(self._core), {name: _counters(pid) for name, pid in pids.items()}
        _sleep_until(window[1])
        core_after, after = core_seconds(self._core), {name: _counters(pid) for name, pid in pids.items()}
        self.used = {
            name: Use(
                after[name][0] - before[name][0],
                self._idle[name],
                memory_bytes(pid),
                after[name][1] - before[name][1],
            )
            for name, pid in pids.items()
        }
        self.after = self._scrape()
        if self._core is not None:
            self.strangers_s = max(0.0, core_after - core_before - sum(use.cpu_s for use in self.used.values()))

    def _scrape(self) -> Scrape:
        urls = self._server.metrics_urls
        return scrape(urls.get("edge", ""), urls.get("llm", ""), self._server.redis_url)


def _counters(pid: int) -> tuple[float, int]:
    return cpu_seconds(pid), wake_ups(pid)


def _within(lateness: array[int], start_ns: int, step_ns: float, window: tuple[int, int]) -> array[int]:
    """Return the samples that were due within the window."""
    return lateness[int((window[0] - start_ns) / step_ns) : int((window[1] - start_ns) / step_ns)]


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))
