"""Produces the caller's audio in frames of 20 ms: queued speech, otherwise silence.  No clock, no socket.

Frame `k` holds the audio of `[20k, 20k + 20)` ms of the call and is sent when that audio is complete, at `20k + 20` ms.
"""

from dataclasses import dataclass

from simulators.sound import FRAME_MS, FRAME_SAMPLES, SAMPLES_PER_MS, Samples, loud_span_ms, silence

QUEUE_SAMPLES_MAX = 600_000 * SAMPLES_PER_MS  # ten minutes of queued speech


@dataclass(frozen=True, slots=True)
class Spoken:
    """The place of a recording on the call's time line; `first_sound_ms` and `last_sound_ms` bound its audible part."""

    began_ms: float
    first_sound_ms: float
    last_sound_ms: float
    ended_ms: float


class CallerLine:
    """The caller's audio, with a track of everything sent."""

    def __init__(self, *, keep_track: bool = True) -> None:
        self.track = silence(0)
        """All audio so far; empty without `keep_track`."""
        self._keep_track = keep_track
        self._frames = 0
        self._waiting = silence(0)
        self._sent_samples = 0  # samples of `_waiting` that have been sent

    @property
    def position_ms(self) -> float:
        return self._frames * float(FRAME_MS)

    @property
    def silent(self) -> bool:
        """Whether the next frame is silence."""
        return self._sent_samples >= len(self._waiting)

    def say(self, recording: Samples) -> Spoken:
        """Queue a recording behind the present speech and return its position."""
        left = self._waiting[self._sent_samples :]
        if len(left) + len(recording) > QUEUE_SAMPLES_MAX:
            raise ValueError("more than ten minutes of speech are queued")
        began_ms = self.position_ms + len(left) / SAMPLES_PER_MS
        self._waiting, self._sent_samples = left + recording, 0
        first_sound_ms, last_sound_ms = loud_span_ms(recording)
        return Spoken(
            began_ms, began_ms + first_sound_ms, began_ms + last_sound_ms, began_ms + len(recording) / SAMPLES_PER_MS
        )

    def next_frame(self) -> Samples:
        """Return the next 20 ms."""
        frame = self._waiting[self._sent_samples : self._sent_samples + FRAME_SAMPLES]
        self._sent_samples += FRAME_SAMPLES
        frame += silence(FRAME_SAMPLES - len(frame))
        self._frames += 1
        if self._keep_track:
            self.track += frame
        return frame

    def next_silence(self) -> None:
        """Skip the next 20 ms; only while `silent` and without `keep_track`."""
        self._frames += 1


def frame_due_ms(frame: int) -> float:
    """Return the time at which frame number `frame` (from 0) is sent."""
    return (frame + 1.0) * FRAME_MS
