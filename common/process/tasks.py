"""Cancels tasks and waits for their end."""

import asyncio
from typing import Any


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel the task and wait until it has ended.  Raises what it raised, unless that is the cancellation."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
