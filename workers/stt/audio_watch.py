"""Checks that a call's audio reaches the STT session.

The session's lease keeps every other worker away, so a session that reads nothing must end.  The edge writes a frame
every 20 ms for as long as it has the call, silence included.  So if nothing arrives, either nothing is written (the
edge is dead, or cut off from Redis: another worker would get no audio either), or it does not reach this session.
One read of the stream, past the subscription, decides which.  Time in which Redis is away does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from common.bus import START, Bus
from common.protocol.messages import AudioIn
from common.protocol.redis_keys import call_audio

UNREAD_SECONDS = 2.0
"""After this long without audio, the stream is read once."""
LOOK_SECONDS = 0.5
DELIVERY_SECONDS = 0.5
"""Audio in the stream reaches a subscription that works within this time."""


class AudioNotRead(Exception):
    """The call's audio is in Redis and does not reach this session: another worker must take the call."""


class AudioWatch:
    """Watches one session, which sets `open` and `entry`.  `run` it beside the session."""

    def __init__(self, bus: Bus, call_id: str) -> None:
        self._bus = bus
        self._call_id = call_id
        self.open = False
        """True while a provider's stream is open, so that audio is wanted."""
        self.entry = START
        """The newest entry of the call's audio that the session took."""

    async def run(self, is_due: Callable[[AudioIn], bool]) -> None:
        """Watch until cancelled.  `is_due`: the session has not fed this frame yet.  Raises AudioNotRead."""
        entry, quiet_s = self.entry, 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._waits_at(entry):
                entry, quiet_s = self.entry, 0.0
                continue
            quiet_s += LOOK_SECONDS
            if quiet_s < UNREAD_SECONDS:
                continue
            quiet_s = 0.0
            if await self._has_more(is_due):
                await asyncio.sleep(DELIVERY_SECONDS)
                if self._waits_at(entry):
                    raise AudioNotRead("the call's audio does not reach this session")

    def _waits_at(self, entry: str) -> bool:
        """True if no entry came since, though a stream is open and Redis is there."""
        return self.open and self.entry == entry and not self._bus.away_s(self._call_id)

    async def _has_more(self, is_due: Callable[[AudioIn], bool]) -> bool:
        try:
            entries = await self._bus.read(call_audio(self._call_id), self.entry)
        except (ConnectionError, TimeoutError):
            return False
        return any(isinstance(message, AudioIn) and is_due(message) for _, message in entries)
