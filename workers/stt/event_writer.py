"""Writes the events of one STT session to the call's event log: those that come together in one append.

    add (never waits) -> at most `WAITING_MAX` messages -> run: one append, then the newest checkpoint among them

A vendor's message often means several events (the speech ended, the turn is over, audio was used), and an append takes
a round trip to Redis.  Whatever is added before `run` gets its turn, or while an append is under way, goes together.
"""

from __future__ import annotations

import asyncio

from common.protocol.messages import Message
from workers.runtime.event_session import EventSession

WAITING_MAX = 256
"""Messages that wait for an append that is under way; then the session reads no further event of the vendor."""


class EventWriter:
    """One session's writer.  Run `run` beside the session; it raises as `EventSession.write` does."""

    def __init__(self, log: EventSession) -> None:
        self._log = log
        self._waiting: list[Message] = []
        self._checkpoint = ""
        self._added = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def add(self, *messages: Message, checkpoint: str = "") -> None:
        """Have the messages written in this order, and then the checkpoint, if it is not empty."""
        self._waiting += messages
        self._checkpoint = checkpoint or self._checkpoint
        if len(self._waiting) >= WAITING_MAX:
            self._room.clear()
        self._added.set()

    async def room(self) -> None:
        """Wait until fewer than `WAITING_MAX` messages wait.  The store's deadline bounds it: `run` raises then."""
        await self._room.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._added.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write what waits now."""
        self._added.clear()
        messages, self._waiting = self._waiting, []
        checkpoint, self._checkpoint = self._checkpoint, ""
        self._room.set()
        if messages:
            await self._log.write(*messages)
        if checkpoint:
            await self._log.save_checkpoint(checkpoint)
