"""Chooses a provider: the first of a list that is available, and the next one when it fails.

One `Source` per provider and process has what all calls learn about it: its breaker, and how many uses are open.  A
`Failover` is an agent's ordered list of them.  The sessions drive it, because only they know what must not be lost or
repeated:

    tried = set()
    while (source := sources.choose(tried)) is not None:
        tried.add(source.spec)
        try:
            with source.use() as use:
                ... use.worked() at the first result ...
        except ProviderError: continue with what is missing
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.telemetry import metrics
from workers.providers.breaker import Breaker, BreakerState
from workers.providers.interfaces import Busy, ProviderError

log = logging.getLogger(__name__)

P = TypeVar("P")


class PassOn(Exception):
    """This member can reach no provider, and another member of the pool may: it should have the call."""


async def nobody_else(call_id: str) -> bool:
    """`Failover.elsewhere` of a process without other members."""
    return False


class Use:
    """One use of a source; `has_worked` says whether it gave a result."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self.has_worked = False

    def worked(self) -> None:
        """Record the first result of the provider.  Idempotent."""
        if not self.has_worked:
            self.has_worked = True
            self._breaker.worked()


class Source(Generic[P]):
    """A provider, and what this process has learnt about it.  `clock` returns seconds."""

    def __init__(self, pool: str, spec: str, provider: P, in_use_max: int, clock: Callable[[], float]) -> None:
        """`in_use_max`: the most uses at once in this process; 0 means no limit."""
        self.pool = pool
        self.spec = spec
        self.provider = provider
        self._in_use_max = in_use_max
        self._clock = clock
        self._in_use = 0
        self._breaker = Breaker()
        self.asked = False
        """Whether it was ever used."""
        metrics.begin_provider(pool, spec)

    def __repr__(self) -> str:
        return f"<Source {self.spec} {self._breaker.state.name}, {self._in_use} in use>"

    @property
    def available(self) -> bool:
        """Whether it may be used now."""
        return self._breaker.allows(self._clock()) and not self._full

    @property
    def failing(self) -> bool:
        """Whether it failed too often in a row, and has not worked since."""
        return self._breaker.state is not BreakerState.CLOSED

    @property
    def due(self) -> bool:
        """Whether one use may test if it works again."""
        return self.failing and self.available and not self._in_use

    @property
    def back_at(self) -> float:
        """The time, of `clock`, at which it may be used again."""
        return self._breaker.until

    @contextmanager
    def use(self) -> Iterator[Use]:
        """Count one use, and learn from how it ends.

        Raises Busy if the limit is reached.  Raises CancelledError if the task is cancelled, even if the provider fails
        while the block is left: its error would look like a reason to try the next provider, in a call that is over.
        """
        if self._full:
            metrics.PROVIDER_ERRORS.labels(self.spec, "busy").inc()
            raise Busy(f"{self.spec}: all {self._in_use_max} uses that this process may have are taken")
        self.asked = True
        self._breaker.begun(self._clock())
        self._count(+1)
        use = Use(self._breaker)
        try:
            yield use
        except (ProviderError, TimeoutError) as error:
            if _is_cancelled():
                raise asyncio.CancelledError from error
            self._learn(error)
            raise
        finally:
            self._breaker.left(self._clock())
            self._count(-1)

    def _learn(self, error: ProviderError | TimeoutError) -> None:
        kind = error.kind if isinstance(error, ProviderError) else "timeouterror"
        metrics.PROVIDER_ERRORS.labels(self.spec, kind).inc()
        (self._breaker.busy if isinstance(error, Busy) else self._breaker.failed)(self._clock())

    @property
    def _full(self) -> bool:
        return 0 < self._in_use_max <= self._in_use

    def _count(self, step: int) -> None:
        self._in_use += step
        metrics.PROVIDER_IN_USE.labels(self.spec).set(self._in_use)
        metrics.PROVIDER_STATE.labels(self.spec).set(self._breaker.state.value)


def _is_cancelled() -> bool:
    """Whether the current task is being cancelled."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop, as in a test of the breaker alone
        return False
    return task is not None and task.cancelling() > 0


@dataclass(frozen=True, slots=True)
class Failover(Generic[P]):
    """One agent's providers in the order of preference; never empty."""

    sources: Sequence[Source[P]]
    elsewhere: Callable[[str], Awaitable[bool]] = nobody_else
    """(call id) -> whether another member of the pool should have the call, because none of these can be reached."""

    async def exhausted(self, call_id: str) -> None:
        """Handle a call that every provider has failed.  Raises PassOn if another member may do better."""
        if await self.elsewhere(call_id):
            raise PassOn

    def choose(self, tried: Collection[str], call_id: str = "") -> Source[P] | None:
        """The first untried source that is available, else the untried one that is available soonest, else None.

        So a list whose providers all seem down is still tried.
        """
        left = [source for source in self.sources if source.spec not in tried]
        if not left:
            return None
        chosen = next((source for source in left if source.available), None) or min(
            left, key=lambda source: source.back_at
        )
        if chosen is not self.sources[0]:
            metrics.PROVIDER_SWITCHES.labels(chosen.spec).inc()
            log.warning("%s instead of %s", chosen.spec, self.sources[0].spec, extra={"call_id": call_id})
        return chosen
