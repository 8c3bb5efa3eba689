"""Reads from a call's audio stream where the previous connection ended, and so where the next one begins.

Each of the caller's frames states what the caller had heard of the agent when it arrived (`AudioIn.heard`).  An edge
that died cannot report that, but the last frame that it published does: until then edge and connection were alive.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.audio.g711 import FRAME_MS
from common.bus import Bus
from common.protocol.fields import HeardPosition
from common.protocol.messages import (
    AudioIn,
)
from common.protocol.redis_keys import call_audio
from edge.session.reconnect_silence import GAP_MS


@dataclass(frozen=True, slots=True)
class LastConnection:
    """Position at which the call's audio continues, and what the caller had heard of the current reply."""

    position_ms: int = 0
    heard: HeardPosition = ()


async def last_connection(bus: Bus, call_id: str) -> LastConnection:
    """Read the call's audio stream.  Raises ConnectionError or TimeoutError."""
    frames = [message for _, message in await bus.read(call_audio(call_id)) if isinstance(message, AudioIn)]
    if not frames:
        return LastConnection()
    newest = max(frames, key=lambda frame: (frame.epoch, frame.position_ms))
    return LastConnection(max(frame.position_ms for frame in frames) + FRAME_MS + GAP_MS, newest.heard)
