"""The caller's end of the line: speech when there is some, silence otherwise, 20 ms at a time.  No clock, no socket.

Frame `k` holds the sound of `[20k, 20k + 20)` ms of the call and leaves when that sound is complete, at `20k + 20` ms.
"""

from dataclasses import dataclass

from simulators.sound import FRAME_MS, FRAME_SAMPLES, SAMPLES_PER_MS, Samples, loud_span_ms, silence

QUEUE_SAMPLES_MAX = 600_000 * SAMPLES_PER_MS  # ten minutes of speech waiting


@dataclass(frozen=True, slots=True)
class Spoken:
    """The place of a recording on the call's time line; `first_sound_ms` and `last_sound_ms` bound its audible part."""

    began_ms: float
    first_sound_ms: float
    last_sound_ms: float
    ended_ms: float


class CallerLine:
    """What the caller's microphone gives; keeps a track of it."""

    def __init__(self, *, keep_track: bool = True) -> None:
        self.track = silence(0)
        """What has been said so far; stays empty without `keep_track`."""
        self._keep_track = keep_track
        self._frames = 0
        self._waiting = silence(0)
        self._sent_samples = 0  # samples of `_waiting` that have left already

    @property
    def position_ms(self) -> float:
        return self._frames * float(FRAME_MS)

    @property
    def silent(self) -> bool:
        """Is the next frame silence?"""
        return self._sent_samples >= len(self._waiting)

    def say(self, recording: Samples) -> Spoken:
        """Speak from the next frame on (or after what is being said); tells where it will lie."""
        left = self._waiting[self._sent_samples :]
        if len(left) + len(recording) > QUEUE_SAMPLES_MAX:
            raise ValueError("the caller has more than ten minutes left to say")
        began_ms = self.position_ms + len(left) / SAMPLES_PER_MS
        self._waiting, self._sent_samples = left + recording, 0
        first_sound_ms, last_sound_ms = loud_span_ms(recording)
        return Spoken(
            began_ms, began_ms + first_sound_ms, began_ms + last_sound_ms, began_ms + len(recording) / SAMPLES_PER_MS
        )

    def next_frame(self) -> Samples:
        """The next 20 ms."""
        frame = self._waiting[self._sent_samples : self._sent_samples + FRAME_SAMPLES]
        self._sent_samples += FRAME_SAMPLES
        frame += silence(FRAME_SAMPLES - len(frame))
        self._frames += 1
        if self._keep_track:
            self.track += frame
        return frame

    def next_silence(self) -> None:
        """Pass over the next 20 ms without a look; only while `silent` and without `keep_track`."""
        self._frames += 1


def frame_due_ms(frame: int) -> float:
    """When frame number `frame` (from 0) leaves."""
    return (frame + 1.0) * FRAME_MS
