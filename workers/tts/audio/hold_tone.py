"""Makes the sound of a caller on hold for agents without a file of their own: two soft notes, then a pause.  Pure.

The notes differ from the tones of a telephone line: India's dial, ringing and busy tones are 400 Hz, others 350 to 620.
"""

from __future__ import annotations

import math
from functools import cache

from common.audio.g711 import MULAW_OF_LINEAR, SAMPLE_RATE

ROUND_S = 4
NOTES_HZ = (880.0, 698.5)
"""A5 and F5, one after the other."""
NOTE_S = 1.2
AMPLITUDE = 2_600
"""Of a 16-bit sample: 22 dB below full scale, quieter than speech."""
FADE_S = 0.03
DECAY_S = 0.35


@cache
def hold_tone() -> bytes:
    """One round of the sound, as mu-law at 8 kHz; it can be repeated without a click."""
    linear = [0] * (ROUND_S * SAMPLE_RATE)
    for number, note_hz in enumerate(NOTES_HZ):
        begin = round(number * NOTE_S * SAMPLE_RATE)
        for at in range(round(NOTE_S * SAMPLE_RATE)):
            seconds = at / SAMPLE_RATE
            fade = min(seconds, NOTE_S - seconds, FADE_S) / FADE_S
            level = AMPLITUDE * fade * math.exp(-seconds / DECAY_S)
            linear[begin + at] = round(level * math.sin(2 * math.pi * note_hz * seconds))
    return bytes(MULAW_OF_LINEAR[sample & 0xFFFF] for sample in linear)
