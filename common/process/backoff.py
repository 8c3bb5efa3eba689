"""Computes the pauses between repeated attempts: growing, bounded and spread at random.  Pure.

Capped exponential back-off, as in M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015:

    whole_s = min(longest_s, first_s * factor ** repetition)
    pause_s = whole_s * (1 - jitter * r), r being random from [0, 1)

`jitter` 1 is that article's "full jitter", 0.5 its "equal jitter".  Whoever repeats something counts the repetitions,
and sets the count to 0 to begin again at the first pause.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """The first and the longest pause in seconds, the growth, and the share of each pause that is random (0 to 1).

    No pause is longer than `longest_s`, or shorter than `first_s * (1 - jitter)`.  Raises ValueError.
    """

    first_s: float
    longest_s: float
    factor: float = 2.0
    jitter: float = 0.0
    random: Callable[[], float] = field(default=random.random, repr=False, compare=False)
    """Returns a number from [0, 1)."""

    def __post_init__(self) -> None:
        if not (0 < self.first_s <= self.longest_s and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ValueError(f"expected 0 < first_s <= longest_s, factor >= 1 and 0 <= jitter <= 1: {self}")

    def pause_s(self, repetition: int) -> float:
        """Seconds to wait before the attempt with this number; 0 is the first repetition."""
        try:
            whole_s = min(self.longest_s, self.first_s * float(self.factor) ** repetition)
        except OverflowError:
            whole_s = self.longest_s
        return whole_s * (1 - self.jitter * self.random()) if self.jitter else whole_s
