"""Ends a call that has killed too many members of its pool, instead of running it."""

from __future__ import annotations

import asyncio
import logging

from common.bus import Bus
from common.call.end_reasons import EndReason
from common.process.clock import wall_ms
from common.protocol.redis_keys import POOLS
from common.store import CallStore, Claim
from common.store.members import Quarantined
from common.telemetry import metrics
from workers.runtime.hang_up import Connection, hang_up

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""Pause before the edge gets the order again, since a message may be lost with the edge that it was for."""


class QuarantinedCall:
    """See `workers.runtime.runner.Session`: owns the call until its edge has ended it, so that no member runs it.

    Without tools a call can go on: those of such a call are given up by the LLM worker.
    """

    def __init__(self, claim: Claim, bus: Bus, store: CallStore) -> None:
        self._claim = claim
        self._bus = bus
        self._store = store

    async def run(self) -> None:
        claim = self._claim
        metrics.CALLS_QUARANTINED.labels(claim.pool).inc()
        ends = claim.pool in POOLS
        what = "a call is ended" if ends else "a call goes on without its tools"
        log.error("%s: its owners were lost one after the other", what, extra=_about(claim))
        await self._store.quarantine(Quarantined(claim.call_id, claim.pool, claim.crashes, wall_ms()))
        # It does not follow the event log, and the edge may have changed since the claim; the record has the edge.
        while (record := await self._store.read(claim.call_id)) is not None and record.status == "live":
            if ends:
                hang_up(self._bus, claim, EndReason.ERROR, Connection(record.edge, record.epoch))
            await asyncio.sleep(AGAIN_SECONDS)


def _about(claim: Claim) -> dict[str, object]:
    return {"call_id": claim.call_id, "pool": claim.pool, "crashes": claim.crashes}
