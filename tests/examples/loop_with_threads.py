"""A virtual clock for calls in which a library uses a thread: openai's client asks there for the platform."""

import asyncio

from tests.clock import VirtualLoop


class LoopWithThreads(VirtualLoop):
    """Use as anyio's backend: `("asyncio", {"loop_factory": LoopWithThreads})`."""

    async def shutdown_default_executor(self) -> None:
        """Keep a timer set until the threads have ended; else the loop takes the wait for `Stalled`."""
        closing = self.create_task(super().shutdown_default_executor())
        while not closing.done():
            await asyncio.sleep(0.02)
