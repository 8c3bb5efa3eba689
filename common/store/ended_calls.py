"""Ended calls: which there are, and the one step that shortens what is kept of one.

What stays is decided in common/call/log_compaction.py.

    end ──▶ calls:ended (how many are kept), calls:to-compact (due `COMPACT_AFTER_SECONDS` later)
    due ──▶ read by one edge, which has `COMPACT_SECONDS` for it; if it dies, the next one takes the call
    compact ──▶ the log is replaced whole, if nobody wrote to it since it was read and the call is still over

A death before the last step leaves the log as it was.  A call that the carrier may yet come back with keeps its agent,
tokens and checkpoints; of the others the record loses them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from common.protocol import redis_keys
from common.protocol.messages import Message

Entries: TypeAlias = Sequence[tuple[str, Message]]
"""Of an event log: (entry id, message), in order."""

COMPACT_AFTER_SECONDS = 90
"""By then the last events of an ended call are written, and whoever followed it has read them."""
COMPACT_SECONDS = 60
"""How long one edge may take over a call before another tries."""
COMPACT_TRIES_MAX = 5
"""Beyond this an event log is left whole: somebody still writes to it, or it has what this release cannot read."""
DUE_MAX = 20
"""Calls that are taken at a time."""


class EndedCalls(Protocol):
    """Part of the ledger: `CallStore.ended_calls`.  Raises ConnectionError or TimeoutError while the server is away."""

    async def take(self) -> list[str]:
        """Ended calls whose event log is to be shortened now: the asker's, for `COMPACT_SECONDS`."""

    async def compact(self, call_id: str, agent: str, read: Entries, kept: Entries) -> bool:
        """Put `kept` in the place of the call's whole event log, which was `read`, and shorten its record.

        `agent` is the name of the call's agent.  False: something was written since it was read; try again later.  True
        as well if nothing is to be done: the call lives again, is not known any more, or was tried for too often.
        """

    async def leave(self, call_id: str) -> None:
        """Keep this call's event log as it is."""


class ShardedEndedCalls:
    """See `common.store.ended_calls.EndedCalls`: those of several servers."""

    def __init__(self, shards: Sequence[EndedCalls]) -> None:
        self._shards = shards

    async def take(self) -> list[str]:
        found = await asyncio.gather(*(shard.take() for shard in self._shards), return_exceptions=True)
        there = [calls for calls in found if not isinstance(calls, BaseException)]
        if not there:
            raise next(error for error in found if isinstance(error, BaseException))
        return [call_id for calls in there for call_id in calls]

    async def compact(self, call_id: str, agent: str, read: Entries, kept: Entries) -> bool:
        return await self._of(call_id).compact(call_id, agent, read, kept)

    async def leave(self, call_id: str) -> None:
        await self._of(call_id).leave(call_id)

    def _of(self, call_id: str) -> EndedCalls:
        return self._shards[redis_keys.shard_index(call_id, len(self._shards))]
