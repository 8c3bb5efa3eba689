"""Does a session hear its call?  A lease that is renewed keeps every other member away, so a deaf holder must know.

The edge writes a frame every 20 ms for as long as it has the call, silence included.  So if nothing arrives, either
nothing is written (the edge is dead, or cut off from Redis: nobody could hear more) or it does not reach this
session.  The stream itself tells which: it is read once, past the subscription.  While Redis is away nobody knows, and
no time counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from common.bus import START, Bus
from common.protocol.messages import AudioIn
from common.protocol.redis_keys import call_audio

UNHEARD_SECONDS = 2.0
"""Without audio for so long, the stream is asked whether there is any."""
LOOK_SECONDS = 0.5
DELIVERY_SECONDS = 0.5
"""What the stream has is on its way for no longer than this."""


class AudioNotRead(Exception):
    """The call's audio is in Redis and does not reach this session: somebody else must listen."""


class AudioWatch:
    """One session's: told when an ear is `open`, and of each `entry` that was taken.  `run` it beside the session."""

    def __init__(self, bus: Bus, call_id: str) -> None:
        self._bus = bus
        self._call_id = call_id
        self.open = False
        """Is there an ear that could hear?"""
        self.entry = START
        """The newest entry of the call's audio that was heard."""

    async def run(self, unheard: Callable[[AudioIn], bool]) -> None:
        """Until cancelled.  `unheard`: should this frame still be heard?  Raises LineUnheard."""
        entry, quiet_s = self.entry, 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._waits_at(entry):
                entry, quiet_s = self.entry, 0.0
                continue
            quiet_s += LOOK_SECONDS
            if quiet_s < UNHEARD_SECONDS:
                continue
            quiet_s = 0.0
            if await self._has_more(unheard):
                await asyncio.sleep(DELIVERY_SECONDS)
                if self._waits_at(entry):
                    raise AudioNotRead("the call's audio does not reach this session")

    def _waits_at(self, entry: str) -> bool:
        """Was nothing heard since, though an ear is open and Redis is there?"""
        return self.open and self.entry == entry and not self._bus.away_s(self._call_id)

    async def _has_more(self, unheard: Callable[[AudioIn], bool]) -> bool:
        try:
            entries = await self._bus.read(call_audio(self._call_id), self.entry)
        except (ConnectionError, TimeoutError):
            return False
        return any(isinstance(message, AudioIn) and unheard(message) for _, message in entries)
