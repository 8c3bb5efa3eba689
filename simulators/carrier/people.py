"""Defines callees: the behaviour of a person or machine when a number is called.  Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from simulators.script import BadScript, Step, WaitForHangUp, read_steps

DOES = ("answers", "machine", "busy", "no-answer", "rejects", "unallocated", "fails")
CAUSE_OF = {"busy": 3010, "rejects": 3020, "unallocated": 3050, "no-answer": 6010}
STAYS: tuple[Step, ...] = (WaitForHangUp(deadline_ms=3_600_000.0),)
PEOPLE_MAX = 10_000
TURNS_MAX = 100


class BadCallee(ValueError):
    """The definition of a callee is invalid; the text names the field."""


@dataclass(frozen=True, slots=True)
class Callee:
    """The behaviour of one number in one call."""

    does: str = "answers"
    """One of `DOES`; `machine` answers, and machine detection recognises it."""
    ring_ms: float = 0.0
    """Time from the first ring to `does`."""
    code: int = 3080
    """Hangup cause code of `fails`."""
    script: tuple[Step, ...] = STAYS
    """Performed on the media stream; by default the callee listens until the agent hangs up."""
    digits: str = ""
    """Keys pressed when a `<Gather>` asks, in order; `,` ends one answer."""
    says: tuple[str, ...] = ()
    """Words spoken when a `<Gather>` listens, one after the other."""
    talk_ms: float = 3000.0
    """Speaking time as the other leg of a `<Dial>`, in a `<Conference>` or into a `<Record>`."""
    detect_ms: float = 1000.0
    """Time from the answer to the result of machine detection."""
    hangs_up_after_ms: float | None = None
    """Hang up this long after the answer, whatever the document does."""

    asked_early: bool = False
    """Fetch the answer URL although the callee does not answer; users saw this at the real carrier."""

    def __post_init__(self) -> None:
        if self.does not in DOES:
            raise BadCallee(f"does: expected one of {', '.join(DOES)}")


@dataclass(slots=True)
class People:
    """Callees by number; a number with several uses them in turn, and the last one for all later calls."""

    default: Callee = field(default_factory=Callee)
    _table: dict[str, deque[Callee]] = field(default_factory=dict)

    def put(self, number: str, callees: Sequence[Callee]) -> None:
        if not callees or len(callees) > TURNS_MAX or len(self._table) >= PEOPLE_MAX:
            raise BadCallee(f"1 to {TURNS_MAX} callees for a number, and at most {PEOPLE_MAX} numbers")
        self._table[digits_of(number)] = deque(callees)

    def next_for(self, number: str) -> Callee:
        """Return the callee of this call to `number`."""
        queue = self._table.get(digits_of(number))
        if queue is None:
            return self.default
        return queue.popleft() if len(queue) > 1 else queue[0]


def digits_of(number: str) -> str:
    """Reduce `+91 12345 67890`, `911234567890` and `01234567890` to digits; a SIP address stays unchanged."""
    return number if number.startswith("sip:") else "".join(char for char in number if char.isdigit())


def read_callee(entry: Mapping[str, Any]) -> Callee:
    """Read a callee from JSON; `script` is a list of steps as in a script file.  Raises `BadCallee`."""
    kinds = {field.name: field.type for field in fields(Callee)}
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "number":
            continue
        if key not in kinds:
            raise BadCallee(f"no {key!r}, only {', '.join(kinds)}")
        if key == "script":
            try:
                values[key] = tuple(read_steps(value, "script"))
            except BadScript as error:
                raise BadCallee(str(error)) from error
        elif key == "says":
            values[key] = tuple(str(text) for text in value)
        elif key in ("does", "digits"):
            values[key] = str(value)
        elif (key == "asked_early" and isinstance(value, bool)) or (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3_600_000
        ):
            values[key] = value
        else:
            raise BadCallee(f"{key}: expected a number from 0 to 3600000")
    return Callee(**values)
