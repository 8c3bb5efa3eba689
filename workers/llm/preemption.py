"""Bounds how many preemptive replies of a call are generated in vain.  Pure.

A reply that is released costs nothing more than one that was begun later, so only discarded ones count.  Those begun on
interim words count by themselves: they are in vain more often, and must not use up the ones on the provider's signal.
The event log has what is needed: the next owner of the call goes on with the same count.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many replies may be discarded: in one turn of the caller, and in a minute of one call."""

    per_turn: int
    per_minute: int


ON_SIGNAL = Allowance(4, 12)
"""Of the replies begun on the provider's signal; then they wait for the end of the turn, or until a minute is over."""
ON_INTERIMS = Allowance(2, 6)
"""Of those begun on interim words; then they wait for the provider's signal."""


class PreemptionBudget:
    """The discarded preemptive replies of one kind in one call.  Times are wall clock ms of the call's events."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._discarded_ms: deque[int] = deque(maxlen=allowance.per_minute)
        self._in_turn = 0

    def allows(self, now_ms: int) -> bool:
        """Whether another preemptive reply may be begun."""
        if self._in_turn >= self._allowance.per_turn:
            return False
        full = len(self._discarded_ms) == self._allowance.per_minute
        return not full or now_ms - self._discarded_ms[0] >= MINUTE_MS

    def discard(self, begun_ms: int, turn_open: bool) -> None:
        """Take note that a reply that was begun at `begun_ms` was discarded, before or after its turn was over."""
        self._discarded_ms.append(begun_ms)
        self._in_turn += turn_open

    def end_turn(self) -> None:
        """Take note that the caller's turn is over."""
        self._in_turn = 0
