"""Defines a call of the built-in tool `collect_digits`: its arguments, and what the model is told afterwards.  Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from common.call.acts import ToolOutcome
from common.call.key_entry import KEYS_MAX, EntryOptions

TIMEOUT_S = 10
"""Default of the time in which the first key must come."""
BETWEEN_KEYS_MS = 4_000
"""How long the next key is waited for: a person who copies a number from a paper looks down in between."""

OTHER_ENTRY = "Not done: another entry was asked for."
SPOKE = "Not done: the caller spoke instead. Answer them; call it again if the digits are still wanted."
ONLY_KEYS = (
    "The caller spoke the digits. They count only if they are entered on the keys of the telephone: say so, and call it"
    " again in the same reply."
)


@dataclass(frozen=True, slots=True)
class Collection:
    """One call of `collect_digits` that waits for the caller: call `n` of reply `turn`."""

    turn: int
    n: int
    name: str
    """Unique in the call: a second entry of one name has a number behind it."""
    digits_min: int
    digits_max: int
    secret: bool
    finish_key: str
    timeout_s: int
    spoken_too: bool

    @property
    def entry(self) -> EntryOptions:
        """How the keys are entered."""
        return EntryOptions(self.digits_max, self.finish_key, 1000 * self.timeout_s, BETWEEN_KEYS_MS)

    def fits(self, count: int) -> bool:
        """Whether so many digits are as many as are wanted."""
        return self.digits_min <= count <= self.digits_max

    def result(self, digits: str, count: int) -> tuple[ToolOutcome, str]:
        """Outcome and words for the model after `count` digits were entered."""
        if not count:
            return ToolOutcome.TIMEOUT, "The caller entered nothing. Ask whether they need help."
        if not self.fits(count):
            wanted = f"{self.digits_min}" if self.digits_min == self.digits_max else f"at least {self.digits_min}"
            shown = "" if self.secret else f" ({digits})"
            return (
                ToolOutcome.FAILED,
                f"Too few digits: {count}{shown} of {wanted}. Ask the caller to try again.",
            )
        if self.secret:
            return ToolOutcome.DONE, f"{count} digits were entered; pass {{{{secret.{self.name}}}}} as the argument."
        return ToolOutcome.DONE, f"The digits are {digits}. Read them back one by one and ask whether they are right."


def collection(turn: int, n: int, arguments: str, names: set[str]) -> Collection:
    """The call with these arguments, which were checked against its schema; what is missing has its default.

    `names` are those of earlier secret entries.
    """
    values = _values(arguments)
    secret = values.get("secret") is True
    name = str(values.get("name") or "digits")
    length = _number(values.get("length"), 0)
    least = length or _number(values.get("min"), 1)
    most = length or max(least, _number(values.get("max"), KEYS_MAX))
    key = values.get("finish_key", "#")
    return Collection(
        turn,
        n,
        _unique(name, names) if secret else name,
        least,
        most,
        secret,
        key if key in ("#", "*", "") else "#",
        _number(values.get("timeout_s"), TIMEOUT_S),
        values.get("spoken_too") is not False,
    )


def _values(arguments: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and 0 < value <= KEYS_MAX else default


def _unique(name: str, names: set[str]) -> str:
    number = 1
    while (found := f"{name}_{number}" if number > 1 else name) in names:
        number += 1
    return found
