"""Judges a soak run.  Pure: samples in, lines of the table out.

Memory.  Growth is the median of the slopes between all pairs of samples after the warm-up (Theil and Sen: a third of
the samples may be peaks without moving it), times the time between the first and the last of them, as a share of their
median.

Everything else.  Counted before the first call and after the last one, and none may be higher at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from statistics import median

GROWTH_MAX = 0.02
"""Largest growth as a share of the median, from the end of the warm-up to the end of the run."""
SAMPLES_MIN = 10
FILL_SHARE, FULL_SHARE = 0.1, 0.95
"""Streams of a fixed length matter from a tenth of used_memory on, and are full at 95 % of their maximum."""
REDIS = "redis"
"""The name of the Redis process."""
LATE_MS_MAX = 100.0
"""Largest p99 lateness of the callers' frames; beyond it the run is VOID."""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One sample of a process.  -1 stands for an unknown value."""

    rss_bytes: int = -1
    descriptors: int = -1
    threads: int = -1
    tasks: int = -1
    calls: int = -1


@dataclass(frozen=True, slots=True)
class RedisSample:
    """One sample of Redis.  `keys` are counted by kind: the name without the parts that differ between calls."""

    used_bytes: int = 0
    bounded_bytes: int = 0
    """Part of `used_bytes` in the edges' and pools' streams, which fill up to a fixed length."""
    clients: int = 0
    consumers: int = 0
    pending: int = 0
    keys: Mapping[str, int] = field(default_factory=dict)

    @property
    def key_count(self) -> int:
        return sum(self.keys.values())


@dataclass(frozen=True, slots=True)
class Sample:
    """All values at one time, `at_s` seconds after the first call."""

    at_s: float
    processes: Mapping[str, ProcessSample]
    redis: RedisSample


@dataclass(frozen=True, slots=True)
class Calls:
    """Totals of the calls and sentences of all callers."""

    over: int = 0
    abandoned: int = 0
    """Number of calls whose caller disappeared."""
    died: int = 0
    turns: int = 0
    unanswered: int = 0
    wrong: int = 0
    """Repeated or torn parts, words of another call, and unreadable audio."""
    lateness_p99_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.  `verdict` is PASS, FAIL or VOID."""

    title: str
    start: str
    end: str
    found: str
    verdict: str


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil-Sen: the median of the slopes between all pairs of points; 0 if there are no two."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0]]
    return median(slopes) if slopes else 0.0


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Return the growth from the first point to the last by the slope, as a share of the median."""
    if len(points) < 2:
        return 0.0
    middle = median(value for _, value in points)
    return slope(points) * (points[-1][0] - points[0][0]) / middle if middle else 0.0


def filled_s(samples: Sequence[Sample]) -> float:
    """Return the time at which the streams of a fixed length were full; 0 if they are too small to matter.

    Until then the growth of Redis and its allocator is expected and cannot be subtracted.
    """
    largest = max((sample.redis.bounded_bytes for sample in samples), default=0)
    if not samples or largest < FILL_SHARE * samples[-1].redis.used_bytes:
        return 0.0
    return next(sample.at_s for sample in samples if sample.redis.bounded_bytes >= FULL_SHARE * largest)


def judge(samples: Sequence[Sample], ends: tuple[Sample, Sample], warm_up_s: float, calls: Calls) -> list[Line]:
    """Return every line.  `ends` are the samples before the first and after the last call, in quiet times."""
    before, after = ends
    late = [sample for sample in samples if sample.at_s >= warm_up_s]
    lines = _of_calls(calls)
    full = [sample for sample in late if sample.at_s >= filled_s(samples)]
    for name in before.processes:
        sizes = [(s.at_s, s.processes[name].rss_bytes) for s in (full if name == REDIS else late)]
        lines.append(_memory(f"{name}: memory", sizes))
    lines.append(_memory("Redis: used_memory", [(s.at_s, s.redis.used_bytes) for s in full]))
    for name, first in before.processes.items():
        last = after.processes[name]
        for what in ("descriptors", "threads", "tasks"):
            if getattr(first, what) >= 0:
                lines.append(_back(f"{name}: {what}", getattr(first, what), getattr(last, what)))
    for what, attribute in (("keys", "key_count"), ("consumers", "consumers"), ("offers pending", "pending")):
        lines.append(_back(f"Redis: {what}", getattr(before.redis, attribute), getattr(after.redis, attribute)))
    lines.append(_back("Redis: clients", before.redis.clients, after.redis.clients))
    return lines


def highest(looks: Sequence[Sample]) -> Sample:
    """Return the highest count of each kind over some samples in quiet times: flickering counts are no growth."""
    processes = {
        name: ProcessSample(
            *(max(getattr(look.processes[name], item.name) for look in looks) for item in fields(ProcessSample))
        )
        for name in looks[0].processes
    }
    kinds = {kind for look in looks for kind in look.redis.keys}
    numbers = [max(getattr(look.redis, item.name) for look in looks) for item in fields(RedisSample)[:-1]]
    redis = RedisSample(*numbers, {kind: max(look.redis.keys.get(kind, 0) for look in looks) for kind in kinds})
    return Sample(looks[-1].at_s, processes, redis)


def of_calls(sample: Sample) -> bool:
    """Return whether there is still a call, or a key of one."""
    held = any(process.calls > 0 for process in sample.processes.values())
    return held or any(kind.startswith("call:") for kind in sample.redis.keys)


def still_up(before: Sample, after: Sample) -> list[str]:
    """Return the names of counts that have not come back to the start."""
    found = [f"key {kind}" for kind, count in after.redis.keys.items() if count > before.redis.keys.get(kind, 0)]
    for what in ("consumers", "pending", "clients"):
        if getattr(after.redis, what) > getattr(before.redis, what):
            found.append(f"Redis {what}")
    for name, first in before.processes.items():
        last = after.processes[name]
        for what in ("descriptors", "threads", "tasks", "calls"):
            if getattr(last, what) > getattr(first, what) >= 0:
                found.append(f"{name} {what}")
    return found


def left_keys(before: Sample, after: Sample) -> dict[str, int]:
    """Return the keys that stayed, by kind."""
    more = {kind: count - before.redis.keys.get(kind, 0) for kind, count in after.redis.keys.items()}
    return {kind: count for kind, count in sorted(more.items()) if count > 0}


def _of_calls(calls: Calls) -> list[Line]:
    if calls.lateness_p99_ms > LATE_MS_MAX:
        verdict = "VOID"
    else:
        verdict = "PASS" if calls.over and not (calls.died or calls.unanswered or calls.wrong) else "FAIL"
    found = f"{calls.died} died, {calls.unanswered} of {calls.turns} sentences unanswered, {calls.wrong} wrong"
    return [Line("calls", "0", f"{calls.over} ({calls.abandoned} abandoned)", found, verdict)]


def _memory(title: str, points: Sequence[tuple[float, float]]) -> Line:
    if len(points) < SAMPLES_MIN:
        return Line(title, "", "", f"{len(points)} samples after the warm-up", "VOID")
    edge = max(1, len(points) // 10)
    first, last = (median(value for _, value in part) for part in (points[:edge], points[-edge:]))
    gained = growth(points)
    verdict = "PASS" if gained < GROWTH_MAX else "FAIL"
    return Line(title, _mib(first), _mib(last), f"{gained:+.2%}", verdict)


def _back(title: str, before: int, after: int) -> Line:
    return Line(title, str(before), str(after), f"{after - before:+d}", "PASS" if after <= before else "FAIL")


def _mib(value: float) -> str:
    return f"{value / 2**20:.1f} MiB"
