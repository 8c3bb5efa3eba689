"""Computes deadlines of a TTS provider: it may be late once, at its beginning, and must then keep up with playback.

    until the first audio     `first_audio_s`, including the connect
    from audio to audio       `gap_s`
    in all                    at most `gap_s` behind real time, since a trickle of audio is as bad as none

Only time spent waiting for the vendor counts; a slow consumer is no fault of the vendor.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpeechDeadlines:
    """Deadlines in seconds (see the module docstring)."""

    connect_s: float = 2.0
    first_audio_s: float = 4.0
    gap_s: float = 2.0


class SynthesisDeadline:
    """The deadline of one clause: wait for at most `left_s`, then report how long it was and what came."""

    def __init__(self, deadlines: SpeechDeadlines, bytes_per_ms: float) -> None:
        """`bytes_per_ms`: the rate of the audio to come."""
        self._deadlines = deadlines
        self._bytes_per_s = bytes_per_ms * 1000
        self._waited_s = 0.0
        self._heard_s = 0.0

    def of_rate(self, bytes_per_ms: float) -> None:
        """Correct the rate of the audio, once it is known."""
        self._bytes_per_s = bytes_per_ms * 1000

    @property
    def left_s(self) -> float:
        """Seconds that remain to wait for the next audio; 0 or less: none."""
        if not self._heard_s:
            return self._deadlines.first_audio_s - self._waited_s
        return min(self._deadlines.gap_s, self._heard_s + self._deadlines.gap_s - self._waited_s)

    def waited(self, seconds: float) -> None:
        """Report how many seconds were spent waiting, with or without a result."""
        self._waited_s += seconds

    def heard(self, size: int) -> None:
        """Report that `size` bytes of audio came."""
        if not size:
            return
        if not self._heard_s:
            self._waited_s = 0.0  # playback starts now
        self._heard_s += size / self._bytes_per_s
