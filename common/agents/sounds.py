"""Defines what an agent's file says about sounds, such as the music that a caller hears on hold (docs/agents.md)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from common.agents.fields import like

HOLD = "hold"
"""The sound of a caller on hold; an agent without a file for it has a soft tone (workers/tts/audio/hold_tone.py)."""

SoundName: TypeAlias = Annotated[str, like("[a-z0-9][a-z0-9_-]{0,63}", "small letters, digits, '-' and '_'")]
SoundFile: TypeAlias = Annotated[
    str,
    like(
        r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,99}\.([Ww][Aa][Vv]|ulaw)",
        "the name of a WAV file, or of one of raw mu-law at 8 kHz, beside the agent's file: hold.wav, hold.ulaw",
    ),
]
"""Without a folder: the record of a call, which holds it, must not name files elsewhere."""
