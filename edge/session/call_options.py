"""What a call's agent and its record say, as far as the edge minds it."""

from __future__ import annotations

from dataclasses import dataclass

from common.protocol.messages import HeardPosition
from edge.media.stream_pace import StreamPace

FIRST_MEDIA_MS = 1000
"""The greeting waits no longer than this for the first media: a carrier may send none before the caller speaks."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """One connection's.  The limits are the call's: `age_ms` and `silent_ms` are what earlier connections used."""

    interruptible: bool = True
    call_s_max: int = 1800
    silence_s_max: int = 60
    lead_ms: int = 200
    position_ms: int = 0
    """Where the call's audio goes on after a reconnect."""
    age_ms: int = 0
    """How long ago the call began."""
    silent_ms: int = 0
    """How long nobody has said anything."""
    greeting_after_ms: int = 0
    """So long after the first media nothing is played: nobody would hear it."""
    heard: HeardPosition = ()
    """How far the caller had heard the agent on the connection before."""
    pace: StreamPace | None = None
    """How fast the carrier may send; None: as fast as it likes."""

    def plays_from_ms(self, now: float, epoch: int) -> float:
        """Before this time nothing is played, should the caller neither be heard nor send media; 0: play at once.

        Only on the first connection: later ones find the caller listening.
        """
        return now + FIRST_MEDIA_MS + self.greeting_after_ms if self.greeting_after_ms and epoch == 1 else 0.0
