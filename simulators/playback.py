"""Models the carrier's playback queue: the audio that the caller hears, and its times.  No clock, no socket.

    playAudio ──▶ [ audio | audio | marker | audio ] ──▶ the caller, in real time
    clearAudio ── empties audio and markers at once; `clearedAudio` follows `clear_delay_ms` later

Because play is in real time, the queue is a schedule: audio that arrives at `now_ms` starts where the queue ends, or
at once if the queue is empty.  So there is no tick; only acknowledgements fall due.  Call `wake(now_ms)` at
`deadline_ms` and send what it returns.  Between clearAudio and its acknowledgement new audio and markers are dropped:
the documented race.  All times are ms on the call's time line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from simulators.sound import LOUD_WINDOW_MS, SAMPLES_PER_MS, Samples, loud_windows, silence

QUEUE_MS_MAX = 600_000.0  # ten minutes of queued speech: a runaway server, not a reply
MARKERS_MAX = 10_000
UNDERRUN_MS_MIN = 1.0  # below this the next audio was in time
UNDERRUN_MS_MAX = 800.0  # a longer silence is a pause between replies, not a hole in one


@dataclass(frozen=True, slots=True)
class Played:
    """All audio before the marker has been heard: answer `playedStream`."""

    name: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """The queue is empty and accepts audio again: answer `clearedAudio`."""


@dataclass(frozen=True, slots=True)
class Underrun:
    at_ms: float
    gap_ms: float


@dataclass(slots=True)
class Clear:
    """One clearAudio: the audio that it dropped, in encoded bytes and in ms."""

    at_ms: float
    dropped_bytes: int
    dropped_ms: float
    voided_checkpoints: int
    raced_bytes: int = 0  # received between the clear and its acknowledgement
    acked_ms: float | None = None


@dataclass(slots=True)
class Segment:
    """Audio of one playAudio; `loud` holds one flag per 10 ms from `start_ms`."""

    start_ms: float
    length: int
    """Length in samples of 8 kHz; the samples themselves may not be kept."""
    samples: Samples | None
    loud: list[bool]
    bytes_per_ms: float

    @property
    def end_ms(self) -> float:
        return self.start_ms + self.length / SAMPLES_PER_MS

    def cut(self, at_ms: float) -> None:
        """Drop everything from `at_ms` on (rounded down: the rest must not end after the cut)."""
        self.length = min(self.length, max(0, int((at_ms - self.start_ms) * SAMPLES_PER_MS)))
        if self.samples is not None:
            self.samples = self.samples[: self.length]
        self.loud = self.loud[: -(-self.length // (LOUD_WINDOW_MS * SAMPLES_PER_MS))]


class Playback:
    """One call's queue.  `now_ms` must never run backwards."""

    def __init__(self, clear_delay_ms: float = 20.0) -> None:
        self.clear_delay_ms = clear_delay_ms
        self.end_ms = 0.0
        """The time at which the last audio ends; in the past if the queue is empty."""
        self.clears: list[Clear] = []
        self.underruns: list[Underrun] = []
        self.heard_checkpoints: list[tuple[str, float]] = []
        self.overflow_bytes = 0
        self._segments: list[Segment] = []
        self._markers: deque[tuple[float, str]] = deque()
        self._acks: deque[Clear] = deque()
        self._burst = False  # would silence before the next audio be a hole in a reply?

    @property
    def deadline_ms(self) -> float | None:
        """The time of the next acknowledgement; None if none is due."""
        due = [self._markers[0][0]] if self._markers else []
        if self._acks:
            due.append(self._acks[0].at_ms + self.clear_delay_ms)
        return min(due, default=None)

    def playing(self, now_ms: float) -> bool:
        return self.end_ms > now_ms

    def play(self, samples: Samples, wire_bytes: int, now_ms: float) -> None:
        """Append 8 kHz `samples` that were `wire_bytes` long in their own encoding."""
        self._append(samples, len(samples), loud_windows(samples), wire_bytes, now_ms)

    def play_unheard(self, duration_ms: float, loud: list[bool], wire_bytes: int, now_ms: float) -> None:
        """Append audio without its samples: everything is measured, but `track` is silent there."""
        self._append(None, int(duration_ms * SAMPLES_PER_MS), loud, wire_bytes, now_ms)

    def _append(self, samples: Samples | None, length: int, loud: list[bool], wire_bytes: int, now_ms: float) -> None:
        if self._acks:
            self._acks[-1].raced_bytes += wire_bytes
            return
        if not length:
            return
        if self.end_ms - now_ms > QUEUE_MS_MAX:
            self.overflow_bytes += wire_bytes
            return
        start_ms = max(now_ms, self.end_ms)
        gap_ms = start_ms - self.end_ms
        if self._burst and UNDERRUN_MS_MIN <= gap_ms <= UNDERRUN_MS_MAX:
            self.underruns.append(Underrun(self.end_ms, gap_ms))
        duration_ms = length / SAMPLES_PER_MS
        self._segments.append(Segment(start_ms, length, samples, loud, wire_bytes / duration_ms))
        self.end_ms = start_ms + duration_ms
        self._burst = True

    def checkpoint(self, name: str, now_ms: float) -> None:
        """Place a marker behind all audio so far; on an empty queue it is due at once."""
        if not self._acks and len(self._markers) < MARKERS_MAX:
            self._markers.append((max(now_ms, self.end_ms), name))

    def clear(self, now_ms: float) -> None:
        """Empty the queue; the audio that plays stops at once."""
        heard = [marker for marker in self._markers if marker[0] <= now_ms]  # due, but not yet acknowledged
        clear = Clear(now_ms, 0, max(0.0, self.end_ms - now_ms), len(self._markers) - len(heard))
        dropped = 0.0
        while self._segments and self._segments[-1].end_ms > now_ms:
            last = self._segments[-1]
            dropped += (last.end_ms - max(last.start_ms, now_ms)) * last.bytes_per_ms
            if last.start_ms < now_ms:
                last.cut(now_ms)
                break
            self._segments.pop()
        clear.dropped_bytes = round(dropped)
        self.end_ms = min(self.end_ms, now_ms)
        self._markers = deque(heard)
        self._acks.append(clear)
        self.clears.append(clear)
        self._burst = False

    def end(self, now_ms: float) -> None:
        """End the stream: drop queued audio and every pending acknowledgement."""
        self.clear(now_ms)
        self.clears.pop()
        self._acks.clear()
        self._markers.clear()

    def caller_spoke(self, now_ms: float) -> None:
        """Count the silence until the next audio as a pause between replies, not as an underrun."""
        if not self.playing(now_ms):
            self._burst = False

    def wake(self, now_ms: float) -> list[Played | Cleared]:
        """Return the acknowledgements that are due by `now_ms`, in order of their times."""
        due: list[tuple[float, Played | Cleared]] = []
        while self._acks and self._acks[0].at_ms + self.clear_delay_ms <= now_ms:
            clear = self._acks.popleft()
            clear.acked_ms = clear.at_ms + self.clear_delay_ms
            due.append((clear.acked_ms, Cleared()))
        while self._markers and self._markers[0][0] <= now_ms:
            at_ms, name = self._markers.popleft()
            self.heard_checkpoints.append((name, at_ms))
            due.append((at_ms, Played(name)))
        return [answer for _, answer in sorted(due, key=lambda pair: pair[0])]

    def first_loud_ms(self, after_ms: float, until_ms: float) -> float | None:
        """Return the first time in `[after_ms, until_ms)` at which the agent is audible, to 10 ms."""
        newest = len(self._segments)
        while newest and self._segments[newest - 1].end_ms > after_ms:
            newest -= 1
        for segment in self._segments[newest:]:
            for at_ms, to_ms in _loud(segment):
                if to_ms > after_ms:
                    return max(at_ms, after_ms) if max(at_ms, after_ms) < until_ms else None
        return None

    def loud_spans_ms(self, until_ms: float, join_ms: float = 300.0) -> list[tuple[float, float]]:
        """Return the spans in which the agent is audible until `until_ms`; join silences shorter than `join_ms`."""
        spans: list[tuple[float, float]] = []
        for segment in self._segments:
            for at_ms, to_ms in _loud(segment):
                if at_ms >= until_ms:
                    return spans
                if spans and at_ms - spans[-1][1] < join_ms:
                    spans[-1] = (spans[-1][0], min(to_ms, until_ms))
                else:
                    spans.append((at_ms, min(to_ms, until_ms)))
        return spans

    def silent_from_ms(self, after_ms: float, gap_ms: float = 200.0) -> float:
        """Return the first time from `after_ms` on without audio; gaps under `gap_ms` count as audio."""
        at_ms, playing = after_ms, False
        for segment in self._segments:
            if segment.start_ms <= at_ms + (gap_ms if playing else 0.0) and segment.end_ms > at_ms:
                at_ms, playing = segment.end_ms, True
        return at_ms

    def track(self, until_ms: float) -> Samples:
        """Return the audio that the caller heard from 0 to `until_ms`."""
        track = silence(round(until_ms * SAMPLES_PER_MS))
        for segment in self._segments:
            if segment.samples is None:
                continue
            at = round(segment.start_ms * SAMPLES_PER_MS)
            heard = segment.samples[: max(0, len(track) - at)]
            track[at : at + len(heard)] = heard
        return track


def _loud(segment: Segment) -> Iterator[tuple[float, float]]:
    for index, flag in enumerate(segment.loud):
        if flag:
            at_ms = segment.start_ms + index * LOUD_WINDOW_MS
            yield at_ms, min(at_ms + LOUD_WINDOW_MS, segment.end_ms)
