"""Lets the tasks of a session wait until the call's event log says something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LogChanges:
    """Wakes those who wait, after each event of the log; it costs nothing while nobody waits."""

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None

    def notify(self) -> None:
        """An event was folded."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def next(self, timeout_s: float | None = None) -> None:
        """Wait for the next event, at most `timeout_s` seconds."""
        if self._event is None:
            self._event = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return

    async def until(self, holds: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until `holds()`, at most `timeout_s` seconds; returns whether it does."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while not holds():
            left_s = None if deadline is None else deadline - loop.time()
            if left_s is not None and left_s <= 0:
                return False
            await self.next(left_s)
        return True
