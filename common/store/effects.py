"""Defines side effects of a call as the call store records them; `common/call/once.py` explains their use."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum

EFFECTS_MAX = 500
"""Most effects of one call; one more is refused, because a call that wants so many is out of control."""
RESULT_CHARS_MAX = 16_384
"""Most characters of a result that is kept."""


class EffectState(StrEnum):
    """The recorded state of an effect, or the reason why it may not begin."""

    NEW = "new"
    """It may be done now, by the caller that got this answer."""
    BEGUN = "begun"
    """It was begun before, and has no result."""
    DONE = "done"
    FENCED = "fenced"
    """Another member owns the call by now."""
    FULL = "full"
    """The call has had `EFFECTS_MAX` effects."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One side effect: the `n`th of reply `turn`, or one with a name if it belongs to no reply."""

    call_id: str
    turn: int = 0
    n: int = 0
    name: str = ""
    attempt: str = field(default_factory=lambda: secrets.token_hex(8), compare=False)
    """Identifies this attempt: repeating it, because the answer was lost, does not count as a second begin."""

    @property
    def effect_id(self) -> str:
        """The id of the effect within its call."""
        return self.name or f"{self.turn}:{self.n}"

    @property
    def key(self) -> str:
        """The id of the effect in every process that ever tries it: an idempotency key for the other side."""
        return f"{self.call_id}:{self.effect_id}"


@dataclass(frozen=True, slots=True)
class Known:
    """The answer of the call store; `result` is there once the effect is done."""

    state: EffectState
    result: str = ""
