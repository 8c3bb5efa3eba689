"""What an ear has heard, on its way to the one who reads it.  Every ear has one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from workers.providers.interfaces import ProviderError, SttEvent

EVENTS_MAX = 1000
"""Events that wait; a reader further behind is gone."""


class EventQueue:
    """Bounded; iterate over it with one reader at a time.  It ends when closed, or raises why the ear cannot go on."""

    def __init__(self) -> None:
        self._heard: deque[SttEvent] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self.failure: ProviderError | None = None

    @property
    def over(self) -> bool:
        """Will nothing more be heard?"""
        return self._closed or self.failure is not None

    def add(self, heard: SttEvent) -> bool:
        """Something was heard.  False: nobody reads any more."""
        if len(self._heard) >= EVENTS_MAX:
            return False
        self._heard.append(heard)
        self._news.set()
        return True

    def fail(self, error: ProviderError) -> bool:
        """Listening cannot go on: the reader learns why once it has read what was heard before.  False: no news."""
        if self.over:
            return False
        self.failure = error
        self._news.set()
        return True

    def close(self) -> None:
        """Hear no more."""
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[SttEvent]:
        while True:
            while self._heard:
                yield self._heard.popleft()
            if self.failure is not None:
                raise self.failure
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()
