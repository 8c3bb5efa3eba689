"""Options of one connection, from the call's agent and its record."""

from __future__ import annotations

from dataclasses import dataclass

from common.protocol.fields import HeardPosition
from edge.media.stream_pace import StreamPace

FIRST_MEDIA_MS = 1000
"""Maximum wait of the greeting for the first media: a carrier may send none before the caller speaks."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Options of one connection.  The limits are of the call: `age_ms` and `silent_ms` count earlier connections."""

    interruptible: bool = True
    call_s_max: int = 1800
    silence_s_max: int = 60
    lead_ms: int = 200
    position_ms: int = 0
    """Position in the call's audio at which this connection begins."""
    age_ms: int = 0
    """Age of the call."""
    silent_ms: int = 0
    """Time since the caller or the agent last spoke."""
    greeting_after_ms: int = 0
    """Nothing is played for this long after the first media, because the caller would not hear it yet."""
    heard: HeardPosition = ()
    """What the caller had heard of the agent's reply on the connection before."""
    pace: StreamPace | None = None
    """Rate limits of the stream; None: no limit."""

    def plays_from_ms(self, now: float, epoch: int) -> float:
        """Earliest time at which audio is played if neither speech nor media arrive before; 0: at once.

        It applies to the first connection only: on later ones the caller is already listening.
        """
        return now + FIRST_MEDIA_MS + self.greeting_after_ms if self.greeting_after_ms and epoch == 1 else 0.0
