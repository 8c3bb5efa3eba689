"""Keeps things that several calls use at once, and closes each a while after the last of them has left it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from common.process.tasks import cancel

IDLE_S = 60.0
"""How long a thing that nobody uses is kept: the next call of the agent finds it ready."""


class Closable(Protocol):
    """What can be closed."""

    async def aclose(self) -> None: ...


T = TypeVar("T", bound=Closable)


@dataclass(slots=True)
class _Kept(Generic[T]):
    thing: T
    users: int = 0
    closing: asyncio.Task[None] | None = None


class Shared(Generic[T]):
    """Things by key.  Each `open` needs its `close`."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept[T]] = {}

    def open(self, key: str, make: Callable[[], T]) -> T:
        """The thing with this key, made if there is none."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(make())
        if kept.closing is not None:
            kept.closing.cancel()
            kept.closing = None
        kept.users += 1
        return kept.thing

    def close(self, key: str) -> None:
        """One user has left."""
        kept = self._kept.get(key)
        if kept is None:
            return
        kept.users -= 1
        if kept.users <= 0:
            kept.closing = asyncio.create_task(self._close_later(key), name="close what is idle")

    async def aclose(self) -> None:
        """Close everything."""
        all_kept, self._kept = list(self._kept.values()), {}
        for kept in all_kept:
            if kept.closing is not None:
                await cancel(kept.closing)
        await asyncio.gather(*(kept.thing.aclose() for kept in all_kept))

    async def _close_later(self, key: str) -> None:
        await asyncio.sleep(IDLE_S)
        kept = self._kept.pop(key)  # a user who came meanwhile has cancelled this task
        await kept.thing.aclose()
