"""Decides the turns over Cartesia's Ink, which only transcribes.  Pure: audio and messages in, events and texts out.

Ink expects a `finalize` when the caller pauses, and answers with the rest of the words and `flush_done`.  Loudness and
`Endpointing` decide when the caller pauses:

    EagerEnd -> finalize ... flush_done -> EagerEndOfTurn     End after flush_done -> EndOfTurn
    caller goes on: words are kept, next EagerEnd -> finalize End before it -> EndOfTurn at flush_done or deadline

Answers come in the order of the questions, so the words before a `flush_done` belong to the audio before its
`finalize`.  An interim text replaces the one before it and is replaced by the next final one; finals follow each
other.  Word times are not used: they drift by seconds (and the audio of a replay comes faster than real time).
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass

from common.audio.g711 import BYTES_PER_MS
from workers.providers.cartesia import failure
from workers.providers.interfaces import (
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    SpeechEnd,
    SpeechStart,
    SttEvent,
)
from workers.stt.stream.backlog import ReplayBacklog
from workers.stt.stream.interim_words import InterimWords
from workers.stt.stream.stt_core import IDLE_S, Effect, UnresponsiveVendor
from workers.stt.vad.endpointing import WINDOW_MS, EagerEnd, End, Endpointing
from workers.stt.vad.energy import NOT, EnergyVad

FINALIZE = "finalize"
NAME = "cartesia"


@dataclass(slots=True)
class _Flush:
    """A `finalize` that is not answered yet; `ends` once the turn is known to end there."""

    start_ms: int
    end_ms: int
    due: float
    ends: bool = False
    decided_ms: int = 0


class InkCore:
    """See `workers.stt.stream.stt_core.SttCore`."""

    def __init__(self, options: ListenOptions, final_s: float) -> None:
        self._options = options
        self._final_s = final_s
        self._backlog = ReplayBacklog()
        self._loudness = EnergyVad()
        self._endpointing = Endpointing(options)
        self._asked: deque[_Flush] = deque()
        self._finals: list[str] = []
        self._interim = ""
        self._interims = InterimWords()
        self._missing = ""  # in the finals, though it stood in interims
        self._flushed_to_ms = -1  # the words up to here are known
        self._speaking = False
        self._started_ms: int | None = None  # of the open turn
        self._loud_to_ms = 0
        self._idle_at = 0.0

    @property
    def deadline(self) -> float | None:
        dues = [self._asked[0].due] if self._asked else []
        return min([*dues, self._idle_at] if self._started_ms is not None else dues, default=None)

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> list[Effect]:
        effects: list[Effect] = []
        self._backlog.feed(len(mulaw) / BYTES_PER_MS, now)
        self._idle_at = now + IDLE_S
        for at_ms, probability in self._loudness.feed(position_ms, mulaw):
            self._loud_to_ms = at_ms + WINDOW_MS if probability > NOT else self._loud_to_ms
            for decision in self._endpointing.feed(at_ms, probability):
                match decision:
                    case SpeechStart(start_ms):
                        self._speaking = True
                        self._started_ms = start_ms if self._started_ms is None else self._started_ms
                        effects.append(decision)
                    case SpeechEnd():
                        self._speaking = False
                        effects.append(decision)
                    case EagerEnd(start_ms, end_ms):
                        effects.append(self._ask(start_ms, end_ms, now))
                    case End(start_ms, end_ms):
                        effects += self._end(start_ms, end_ms, at_ms, now)
        return effects

    def receive(self, raw: str | bytes, now: float) -> list[Effect]:
        try:
            fields = json.loads(raw)
            kind, text = fields.get("type"), str(fields.get("text") or "").strip()
        except (ValueError, AttributeError):
            raise Down(f"{NAME} sent a message that is no JSON object") from None
        if kind == "error":
            raise failure(NAME, fields)
        if kind == "transcript":
            if fields.get("is_final"):
                self._finals += [text] if text else []
                self._interim = ""
                self._missing = self._interims.final(text) or self._missing
            elif text:
                self._interim = text
                self._interims.interim(text)
        return self._answered() if kind == "flush_done" else []

    def wake(self, now: float) -> list[Effect]:
        """See `SttCore`.  When an answer is overdue the vendor is given up: answers can no longer be matched."""
        if not self._asked or now < self._asked[0].due:
            return self._idle(now)
        flush = self._asked[0]
        known: tuple[SttEvent, ...] = ()
        if flush.ends and (text := self._words()):
            known = (EndOfTurn(text, flush.start_ms, flush.end_ms, flush.decided_ms),)
        raise UnresponsiveVendor(f"{NAME} does not finish a transcript", known)

    def _idle(self, now: float) -> list[Effect]:
        """End the open turn with what there was, if no audio comes any more."""
        if self._started_ms is None or now < self._idle_at:
            return []
        start_ms, end_ms, spoke = self._started_ms, max(self._loud_to_ms, self._started_ms), self._speaking
        self._speaking = False
        self._endpointing = Endpointing(self._options)
        speech_end: list[Effect] = [SpeechEnd(end_ms)] if spoke else []
        return [*speech_end, *self._end(start_ms, end_ms, end_ms, now)]

    def _ask(self, start_ms: int, end_ms: int, now: float) -> str:
        self._asked.append(_Flush(start_ms, end_ms, now + self._final_s + self._backlog.allowance_s(now)))
        return FINALIZE

    def _end(self, start_ms: int, end_ms: int, decided_ms: int, now: float) -> list[Effect]:
        self._started_ms = None
        if not self._asked and self._flushed_to_ms == end_ms:
            return self._end_of_turn(start_ms, end_ms, decided_ms)
        asked: list[Effect] = []
        if not self._asked or self._asked[-1].end_ms != end_ms:
            asked.append(self._ask(start_ms, end_ms, now))
        flush = self._asked[-1]
        flush.ends, flush.decided_ms = True, decided_ms
        return asked

    def _answered(self) -> list[Effect]:
        if not self._asked:
            return []  # nothing was asked: the vendor flushes by itself, too
        flush = self._asked.popleft()
        if self._interim:  # what was not made final by a flush is final now
            self._finals.append(self._interim)
            self._interim = ""
        if flush.ends:
            return self._end_of_turn(flush.start_ms, flush.end_ms, flush.decided_ms)
        self._flushed_to_ms = flush.end_ms
        text = self._words()
        if text and not self._speaking and not self._asked and self._options.eager_endpointing_ms:
            return [EagerEndOfTurn(text, flush.start_ms, flush.end_ms)]
        return []

    def _end_of_turn(self, start_ms: int, end_ms: int, decided_ms: int) -> list[Effect]:
        text, missing = self._words(), self._missing
        self._finals.clear()
        self._interim = self._missing = ""
        self._interims = InterimWords()
        if not text and missing:
            return [EndOfTurn(missing, start_ms, end_ms, decided_ms, unsure=True)]
        return [EndOfTurn(text, start_ms, end_ms, decided_ms)] if text else []

    def _words(self) -> str:
        return " ".join([*self._finals, *([self._interim] if self._interim else [])])
