"""Tests whether the audio of a clause can hold its text.  Pure.

Seen at vendors: a stream without audio, one of digital silence, one that ends after the first syllable.  None of them
is an error on the wire, and a caller hears each as a gap.
"""

from __future__ import annotations

from common.audio.g711 import BYTES_PER_MS, LINEAR_OF_MULAW

QUIET_LINEAR_MAX = 96
"""Samples below it (-51 dBFS) are silence on a telephone."""
AUDIBLE_MS_MIN = 20
"""Less sound than this in a whole clause is a click."""
MS_PER_LETTER_MIN = 20
"""The fastest speech is 33 ms a letter: audio that has less than this for each letter of its text is not all of it."""

_QUIET = bytes(code for code in range(256) if abs(LINEAR_OF_MULAW[code]) < QUIET_LINEAR_MAX)
_ZEROS = bytes((0x00, 0x80, 0x55, 0xD5))
"""The zeros of other encodings: here they are loud, but alone they are no sound."""

NO_AUDIO, SILENCE, TOO_SHORT = "no audio", "silence", "too short"
"""What is wrong with the audio of a clause: labels of `voice_clause_audio_faults_total`."""


def letters(text: str) -> int:
    """How many characters of the text take time to speak; 0: there is nothing to say."""
    return sum(map(str.isalnum, text))


def shortest_ms(text: str, speed: float = 1.0) -> float:
    """Audio of the text that is shorter than this is not all of it."""
    return letters(text) * MS_PER_LETTER_MIN / max(speed, 1.0)


class LeadingSilence:
    """Keeps the silence before the first sound back, so that a clause of silence alone is never heard as its text."""

    def __init__(self) -> None:
        self.received = False
        """Did any audio come?"""
        self.open = False
        """Has a sound come?  From then on everything passes."""
        self._kept: list[bytes] = []
        self._loud = 0
        self._changes = False

    def feed(self, mulaw: bytes) -> bytes:
        """More audio; returns what may be heard now, silence before the first sound included."""
        self.received = self.received or bool(mulaw)
        if self.open:
            return mulaw
        self._kept.append(mulaw)
        loud = mulaw.translate(None, _QUIET)
        self._loud += len(loud)
        self._changes = self._changes or bool(loud.translate(None, _ZEROS))
        if self._loud < AUDIBLE_MS_MIN * BYTES_PER_MS or not self._changes:
            return b""
        self.open = True
        whole, self._kept = b"".join(self._kept), []
        return whole
