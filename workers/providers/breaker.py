"""Implements a circuit breaker for one provider.  Pure: `now` is passed in, in seconds of any one clock.

    CLOSED ──FAILURES_MAX failures in a row──▶ OPEN ──cooldown──▶ PROBING ──it works──▶ CLOSED
       ▲                                        ▲                    │
       └────────────── it works ────────────────┴── it fails: the cooldown is doubled

A busy provider works: it is left alone for a moment, and no failure is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from common.process.backoff import Backoff

FAILURES_MAX = 3
BUSY_S = 1.0
COOLDOWN = Backoff(first_s=5.0, longest_s=60.0)
PROBE_S_MAX = 30.0
"""Seconds after which a probe without an outcome no longer keeps other uses away."""


class BreakerState(Enum):
    """The state of a breaker; its value is that of the metric `voice_provider_state`."""

    CLOSED = 0
    PROBING = 1
    OPEN = 2


@dataclass(slots=True)
class Breaker:
    """Breaker of one provider: ask `allows`, call `begun`, then `worked`, `failed`, `busy` or `left`."""

    _failures: int = 0
    _failed_probes: int = 0
    until: float = 0.0
    """The time before which it is used only if every other provider has failed."""
    state: BreakerState = BreakerState.CLOSED

    def allows(self, now: float) -> bool:
        """Whether it may be used.  After the cooldown one use may try, and `begun` keeps others away meanwhile."""
        return now >= self.until

    def begun(self, now: float) -> None:
        """Record that a use begins."""
        if self.state is not BreakerState.CLOSED:
            self.state = BreakerState.PROBING
            self.until = now + PROBE_S_MAX

    def worked(self) -> None:
        """Record that the provider worked."""
        self._failures = 0
        self._failed_probes = 0
        self.until = 0.0
        self.state = BreakerState.CLOSED

    def failed(self, now: float) -> None:
        """Record that the provider is down, or rejected the request."""
        self._failures += 1
        if self.state is BreakerState.CLOSED and self._failures < FAILURES_MAX:
            return
        if self.state is BreakerState.PROBING:
            self._failed_probes += 1
        self.state = BreakerState.OPEN
        self.until = now + COOLDOWN.pause_s(self._failed_probes)

    def busy(self, now: float) -> None:
        """Record that the provider has no capacity now."""
        if self.state is BreakerState.PROBING:
            self.worked()
        self.until = max(self.until, now + BUSY_S)

    def left(self, now: float) -> None:
        """Record that a use ended without an outcome; the next one may try at once."""
        if self.state is BreakerState.PROBING:
            self.state = BreakerState.OPEN
            self.until = now
