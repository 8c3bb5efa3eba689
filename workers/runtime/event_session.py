"""Reads and writes the event log of a call for the member that owns the call.

It writes `OwnerChanged` and then reads the log from its start: what it reads before its own `OwnerChanged` is
past, and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from common.bus import Bus
from common.process.clock import wall_ms
from common.process.skipped import skipping
from common.protocol.messages import Message, OwnerChanged
from common.protocol.redis_keys import call_events
from common.store import CallStore, Claim


class Fenced(Exception):
    """The claim is no longer the newest: another member owns the call.  Drop it."""


class EventSession:
    """Reads and writes one call's event log under a claim."""

    def __init__(self, claim: Claim, bus: Bus, store: CallStore) -> None:
        self.claim = claim
        self._bus = bus
        self._store = store
        self._live = False
        self._changed = asyncio.Event()
        self._error: Exception | None = None

    async def begin(self) -> None:
        """Write that this member owns the call from now on.  Raises as `write` does."""
        await self.write(OwnerChanged(self.claim.pool, self.claim.token, self.claim.owner, wall_ms()))

    async def write(self, *messages: Message) -> None:
        """Append events, in this order and in one step.

        Raises `Fenced` if another member owns the call by now, and `ConnectionError` if the call store does not answer
        (a `TimeoutError` would be taken for a provider's).
        """
        await _fenced(self._store.append(self.claim, messages))

    async def save_checkpoint(self, checkpoint: str) -> None:
        """Leave a checkpoint for the next owner.  Raises as `write` does."""
        await _fenced(self._store.save_checkpoint(self.claim, checkpoint))

    @asynccontextmanager
    async def following(self, receive: Callable[[Message], None]) -> AsyncIterator[None]:
        """Begin, and pass every event from the log's start on to `receive`, in order."""

        def read(entry_id: str, message: Message) -> None:
            if isinstance(message, OwnerChanged) and (message.pool, message.token) == mine:
                self._live = True
            receive(message)
            if self._live:
                self._changed.set()

        mine = (self.claim.pool, self.claim.token)
        await self.begin()
        subscription = self._bus.subscribe(
            call_events(self.claim.call_id), skipping(read, self.claim.call_id), self._fail
        )
        try:
            yield
        finally:
            subscription.close()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._changed.set()

    def wake(self) -> None:
        """Have `changed` return."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait for an event, or a `wake`, since the last time; first of all until the log's past was read.

        Raises what ended the subscription.
        """
        await self._changed.wait()
        self._changed.clear()
        if self._error is not None:
            raise self._error


async def _fenced(write: Awaitable[bool]) -> None:
    """Wait for a write of the call store.  Raises as `EventSession.write` does."""
    try:
        written = await write
    except TimeoutError as error:
        raise ConnectionError("the call store did not answer") from error
    if not written:
        raise Fenced
