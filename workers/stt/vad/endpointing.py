"""Decides when the caller speaks and when a turn is over.  Pure: windows of speech probability in, decisions out.

    quiet --min_interruption_ms of speech--> SpeechStart --silence--> SpeechEnd, EagerEnd --endpointing_ms--> End
                                                  ^                       |
                                                  +------more speech------+

Time is the position in the call's audio, never a clock, so that a replay at any speed decides the same.  Three rules:

- Every `SpeechStart` is followed by exactly one `SpeechEnd`, before the next `SpeechStart` and before the `End`.
- A turn may hold several pairs of them (pauses shorter than `endpointing_ms`) and has one `End`.
- A `EagerEnd` is void as soon as an `End` or `EagerEnd` with another `end_ms` comes: the caller went on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from workers.providers.interfaces import ListenOptions, SpeechEnd, SpeechStart

WINDOW_MS = 32
"""The length of a window."""
SPEECH_BEGINS = 0.5
SPEECH_LASTS = 0.35
"""Hysteresis: speech begins at the upper probability and lasts until it falls below the lower one."""
EAGER_END_MS = 200
"""Silence after which the caller has probably finished: `SpeechEnd`, `EagerEnd`.  Gaps in words are shorter."""
GAP_MS = 64
"""Silence that does not interrupt a run of speech: the closure of a "t" or a "p"."""
RESUME_MS = 64
"""Speech this long ends a pause within a turn; anything shorter is a click."""


@dataclass(frozen=True, slots=True)
class EagerEnd:
    """The turn from `start_ms` may be over at `end_ms` and can be decoded now.  Void if the caller goes on."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class End:
    """The turn is over: its speech lies in `start_ms` to `end_ms`.

    `cut`: the turn reached `utterance_ms_max`; if the caller still speaks, the next piece begins at `end_ms`.
    """

    start_ms: int
    end_ms: int
    cut: bool = False


Decision: TypeAlias = SpeechStart | SpeechEnd | EagerEnd | End


class Endpointing:
    """The endpointing of one call.  Feed every window once, in order; decisions are returned in order."""

    def __init__(self, options: ListenOptions) -> None:
        self._options = options
        self._voiced = False
        self._fed_to_ms: int | None = None  # end of the last window
        # The current run of speech: windows with gaps of at most GAP_MS.
        self._run_start_ms = 0
        self._run_end_ms = 0
        self._run_speech_ms = 0  # 0: no run
        # The open turn, if any.
        self._start_ms: int | None = None
        self._end_ms = 0  # end of its last speech
        self._eager_end_ms = -1  # `end_ms` of the last EagerEnd
        self._speaking = False  # a SpeechStart awaits its SpeechEnd

    @property
    def needed_from_ms(self) -> int | None:
        """The position of the earliest audio that a later decision may name; None: nothing before the next window."""
        if self._start_ms is not None:
            return self._start_ms
        return self._run_start_ms if self._run_speech_ms else None

    def feed(self, position_ms: int, probability: float) -> list[Decision]:
        """Take the window that begins at `position_ms`, with the probability (0 to 1) that it holds speech.

        Windows that are missing count as silence.  Raises ValueError if positions go back.
        """
        fed_to_ms = self._fed_to_ms
        decisions: list[Decision] = []
        if fed_to_ms is not None and position_ms != fed_to_ms:
            if position_ms < fed_to_ms:
                raise ValueError(f"window at {position_ms} ms after the one that ended at {fed_to_ms} ms")
            self._voiced = False
            decisions += self._silence(position_ms)
        self._fed_to_ms = position_ms + WINDOW_MS
        self._voiced = probability >= (SPEECH_LASTS if self._voiced else SPEECH_BEGINS)
        if self._voiced:
            decisions += self._speech(position_ms)
        return decisions + self._silence(self._fed_to_ms)

    def _speech(self, position_ms: int) -> list[Decision]:
        """Lengthen or begin a run by a window of speech; the run may start speech, or end a pause."""
        if not self._run_speech_ms or position_ms - self._run_end_ms > GAP_MS:
            self._run_start_ms, self._run_speech_ms = position_ms, 0
        self._run_end_ms = position_ms + WINDOW_MS
        self._run_speech_ms += WINDOW_MS
        if self._start_ms is not None and (self._speaking or self._run_speech_ms >= RESUME_MS):
            self._end_ms = self._run_end_ms
        if self._speaking or self._run_speech_ms < self._options.min_interruption_ms:
            return []
        self._speaking = True
        if self._start_ms is None:
            self._start_ms, self._end_ms = self._run_start_ms, self._run_end_ms
        return [SpeechStart(self._run_start_ms)]

    def _silence(self, now_ms: int) -> list[Decision]:
        """Decide by the silence until `now_ms`, which may be none."""
        if self._run_speech_ms and now_ms - self._run_end_ms > GAP_MS:
            self._run_speech_ms = 0
        start_ms = self._start_ms
        if start_ms is None:
            return []
        decisions: list[Decision] = []
        silence_ms = now_ms - self._end_ms
        if self._speaking and silence_ms >= min(EAGER_END_MS, self._options.endpointing_ms):
            self._speaking = False
            decisions.append(SpeechEnd(self._end_ms))
        eager_endpointing_ms = self._options.eager_endpointing_ms or EAGER_END_MS
        if not self._speaking and self._eager_end_ms != self._end_ms > start_ms and silence_ms >= eager_endpointing_ms:
            self._eager_end_ms = self._end_ms
            decisions.append(EagerEnd(start_ms, self._end_ms))
        # While there is sound the turn is not ended: it may be the caller going on.
        if silence_ms >= self._options.endpointing_ms and not self._voiced:
            self._start_ms = None
            if self._end_ms > start_ms:  # else: no speech followed a cut
                decisions.append(End(start_ms, self._end_ms))
        elif now_ms - start_ms >= self._options.utterance_ms_max:
            decisions += self._cut(start_ms, now_ms)
        return decisions

    def _cut(self, start_ms: int, now_ms: int) -> list[Decision]:
        """End a turn that is too long; a caller in full flow begins the next piece at once, so that no word is lost."""
        if not self._speaking:
            self._start_ms = None
            return [End(start_ms, self._end_ms, cut=True)]
        self._start_ms = self._end_ms = self._eager_end_ms = now_ms
        self._run_start_ms = now_ms
        return [SpeechEnd(now_ms), End(start_ms, now_ms, cut=True), SpeechStart(now_ms)]
