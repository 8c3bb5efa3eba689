"""What an edge does for its calls, in tests without one: it says every 5 s that they are up."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from common.store import CallStore


@asynccontextmanager
async def signs_of_life(store: CallStore, call_ids: Iterable[str]) -> AsyncIterator[None]:
    """`call_ids` may grow meanwhile."""

    async def touch_for_ever() -> None:
        while True:
            await store.heartbeat_calls(list(call_ids))
            await asyncio.sleep(5)

    touching = asyncio.create_task(touch_for_ever())
    try:
        yield
    finally:
        touching.cancel()
