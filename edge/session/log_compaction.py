"""Shortens what is kept of ended calls, some time after their end: every edge does, each call is one edge's.

It is nobody's call any more, so nothing waits for it: an error, or a death, leaves the call's event log as it was.
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
    """`run` it as long as the process runs."""

    def __init__(self, bus: Bus, store: CallStore) -> None:
        self._bus = bus
        self._store = store

    async def run(self) -> None:
        """Look for calls to shorten every `LOOK_SECONDS`."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (ConnectionError, TimeoutError):
                continue  # Redis is away, which others count

    async def look(self) -> None:
        """Shorten the calls that are due.  Raises ConnectionError or TimeoutError."""
        while due := await self._store.ended_calls.take():
            for call_id in due:
                try:
                    await self._compact(call_id)
                except (ConnectionError, TimeoutError):
                    raise
                except Exception:
                    log.exception("the events of an ended call stay as they are", extra={"call_id": call_id})
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
