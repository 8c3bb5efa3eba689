"""Pins processes to cores and reads their CPU time and memory.  Linux only: /proc and sched_setaffinity."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def two_cores() -> tuple[int | None, int | None]:
    """Return (core of the server, core of everything else); both None if there is only one core."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Run this process and its children on `core` only; None changes nothing."""
    if core is not None:
        os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def children_on(core: int | None) -> Iterator[None]:
    """Run the processes that are started in the block on `core`."""
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its threads in s: to the ns where the kernel counts so, else to the tick."""
    running = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has just ended
            running += int(thread.read_text().split()[0])
    if running:
        return running / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def core_seconds(core: int | None) -> float:
    """Return the busy time of a core (None: of all) in s since the machine started, by all programs."""
    name = "cpu" if core is None else f"cpu{core}"
    for line in Path("/proc/stat").read_text().splitlines():
        fields = line.split()
        if fields[0] == name:
            return sum(map(int, fields[1:4])) / _TICKS_PER_S
    return 0.0


def memory_bytes(pid: int) -> int:
    """Return the memory of a process in bytes: its share (PSS) where the kernel reports it, else its resident set."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def wake_ups(pid: int) -> int:
    """Return how often a process and its threads have slept and were woken: the voluntary context switches."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            lines = status.read_text().splitlines()
            found += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return found
