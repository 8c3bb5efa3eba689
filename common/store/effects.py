"""The names for a side effect of a call, as the ledger keeps it; `common/call/once.py` says what for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum

EFFECTS_MAX = 500
"""Effects of one call; one more is refused: a call that wants so many has lost its way."""
RESULT_CHARS_MAX = 16_384
"""Of a result that is kept."""


class EffectState(StrEnum):
    """What the ledger knows of an effect."""

    NEW = "new"
    """It is ours to do, now."""
    BEGUN = "begun"
    """Somebody began it, and has not said how it ended."""
    DONE = "done"
    FENCED = "fenced"
    """Another member holds the call by now."""
    FULL = "full"
    """The call has had `EFFECTS_MAX` of them."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One side effect: of turn `turn` the `n`th, or by a name of its own where no turn asked for it."""

    call_id: str
    turn: int = 0
    n: int = 0
    name: str = ""
    attempt: str = field(default_factory=lambda: secrets.token_hex(8), compare=False)
    """Ours: to begin again because the answer was lost is not to begin twice."""

    @property
    def effect_id(self) -> str:
        """What tells it from the call's others."""
        return self.name or f"{self.turn}:{self.n}"

    @property
    def key(self) -> str:
        """The same for everybody who ever tries this effect: an idempotency key for the other side."""
        return f"{self.call_id}:{self.effect_id}"


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger answers; `result` is there once the effect is done."""

    state: EffectState
    result: str = ""
