"""The people (and machines) at the other end: what a number does when it is called.  Pure."""

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
    """What a callee is told to do makes no sense; the text says which field."""


@dataclass(frozen=True, slots=True)
class Callee:
    """What one number does with one call."""

    does: str = "answers"
    """One of `DOES`; `machine` answers and is found out by machine detection."""
    ring_ms: float = 0.0
    """Time from ringing to what it does."""
    code: int = 3080
    """Hangup cause code of `fails`."""
    script: tuple[Step, ...] = STAYS
    """Performed on the media stream; by default the callee listens until the agent hangs up."""
    digits: str = ""
    """Keys pressed when a `<Gather>` asks, in order; `,` ends one answer."""
    says: tuple[str, ...] = ()
    """Words spoken when a `<Gather>` listens, one after the other."""
    talk_ms: float = 3000.0
    """How long this person talks as the other leg of a `<Dial>`, in a `<Conference>` or into a `<Record>`."""
    detect_ms: float = 1000.0
    """When machine detection has made up its mind."""
    hangs_up_after_ms: float | None = None
    """Hang up this long after the answer, whatever the document is doing."""

    asked_early: bool = False
    """The answer URL is fetched although this person does not answer; others saw that on the real line."""

    def __post_init__(self) -> None:
        if self.does not in DOES:
            raise BadCallee(f"does: expected one of {', '.join(DOES)}")


@dataclass(slots=True)
class People:
    """Who answers which number; a number with several callees behaves differently at each call, the last one stays."""

    default: Callee = field(default_factory=Callee)
    _table: dict[str, deque[Callee]] = field(default_factory=dict)

    def put(self, number: str, callees: Sequence[Callee]) -> None:
        if not callees or len(callees) > TURNS_MAX or len(self._table) >= PEOPLE_MAX:
            raise BadCallee(f"1 to {TURNS_MAX} callees for a number, and at most {PEOPLE_MAX} numbers")
        self._table[digits_of(number)] = deque(callees)

    def next_for(self, number: str) -> Callee:
        """Who takes this call to `number`."""
        queue = self._table.get(digits_of(number))
        if queue is None:
            return self.default
        return queue.popleft() if len(queue) > 1 else queue[0]


def digits_of(number: str) -> str:
    """`+91 12345 67890`, `911234567890` and `01234567890`'s own digits; a SIP address stays as it is."""
    return number if number.startswith("sip:") else "".join(char for char in number if char.isdigit())


def read_callee(entry: Mapping[str, Any]) -> Callee:
    """A callee from JSON; `script` is a list of steps as in a script file.  Raises `BadCallee`."""
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
