"""Holds the events of a stream until the session reads them.  Every stream has one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from workers.providers.interfaces import ProviderError, SttEvent

EVENTS_MAX = 1000
"""Events that wait; a reader further behind is gone."""


class EventQueue:
    """Bounded; iterate over it with one reader at a time.  It ends when closed, or raises why the stream failed."""

    def __init__(self) -> None:
        self._events: deque[SttEvent] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self.failure: ProviderError | None = None

    @property
    def over(self) -> bool:
        """True if no further event will come."""
        return self._closed or self.failure is not None

    def add(self, event: SttEvent) -> bool:
        """Add an event.  False: the queue is full, so its reader is gone."""
        if len(self._events) >= EVENTS_MAX:
            return False
        self._events.append(event)
        self._changed.set()
        return True

    def fail(self, error: ProviderError) -> bool:
        """Raise `error` in the reader once it has read the events before it.  False: the queue was over already."""
        if self.over:
            return False
        self.failure = error
        self._changed.set()
        return True

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[SttEvent]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self.failure is not None:
                raise self.failure
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()
