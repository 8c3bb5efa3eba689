"""Shortens the event logs of ended calls, some time after their end.  Every edge runs it; each call is done by one
edge.

No process waits for it: after an error, or if the edge dies, the event log stays as it was.
"""

from __future__ import annotations

import asyncio
import logging

from common.bus import Bus
from common.call.log_compaction import compacted
from common.protocol.redis_keys import call_events
from common.store import CallStore
from common.telemetry import metrics

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


class LogCompaction:
    """Compacts the logs of ended calls; `run` it as a task."""

    def __init__(self, bus: Bus, store: CallStore) -> None:
        self._bus = bus
        self._store = store

    async def run(self) -> None:
        """Look every `LOOK_SECONDS` for as long as the process runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (ConnectionError, TimeoutError):
                continue  # other code counts that Redis is away

    async def look(self) -> None:
        """Compact the logs that are due.  Raises ConnectionError or TimeoutError."""
        while due := await self._store.ended_calls.take():
            for call_id in due:
                try:
                    await self._compact(call_id)
                except (ConnectionError, TimeoutError):
                    raise
                except Exception:
                    log.exception("the event log of an ended call could not be compacted", extra={"call_id": call_id})
                    metrics.SESSION_ERRORS.labels("edge").inc()
                    await self._store.ended_calls.leave(call_id)

    async def _compact(self, call_id: str) -> None:
        record = await self._store.read(call_id)
        if record is None or record.status != "ended":
            await self._store.ended_calls.leave(call_id)
            return
        entries = await self._bus.read(call_events(call_id))
        agent = str(record.agent.get("name", ""))
        await self._store.ended_calls.compact(call_id, agent, entries, compacted(entries))
