"""Profiles processes by py-spy from outside, if it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

RATE = 200
STOP_SECONDS = 20.0
TOP = 12
_BELOW_ALL = re.compile(r"runpy|runners\.py|base_events\.py|events\.py|common/node\.py|__main__\.py|\(<string>\)")
"""Frames at the root of every stack, which are left out."""
_FRAME = re.compile(r"(?P<name>.+) \((?P<file>[^()]*?):\d+\)")


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares of the samples in which Python ran: in the function itself, and including its callees.

    Time that uvloop spends in the kernel's socket calls counts for the function that made the call.
    """

    samples: int
    own: tuple[tuple[str, float], ...]
    whole: tuple[tuple[str, float], ...]


def py_spy() -> str | None:
    """Return the path of py-spy, beside this Python or on PATH; None without it."""
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


def profiled(pids: Mapping[str, int], seconds: float) -> dict[str, Profile]:
    """Profile all Python processes at once.  Empty without py-spy or without the right to use it."""
    program = py_spy()
    if program is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="voice-profile-") as folder:
        options = [
            "--duration",
            str(max(1, round(seconds))),
            "--rate",
            str(RATE),
            "--format",
            "raw",
            "--gil",
            "--nonblocking",
        ]
        running = {
            name: subprocess.Popen(
                [program, "record", "--pid", str(pid), *options, "--output", f"{folder}/{name}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name, pid in pids.items()
            if name != "valkey"
        }
        for process in running.values():
            _ended(process, seconds + STOP_SECONDS)
        files = {name: Path(folder, name) for name in running}
        return {name: folded(file.read_text().splitlines()) for name, file in files.items() if file.exists()}


def folded(stacks: Iterable[str]) -> Profile:
    """Read a profile of lines "outermost;...;innermost count"."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    samples = 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if not count.isdecimal():
            continue
        frames = [_short(frame) for frame in stack.split(";") if _FRAME.fullmatch(frame)]
        if not frames:
            continue
        samples += int(count)
        own[frames[-1]] += int(count)
        for name in set(frames):
            if not _BELOW_ALL.search(name):
                whole[name] += int(count)
    return Profile(samples, _top(own, samples), _top(whole, samples))


def _top(counts: Counter[str], samples: int) -> tuple[tuple[str, float], ...]:
    return tuple((name, count / samples) for name, count in counts.most_common(TOP))


def _short(frame: str) -> str:
    """ "publish (common/bus/redis.py)": without the line, and the file's last three parts only."""
    found = _FRAME.fullmatch(frame)
    assert found is not None
    return f"{found['name']} ({'/'.join(Path(found['file']).parts[-3:])})"


def _ended(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
