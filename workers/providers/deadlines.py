"""How long a voice is waited for.  It may be late once, at its beginning, and must then keep ahead of the ear.

    until the first audio     `first_audio_s`, connecting and everything else included
    from audio to audio       `gap_s`
    in all                    never more than `gap_s` behind real time: a voice that trickles is as bad as none

Only time that was spent waiting for the vendor counts: a consumer that takes its time is no fault of the vendor's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpeechDeadlines:
    """In seconds; see the module."""

    connect_s: float = 2.0
    first_audio_s: float = 4.0
    gap_s: float = 2.0


class SynthesisDeadline:
    """What is left of it, for one clause.  Ask `left_s`, wait no longer, tell how long it was and what came."""

    def __init__(self, deadlines: SpeechDeadlines, bytes_per_ms: float) -> None:
        """`bytes_per_ms` of the audio to come."""
        self._deadlines = deadlines
        self._bytes_per_s = bytes_per_ms * 1000
        self._waited_s = 0.0
        self._heard_s = 0.0

    def of_rate(self, bytes_per_ms: float) -> None:
        """The audio turns out to have so many bytes in a millisecond."""
        self._bytes_per_s = bytes_per_ms * 1000

    @property
    def left_s(self) -> float:
        """Seconds that may be waited for the next audio; 0 or less: none."""
        if not self._heard_s:
            return self._deadlines.first_audio_s - self._waited_s
        return min(self._deadlines.gap_s, self._heard_s + self._deadlines.gap_s - self._waited_s)

    def waited(self, seconds: float) -> None:
        """So long was waited, whether or not anything came."""
        self._waited_s += seconds

    def heard(self, size: int) -> None:
        """`size` bytes of audio came."""
        if not size:
            return
        if not self._heard_s:
            self._waited_s = 0.0  # the ear starts now
        self._heard_s += size / self._bytes_per_s
