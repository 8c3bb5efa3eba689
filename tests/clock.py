"""An event loop whose clock jumps to the next timer: a minute's call takes milliseconds, and never a real wait.

It patches nothing, because our code reads time only from the loop.  A wait that can never end raises `Stalled` at
once instead of hanging.
"""

import asyncio
import selectors


class Stalled(RuntimeError):
    """Nothing is ready, no timer is set: whoever waits, waits for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    jump = staticmethod(lambda seconds: None)

    def select(self, timeout: float | None = None) -> list:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stalled("nothing is ready and no timer is set")
        if not ready and timeout:
            self.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Use as anyio's backend: `("asyncio", {"loop_factory": VirtualLoop})`."""

    def __init__(self) -> None:
        self._now = 1000.0
        selector = _JumpingSelector()
        selector.jump = self._advance
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def _advance(self, seconds: float) -> None:
        self._now += seconds
