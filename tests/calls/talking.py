"""Somebody on a line: what they say goes out at 50 frames a second, what they hear is read off the audio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.calls.doubles import SILENCE, CarrierLine, media, spoken


class Talking:
    """A caller.  Who makes one gives it `speech`, a `line`, and says by `send` how a message reaches the edge."""

    speech: list[bytes]
    """Frames that are still to be said."""
    line: CarrierLine
    wait_s = 30.0
    """How long anything is waited for."""

    async def send(self, text: str) -> None:
        """One message of the carrier to the edge."""

    def on_line(self) -> bool:
        """Does the carrier still send?"""
        return True

    def next_frame(self) -> bytes | None:
        """The next 20 ms; None: the carrier sends none."""
        return self.speech.pop(0) if self.speech else SILENCE

    async def microphone(self) -> None:
        """50 frames a second, silence included, for as long as they are on the line."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.on_line():
            if (frame := self.next_frame()) is not None:
                await self.send(media(frame))
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    def starts_saying(self, text: str) -> None:
        self.speech.extend(spoken(text))

    async def says(self, text: str, pause_ms: int = 0, more: str = "") -> None:
        """Speak to the end of the text, perhaps with a pause in the middle."""
        self.speech += [*spoken(text), *[SILENCE] * (pause_ms // 20), *spoken(more)]
        await self.until(lambda: not self.speech, f"{text!r} to be said")

    async def hears(self, text: str) -> None:
        """Wait until the agent's words end with this text."""
        await self.until(lambda: self.line.heard().rstrip().endswith(text), f"{text!r} to be heard")

    async def asks(self, text: str, answer: str) -> None:
        """Say it, and hear the answer to its end."""
        self.starts_saying(text)
        await self.hears(answer)

    async def until(self, true: Callable[[], object], what: str) -> None:
        try:
            async with asyncio.timeout(self.wait_s):
                while not true():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"waited {self.wait_s:.0f} s for {what}; heard {self.line.heard()!r}") from None
