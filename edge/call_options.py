"""What a call's agent and its record say, as far as the edge minds it."""

from __future__ import annotations

from dataclasses import dataclass


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
