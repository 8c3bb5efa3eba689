"""Tests whether a text can be spoken, and whether the audio of a clause can hold its text.  Pure.

Seen at vendors: a stream without audio, one of digital silence, one that ends after the first syllable.  None of them
is a protocol error, and a caller hears each as a gap.
"""

from __future__ import annotations

from common.audio.g711 import BYTES_PER_MS, LINEAR_OF_MULAW
from workers.providers.interfaces import Rejected

TEXT_CHARS_MAX = 2000
"""Over two minutes of speech, and the smallest limit of a vendor (Aura's): no clause is that long."""
QUIET_LINEAR_MAX = 96
"""Samples below it (-51 dBFS) are silence on a telephone."""
AUDIBLE_MS_MIN = 20
"""Less sound than this in a whole clause is a click, in ms."""
MS_PER_LETTER_MIN = 20
"""The fastest speech takes 33 ms a letter: audio with less than this for each letter is incomplete."""

_QUIET = bytes(code for code in range(256) if abs(LINEAR_OF_MULAW[code]) < QUIET_LINEAR_MAX)
_ZEROS = bytes((0x00, 0x80, 0x55, 0xD5))
"""The zeros of other encodings: loud in mu-law, but a stream of them alone is silence."""

NO_AUDIO, SILENCE, TOO_SHORT = "no audio", "silence", "too short"
"""Faults of a clause's audio: labels of `voice_clause_audio_faults_total`."""


def letters(text: str) -> int:
    """Return how many characters of the text take time to speak; 0: there is nothing to speak."""
    return sum(map(str.isalnum, text))


def is_speakable(text: str) -> bool:
    """Return whether the text has anything to speak.  Raises `Rejected` if it is too long for a clause."""
    if len(text) > TEXT_CHARS_MAX:
        raise Rejected(f"a clause of {len(text)} characters; at most {TEXT_CHARS_MAX} are spoken at once")
    return letters(text) > 0


def shortest_ms(text: str, speed: float = 1.0) -> float:
    """Return the least duration of the text's audio in ms; shorter audio is incomplete."""
    return letters(text) * MS_PER_LETTER_MIN / max(speed, 1.0)


class LeadingSilence:
    """Holds the silence before the first sound, so that a clause of silence alone is not played as its text."""

    def __init__(self) -> None:
        self.received = False
        """True if any audio came."""
        self.open = False
        """True once a sound has come; from then on everything passes."""
        self._kept: list[bytes] = []
        self._loud = 0
        self._changes = False

    def feed(self, mulaw: bytes) -> bytes:
        """Take more audio; return what may be played now, including the silence before the first sound."""
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
