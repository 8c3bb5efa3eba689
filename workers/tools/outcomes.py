"""Puts the end of a call of a tool into words for the model, and into the text that its effect keeps.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.call.acts import ToolOutcome

KEPT_CHARS_MAX = 16_000
"""Most characters of a result that are kept with its effect; below `RESULT_CHARS_MAX` (common/store/effects.py)."""
MODEL_CHARS_MAX = 8_000
"""Most characters of a result that the model is told."""
CUT = "\n[cut: the result had {count:,} characters]"
SECRET_CHARS_MIN = 4
"""Shorter values are not looked for in results: they are in every text."""
HIDDEN = "[secret]"

UNKNOWN = "The outcome is unknown: it may or may not have been done. Say so, do not try again."
EMPTY = "Done. There is no further answer."
TOO_MANY = "This call has used too many tools. Go on without one, and say so."


@dataclass(frozen=True, slots=True)
class ToolResult:
    """How a call of a tool ended, and what the model is told of it."""

    outcome: ToolOutcome
    text: str


def no_such_tool(name: str) -> str:
    """The text about a tool that is not there; the name is the model's own."""
    return f"There is no tool named {name[:64]!r}. Do without it, or use one that you were given."


def late(seconds: float, *, harmless: bool) -> str:
    """The text about a tool that did not answer in time; `harmless`: it may be tried again."""
    after = "You may try it once more." if harmless else "It may or may not have been done: say so, do not try again."
    return f"The tool did not answer within {seconds:g} seconds. {after}"


def cut(text: str, chars_max: int) -> str:
    """The text, at most `chars_max` characters of it, with a mark where it was cut."""
    if len(text) <= chars_max:
        return text
    mark = CUT.format(count=len(text))
    return text[: max(chars_max - len(mark), 0)] + mark


def to_effect(result: ToolResult) -> str:
    """The text that is kept with the effect."""
    return f"{result.outcome.value}\n{cut(result.text, KEPT_CHARS_MAX)}"


def from_effect(text: str) -> ToolResult:
    """The result in a text of `to_effect`; of another release or program: whatever it promises least."""
    outcome, _, rest = text.partition("\n")
    known = ToolOutcome.of(outcome)
    return ToolResult(known, rest or (UNKNOWN if known is ToolOutcome.UNKNOWN else EMPTY))


def for_model(result: ToolResult) -> str:
    """What the model is told."""
    return cut(result.text.strip() or EMPTY, MODEL_CHARS_MAX)


def without(text: str, secrets: Iterable[str]) -> str:
    """The text without these values, the longest first."""
    for secret in sorted({one for one in secrets if len(one) >= SECRET_CHARS_MIN}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
