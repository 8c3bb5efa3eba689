"""Defines the list of ended calls, and the step that replaces a call's event log by its compacted one.

common/call/log_compaction.py decides what stays in the log.

    end ──▶ calls:ended (how many are kept), calls:to-compact (due `COMPACT_AFTER_SECONDS` later)
    due ──▶ read by one edge, which has `COMPACT_SECONDS` for it; if it dies, the next one takes the call
    compact ──▶ the log is replaced in one step, if it is unchanged since it was read and the call is still over

A death before the last step leaves the log as it was.  A call that the carrier may connect again keeps its agent,
tokens and checkpoints; the records of other calls lose them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from common.protocol import redis_keys
from common.protocol.messages import Message

Entries: TypeAlias = Sequence[tuple[str, Message]]
"""An event log: (entry id, message) pairs, in order."""

COMPACT_AFTER_SECONDS = 90
"""Time after the end by which the last events are written, and every reader of the log has read them."""
COMPACT_SECONDS = 60
"""How long one edge may take over a call before another tries."""
COMPACT_TRIES_MAX = 5
"""Most tries; after them an event log stays whole: a process still writes to it, or it has unreadable entries."""
DUE_MAX = 20
"""Most calls that are taken at a time."""


class EndedCalls(Protocol):
    """The ended calls of a store (`CallStore.ended_calls`).

    Every method raises ConnectionError or TimeoutError while the server is away.
    """

    async def take(self) -> list[str]:
        """Ended calls whose event log is due to be compacted; they are the caller's for `COMPACT_SECONDS`."""

    async def compact(self, call_id: str, agent: str, read: Entries, kept: Entries) -> bool:
        """Replace the call's event log, which was `read`, by `kept`, and shorten its record.

        `agent` is the name of the call's agent.  False: an event was written since the log was read; try again later.
        True as well if there is nothing to do: the call is live again, not known any more, or was tried too often.
        """

    async def leave(self, call_id: str) -> None:
        """Keep this call's event log as it is."""


class ShardedEndedCalls:
    """See `common.store.ended_calls.EndedCalls`: the ended calls of several servers."""

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
