"""Keeps the ended calls without a server, for tests (ended_calls.py)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from common.bus.memory import MemoryStreams
from common.protocol import redis_keys
from common.store.ended_calls import COMPACT_AFTER_SECONDS, COMPACT_SECONDS, COMPACT_TRIES_MAX, DUE_MAX, Entries
from common.store.memory_call import MemoryCall
from common.store.transfers import MAY_COME_BACK


class MemoryEndedCalls:
    """See `common.store.ended_calls.EndedCalls`."""

    def __init__(self, calls: dict[str, MemoryCall], streams_: MemoryStreams) -> None:
        self._calls = calls
        self._streams = streams_
        self._due: dict[str, float] = {}

    def add(self, call_id: str) -> None:
        """Record that the call has ended."""
        self._due[call_id] = _now() + COMPACT_AFTER_SECONDS

    async def take(self) -> list[str]:
        due = [call_id for call_id, when in self._due.items() if when <= _now()][:DUE_MAX]
        self._due |= dict.fromkeys(due, _now() + COMPACT_SECONDS)
        return due

    async def compact(self, call_id: str, agent: str, read: Entries, kept: Entries) -> bool:
        call, events = self._calls.get(call_id), redis_keys.call_events(call_id)
        if call is None or call.record.status != "ended":
            await self.leave(call_id)
            return True
        if self._streams.length(events) != len(read):
            call.compact_tries += 1
            if call.compact_tries < COMPACT_TRIES_MAX:
                return False
        else:
            self._streams.replace(events, kept)
            if call.sealed or call.record.ended_because not in MAY_COME_BACK:
                call.record = replace(call.record, agent={"name": agent})
                for pools in (call.tokens, call.owners, call.checkpoints):
                    pools.clear()
        await self.leave(call_id)
        return True

    async def leave(self, call_id: str) -> None:
        self._due.pop(call_id, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
