"""The measured constants: read, written, and taken out of a result of `python -m benchmarks.answers`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.answers.servers import REDIS, STACK

FILE = Path(__file__).with_name("constants.json")
ROLES = ("edge", "stt", "llm", "tts")
DIGITS = 3
"""Significant digits that are kept: identical runs differ by more."""


class NoConstants(ValueError):
    """The result holds no run that constants can be taken from; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What a call costs; by process: the four roles, and "valkey".

    `cores_per_call`: shares of a core of the machine that was measured.  `ratio`: the whole in multiples of the plain
    forwarder, which carries over to other machines.  Bytes a second, per call: `carrier_*` seen from the edge.
    """

    command: str
    commit: str
    date: str
    cpus: int
    calls: int
    call_s: float
    ratio: float | None
    cores_per_call: Mapping[str, float]
    idle_mb: Mapping[str, float]
    mb_per_call: Mapping[str, float]
    redis_commands_per_s: float
    redis_in_bytes_per_s: float
    redis_out_bytes_per_s: float
    redis_bytes_per_call: float
    carrier_in_bytes_per_s: float
    carrier_out_bytes_per_s: float


def read(file: Path = FILE) -> Constants:
    """Return the constants of the repository."""
    return Constants(**json.loads(file.read_text("utf-8")))


def write(constants: Constants, file: Path = FILE) -> None:
    """Replace the constants of the repository."""
    file.write_text(json.dumps(asdict(constants), indent=1) + "\n", "utf-8")


def taken_from(document: Mapping[str, Any]) -> Constants:
    """Take the constants from the busiest valid run of the stack with calls that end.  Raises NoConstants."""
    runs = [run for run in document["runs"] if run["calls"] and run["call_s"] and not run["void"]]
    stack = [run for run in runs if run["server"] == STACK and not run["tls"]]
    if not stack:
        raise NoConstants("no run of the stack with --call-s that is not VOID")
    run = max(stack, key=lambda run: run["calls"] if run["core_share"] < CORE_SHARE_MAX else -run["core_share"])
    around, redis = document["around"], run["redis_per_call_s"]
    names = (*ROLES, REDIS)
    return Constants(
        command=around["command"],
        commit=around["commit"],
        date=around["date"],
        cpus=around["cpus"],
        calls=run["calls"],
        call_s=run["call_s"],
        ratio=_short(run["ratios"]["cpu"]) if "ratios" in run else None,
        cores_per_call={name: _short(run["cpu_by_process"][name] / 60) for name in names},
        idle_mb={name: _short(run["idle_mb"][name]) for name in names},
        mb_per_call={name: _short(max(0.0, run["memory_by_process"][name])) for name in names},
        redis_commands_per_s=_short(redis["commands"]),
        redis_in_bytes_per_s=_short(redis["in_bytes"]),
        redis_out_bytes_per_s=_short(redis["out_bytes"]),
        redis_bytes_per_call=_short(max(0.0, redis["used_bytes"] * run["seconds"])),
        carrier_in_bytes_per_s=_short(run["carrier_in_bytes_per_call_s"]),
        carrier_out_bytes_per_s=_short(run["carrier_out_bytes_per_call_s"]),
    )


CORE_SHARE_MAX = 0.95
"""A full core does more for each wake-up, so that its calls seem too cheap."""


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
