"""Tasks that are cancelled by the one who made them."""

import asyncio
from typing import Any


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel the task and wait until it is gone.  Raises what it raised, unless that was the cancellation."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
