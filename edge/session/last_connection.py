"""What the connection before this one has left in the call's audio: where the next one goes on.

Every frame of the caller's says how far the caller had heard the agent when it came (`AudioIn.heard`).  A dead edge
tells nothing any more, but the last frame that it wrote does: it lived until then, and so did the line.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.audio.g711 import FRAME_MS
from common.bus import Bus
from common.protocol.messages import AudioIn, HeardPosition
from common.protocol.redis_keys import call_audio
from edge.media.reconnect_silence import GAP_MS


@dataclass(frozen=True, slots=True)
class LastConnection:
    """Where the call's audio goes on, and how far the caller had heard the reply that was being played."""

    position_ms: int = 0
    heard: HeardPosition = ()


async def last_connection(bus: Bus, call_id: str) -> LastConnection:
    """Read it.  Raises ConnectionError or TimeoutError."""
    frames = [message for _, message in await bus.read(call_audio(call_id)) if isinstance(message, AudioIn)]
    if not frames:
        return LastConnection()
    newest = max(frames, key=lambda frame: (frame.epoch, frame.position_ms))
    return LastConnection(max(frame.position_ms for frame in frames) + FRAME_MS + GAP_MS, newest.heard)
