"""Defines the steps of a caller's script: JSON in files, dataclasses in tests.

A step that waits has a deadline.  When it passes, the step is marked as failed and the script continues.  After the
last step the caller hangs up.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

STEPS_MAX = 200
FILE_BYTES_MAX = 1_000_000
DEMO = Path(__file__).with_name("demo.json")
SPEECH = Path(__file__).with_name("speech")


class BadScript(ValueError):
    """The script names a step, field or recording that does not exist."""


@dataclass(frozen=True, slots=True)
class Say:
    """Speak a recording of `speech/`, whatever the agent does."""

    name: str


@dataclass(frozen=True, slots=True)
class WaitForAgent:
    """Wait until the agent has spoken after the caller's last word or key and then been silent for `silence_ms`."""

    silence_ms: float = 1000.0
    deadline_ms: float = 15_000.0


@dataclass(frozen=True, slots=True)
class BargeIn:
    """Wait until the agent has been audible for `after_ms` and still speaks, then speak a recording over it."""

    name: str
    after_ms: float = 1200.0
    deadline_ms: float = 15_000.0


@dataclass(frozen=True, slots=True)
class Wait:
    ms: float


@dataclass(frozen=True, slots=True)
class Press:
    """Press one key of the phone."""

    digit: str


@dataclass(frozen=True, slots=True)
class WaitForHangUp:
    """Wait for the agent to end the call."""

    deadline_ms: float = 15_000.0


@dataclass(frozen=True, slots=True)
class HangUp:
    pass


Step: TypeAlias = Say | WaitForAgent | BargeIn | Wait | Press | WaitForHangUp | HangUp
STEPS: dict[str, type[Step]] = {
    "say": Say,
    "wait-for-agent": WaitForAgent,
    "barge-in": BargeIn,
    "wait": Wait,
    "press": Press,
    "wait-for-hang-up": WaitForHangUp,
    "hang-up": HangUp,
}
NAMES = {step: name for name, step in STEPS.items()}


def read_script(path: Path) -> list[Step]:
    """Read a JSON file: a list of `{"do": step, field: value, ...}`.  Raises `BadScript`."""
    if path.stat().st_size > FILE_BYTES_MAX:
        raise BadScript(f"{path.name}: larger than {FILE_BYTES_MAX} bytes")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadScript(f"{path.name}: {error}") from error
    return read_steps(entries, path.name)


def read_steps(entries: Any, where: str) -> list[Step]:
    """Return the steps of parsed JSON; `where` begins the text of a `BadScript`."""
    if not isinstance(entries, list) or not 0 < len(entries) <= STEPS_MAX:
        raise BadScript(f"{where}: expected a list of 1 to {STEPS_MAX} steps")
    return [_step(entry, f"{where}: step {number}") for number, entry in enumerate(entries, 1)]


def _step(entry: Any, where: str) -> Step:
    if not isinstance(entry, dict) or entry.get("do") not in STEPS:
        raise BadScript(f'{where}: expected {{"do": ...}} with one of {", ".join(STEPS)}')
    step = STEPS[entry["do"]]
    values = {key: value for key, value in entry.items() if key != "do"}
    kinds = {field.name: field.type for field in fields(step)}
    for key, value in values.items():
        if key not in kinds:
            raise BadScript(f"{where}: {entry['do']} has no {key!r}, only {', '.join(kinds) or 'no fields'}")
        good = isinstance(value, str) if kinds[key] is str else type(value) in (int, float) and 0 <= value <= 3_600_000
        if not good:
            raise BadScript(f"{where}: {key} is {value!r}")
    try:
        return step(**values)
    except TypeError as error:
        raise BadScript(f"{where}: {error}") from error


def describe(step: Step) -> dict[str, Any]:
    """Return the step as its file has it."""
    return {"do": NAMES[type(step)], **asdict(step)}
