"""Watches whether this member of a pool can reach a provider; if not, and others can, it gives its calls to them.

    reachable ──every provider that was asked fails──▶ failing ──one works again, for a call or a probe──▶ reachable
                                                          │
                        another member is healthy ────────┤ take nothing; pass each call on, once
                        no other member is healthy ───────┘ the vendor is down for all: continue, and apologise

A call that was passed on is not passed on again for PASS_AGAIN_SECONDS, whichever member has it, so that a vendor's
outage does not send calls in circles.  A member without calls would never learn that a provider works again; so it
probes each one that may be used again (`workers/providers/breaker.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

from common.store import Claim, Presence
from common.store.members import Members
from workers.providers.failover import Source
from workers.providers.interfaces import ListenOptions, ProviderError, VoiceOptions

log = logging.getLogger(__name__)

PASS_AGAIN_SECONDS = 60.0
ALIVE_MS = 1_100
"""A member without a report for longer may have died: they report every 0.8 s (workers/runtime/member_lease.py)."""
PROBE_SECONDS = 10.0
"""Deadline of one probe."""
PROBE_PAUSE_SECONDS = 0.5
"""How often the loop looks whether a probe is due."""
PROBE_TEXT = "Hello."


def never() -> bool:
    """`failing` of a process whose providers cannot fail."""
    return False


class ProviderHealth:
    """The provider health of one member.  `failing` says whether none of its providers works."""

    def __init__(self, store: Presence, pool: str, owner: str, failing: Callable[[], bool] = never) -> None:
        self._store = store
        self._pool = pool
        self._owner = owner
        self._failing = failing
        self.others = Members()
        """The reports of the other members at the last look; empty before the first one."""

    @property
    def failing(self) -> bool:
        """Whether no provider of this process works."""
        return self._failing()

    @property
    def steps_aside(self) -> bool:
        """Whether this member should take no calls, because another can reach its providers."""
        return self.failing and bool(self.others.healthy)

    async def look(self) -> None:
        """Read the reports of the other members.  Raises ConnectionError or TimeoutError."""
        found = await self._store.members(self._pool)
        self.others = Members(found.healthy - {self._owner}, found.with_room - {self._owner})

    async def last_one(self, dead: str) -> bool:
        """Whether no member but the `dead` one could continue the calls that are held here."""
        found = await self._store.members(self._pool, ALIVE_MS)
        return not found.with_room - {dead, self._owner}

    async def somebody_better(self, claim: Claim, held_s: float) -> bool:
        """Whether another member should have the call, which was held here for `held_s` seconds."""
        if claim.passed_on and held_s < PASS_AGAIN_SECONDS:
            return False
        await self.look()
        return bool(self.others.healthy & self.others.with_room)


async def probe_for_ever(sources: Callable[[], Sequence[Source[Any]]]) -> None:
    """Probe each provider that failed, once it may be used again, to learn when it works.  Never returns."""
    while True:
        await asyncio.sleep(PROBE_PAUSE_SECONDS)
        due = [source for source in sources() if source.due]
        await asyncio.gather(*(_probe(source) for source in due))


async def _probe(source: Source[Any]) -> None:
    try:
        with source.use() as use:
            async with asyncio.timeout(PROBE_SECONDS):
                await _ask_a_little(source.provider)
            use.worked()
            log.info("%s works again", source.spec)
    except (ProviderError, TimeoutError) as error:
        log.info("%s does not work yet: %s", source.spec, error)
    except Exception:
        log.exception("%s could not be probed", source.spec)


async def _ask_a_little(provider: Any) -> None:
    """Make the smallest request that shows that a provider of this kind works."""
    if hasattr(provider, "listen"):
        async with provider.listen(ListenOptions()):
            return
    elif hasattr(provider, "reply"):
        pieces = provider.reply([{"role": "user", "content": PROBE_TEXT}])
    else:
        pieces = provider.say(PROBE_TEXT, VoiceOptions())
    async with aclosing(cast("AsyncGenerator[Any, None]", pieces)) as some:
        async for piece in some:
            if piece and isinstance(piece, str | bytes):
                return
