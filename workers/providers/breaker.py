"""When to leave a provider alone.  Pure: `now` is passed in, in seconds of any one clock.

    CLOSED ──FAILURES_MAX failures in a row──▶ OPEN ──cooldown──▶ PROBING ──it works──▶ CLOSED
       ▲                                        ▲                    │
       └────────────── it works ────────────────┴── it fails: the cooldown is doubled

A provider that is busy is well: it is left alone for a moment, and nothing is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FAILURES_MAX = 3
BUSY_S = 1.0
COOLDOWN_S = (5.0, 60.0)
"""The first and the longest cooldown."""
PROBE_S_MAX = 30.0
"""A probe that nobody heard of again does not keep the provider away for ever."""


class BreakerState(Enum):
    """The value is what the metric `voice_provider_state` shows."""

    CLOSED = 0
    PROBING = 1
    OPEN = 2


@dataclass(slots=True)
class Breaker:
    """One provider's.  Ask `allows`, say `begun`, then `worked`, `failed`, `busy` or `left` (nothing was learnt)."""

    _failures: int = 0
    _cooldown_s: float = COOLDOWN_S[0]
    until: float = 0.0
    """Not before this time, unless there is nobody else."""
    state: BreakerState = BreakerState.CLOSED

    def allows(self, now: float) -> bool:
        """May it be asked?  After the cooldown, one may try: `begun` keeps the others away meanwhile."""
        return now >= self.until

    def begun(self, now: float) -> None:
        """Somebody asks it now."""
        if self.state is not BreakerState.CLOSED:
            self.state = BreakerState.PROBING
            self.until = now + PROBE_S_MAX

    def worked(self) -> None:
        """It gave what it was asked for."""
        self._failures = 0
        self._cooldown_s = COOLDOWN_S[0]
        self.until = 0.0
        self.state = BreakerState.CLOSED

    def failed(self, now: float) -> None:
        """It is down, or does not accept what it is asked."""
        self._failures += 1
        if self.state is BreakerState.CLOSED and self._failures < FAILURES_MAX:
            return
        if self.state is BreakerState.PROBING:
            self._cooldown_s = min(2 * self._cooldown_s, COOLDOWN_S[1])
        self.state = BreakerState.OPEN
        self.until = now + self._cooldown_s

    def busy(self, now: float) -> None:
        """It has no room right now."""
        if self.state is BreakerState.PROBING:
            self.worked()
        self.until = max(self.until, now + BUSY_S)

    def left(self, now: float) -> None:
        """The asker went away before there was an answer; the next may try at once."""
        if self.state is BreakerState.PROBING:
            self.state = BreakerState.OPEN
            self.until = now
