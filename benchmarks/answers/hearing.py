"""Computes figures from the callers' records.  Pure.

    speech ──────┐ last frame sent                 an answer's wait: from here ...
                 └───────────────▶ first audible frame ... to here
    speech while the buffer still plays = a barge-in: its `clearAudio` is counted from the vendor's detection

A reply is all audio between two speeches.  The carrier's buffer plays it; while it is dry and more of the reply comes
later, the caller hears silence.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.answers.caller import NS_PER_BYTE, CallerRecord

GAP_NS_LEAST = 1_000_000
"""An empty buffer counts as silence from this time on; less is the resolution of the clock."""


@dataclass(slots=True)
class Figures:
    """All durations in ns.  `detected_to_clear` counts from the vendor's message, `speech_to_clear` from the
    first frame of speech.
    """

    waits: list[int] = field(default_factory=list)
    unanswered: int = 0
    detected_to_clear: list[int] = field(default_factory=list)
    speech_to_clear: list[int] = field(default_factory=list)
    uncleared: int = 0
    gaps: list[int] = field(default_factory=list)
    played_ns: int = 0

    @property
    def silence_share(self) -> float:
        """Silence inside replies as a share of the time from their first to their last sound."""
        silent = sum(self.gaps)
        return silent / (silent + self.played_ns) if self.played_ns else 0.0


def measured(
    heard: Iterable[CallerRecord], detections: Mapping[int, Sequence[int]], window: tuple[int, int]
) -> Figures:
    """Return the figures of all speeches that ended within the window.  `detections`: times, by caller number."""
    figures = Figures()
    for one in heard:
        _measure(figures, one, sorted(detections.get(one.number, ())), window)
    return figures


def _measure(figures: Figures, heard: CallerRecord, detections: Sequence[int], window: tuple[int, int]) -> None:
    dry_ns = 0
    for index, (first, last) in enumerate(heard.bursts):
        following = heard.bursts[index + 1][0] if index + 1 < len(heard.bursts) else heard.speaking_ns or 2**63 - 1
        inside = window[0] <= last < window[1]
        clear = _first_between(heard.clears, first, following)
        if dry_ns > first:
            if inside:
                _barge_in(figures, first, clear, _first_between(detections, first, following))
            if clear is None:
                dry_ns = _play(Figures(), heard, first, following)
                continue  # the old answer plays on: its audio looks like the new one's
        answered_from = max(last, clear or 0)
        found = _play(figures if inside else Figures(), heard, answered_from, following)
        if inside:
            _answer(figures, heard, last, answered_from, following)
        dry_ns = found or clear or dry_ns


def _barge_in(figures: Figures, first: int, clear: int | None, detected: int | None) -> None:
    if clear is None:
        figures.uncleared += 1
        return
    figures.speech_to_clear.append(clear - first)
    if detected is not None:
        figures.detected_to_clear.append(clear - detected)


def _answer(figures: Figures, heard: CallerRecord, last: int, begin: int, end: int) -> None:
    for at in range(bisect_right(heard.arrived, begin), bisect_left(heard.arrived, end)):
        if heard.audible[at]:
            figures.waits.append(heard.arrived[at] - last)
            return
    figures.unanswered += 1


def _play(figures: Figures, heard: CallerRecord, begin: int, end: int) -> int:
    """Play the audio received between the two times; return when the buffer will be empty (0: no audio)."""
    dry = 0
    for at in range(bisect_right(heard.arrived, begin), bisect_left(heard.arrived, end)):
        arrived, duration = heard.arrived[at], heard.sizes[at] * NS_PER_BYTE
        if dry and arrived - dry >= GAP_NS_LEAST:
            figures.gaps.append(arrived - dry)
        dry = max(dry, arrived)
        figures.played_ns += max(0, min(duration, end - dry))  # audio that a clear drops was not heard
        dry += duration
    return dry


def _first_between(moments: Sequence[int], begin: int, end: int) -> int | None:
    at = bisect_left(moments, begin)
    return moments[at] if at < len(moments) and moments[at] < end else None
