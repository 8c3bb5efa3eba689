"""Pauses all outbound calls while the carrier refuses the account; the pause is shared by all edges through Redis."""

from __future__ import annotations

import asyncio
import logging

from common.store.outbound import OutboundQueue
from common.telemetry import metrics
from edge.vobiz.rest.account import REASONS

log = logging.getLogger(__name__)

PAUSED_LOOK_SECONDS = 0.5
"""How often an edge reads whether calls are paused; another edge may have paused them."""


class AccountPause:
    """The pause as this edge knows it."""

    def __init__(self, queue: OutboundQueue) -> None:
        self._queue = queue
        self._look_at = 0.0
        self.refused_because = ""
        """Key of `REASONS`, or "".  Until a call is placed again, one call at a time is tried after each pause."""
        self.paused = False
        """Whether no call may be placed now."""
        for reason in REASONS:
            metrics.DIALS_PAUSED.labels(reason).set(0)

    @property
    def words(self) -> str:
        """Why no call is placed, as a sentence; empty if calls are placed."""
        return REASONS.get(self.refused_because, "the carrier refuses the account") if self.refused_because else ""

    async def look(self) -> None:
        """Read the shared pause if the last reading is old enough.  Raises ConnectionError or TimeoutError."""
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + PAUSED_LOOK_SECONDS
            self._set(*await self._queue.paused())

    async def pause(self, reason: str) -> None:
        """The carrier refused the account: pause all edges.  Never raises; an unreachable Redis is logged."""
        self._set(reason, holds=True)
        try:
            await self._queue.pause(reason)
        except (ConnectionError, TimeoutError):
            log.warning("the pause of outbound calls could not be written to Redis")

    async def unpause(self) -> None:
        """A call was placed again: end the pause.  Never raises; an unreachable Redis is logged."""
        self._set("", holds=False)
        try:
            await self._queue.unpause()
        except (ConnectionError, TimeoutError):
            log.warning("the end of a pause of outbound calls could not be written to Redis")

    def _set(self, reason: str, holds: bool) -> None:
        changed = bool(reason) and reason != self.refused_because
        self.refused_because, self.paused = reason, holds
        if changed:
            log.warning("outbound calls wait: %s", self.words)
        for known in REASONS:
            metrics.DIALS_PAUSED.labels(known).set(known == reason)
