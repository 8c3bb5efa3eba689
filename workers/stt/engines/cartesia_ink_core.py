"""The caller's turns, as Cartesia's Ink tells them.  Pure: audio and messages in, what was heard out.

This vendor transcribes and leaves the turns to us: it wants a `finalize` when the caller pauses, and answers with the
rest of the words and `flush_done`.  When the caller pauses is decided by loudness and `Endpointing`:

    LikelyEnd -> finalize ... flush_done -> Likely             End, flush_done was there -> Utterance
    caller goes on: words are kept, next LikelyEnd -> finalize End, it was not -> Utterance at flush_done or deadline

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
from workers.stt.stream.batched_stream import IDLE_S, UnresponsiveVendor
from workers.stt.stream.interim_words import InterimWords
from workers.stt.vad.endpointing import WINDOW_MS, End, Endpointing, LikelyEnd
from workers.stt.vad.energy import NOT, EnergyVad

FINALIZE = "finalize"
NAME = "cartesia"


@dataclass(slots=True)
class _Flush:
    """A `finalize` that is not answered; `ends` once the turn is known to be over there."""

    start_ms: int
    end_ms: int
    due: float
    ends: bool = False
    decided_ms: int = 0


class InkTurns:
    """See `workers.stt.stream.batched_stream.Hearing`."""

    def __init__(self, options: ListenOptions, final_s: float) -> None:
        self.orders: list[str] = []
        self._options = options
        self._final_s = final_s
        self._pace = ReplayBacklog()
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

    def encode(self, mulaw: bytes) -> bytes:
        """mu-law, as the vendor was told in the query."""
        return mulaw

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> list[SttEvent]:
        heard: list[SttEvent] = []
        self._pace.feed(len(mulaw) / BYTES_PER_MS, now)
        self._idle_at = now + IDLE_S
        for at_ms, probability in self._loudness.feed(position_ms, mulaw):
            self._loud_to_ms = at_ms + WINDOW_MS if probability > NOT else self._loud_to_ms
            for decision in self._endpointing.feed(at_ms, probability):
                match decision:
                    case SpeechStart(start_ms):
                        self._speaking = True
                        self._started_ms = start_ms if self._started_ms is None else self._started_ms
                        heard.append(decision)
                    case SpeechEnd():
                        self._speaking = False
                        heard.append(decision)
                    case LikelyEnd(start_ms, end_ms):
                        self._ask(start_ms, end_ms, now)
                    case End(start_ms, end_ms):
                        heard += self._end(start_ms, end_ms, at_ms, now)
        return heard

    def receive(self, message: str | bytes, now: float) -> list[SttEvent]:
        try:
            fields = json.loads(message)
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

    def wake(self, now: float) -> list[SttEvent]:
        """An answer is overdue: tell what is known, and give the vendor up, as answers can no longer be matched."""
        if not self._asked or now < self._asked[0].due:
            return self._idle(now)
        flush = self._asked[0]
        known: tuple[SttEvent, ...] = ()
        if flush.ends and (text := self._words()):
            known = (EndOfTurn(text, flush.start_ms, flush.end_ms, flush.decided_ms),)
        raise UnresponsiveVendor(f"{NAME} does not finish a transcript", known)

    def _idle(self, now: float) -> list[SttEvent]:
        """No audio comes any more: the turn, if one is open, ends with what there was."""
        if self._started_ms is None or now < self._idle_at:
            return []
        start_ms, end_ms, spoke = self._started_ms, max(self._loud_to_ms, self._started_ms), self._speaking
        self._speaking = False
        self._endpointing = Endpointing(self._options)
        offset: list[SttEvent] = [SpeechEnd(end_ms)] if spoke else []
        return [*offset, *self._end(start_ms, end_ms, end_ms, now)]

    def _ask(self, start_ms: int, end_ms: int, now: float) -> _Flush:
        self.orders.append(FINALIZE)
        self._asked.append(_Flush(start_ms, end_ms, now + self._final_s + self._pace.allowance_s(now)))
        return self._asked[-1]

    def _end(self, start_ms: int, end_ms: int, decided_ms: int, now: float) -> list[SttEvent]:
        self._started_ms = None
        if not self._asked and self._flushed_to_ms == end_ms:
            return self._utterance(start_ms, end_ms, decided_ms)
        if self._asked and self._asked[-1].end_ms == end_ms:
            flush = self._asked[-1]
        else:
            flush = self._ask(start_ms, end_ms, now)
        flush.ends, flush.decided_ms = True, decided_ms
        return []

    def _answered(self) -> list[SttEvent]:
        if not self._asked:
            return []  # not ours: the vendor flushes by itself, too
        flush = self._asked.popleft()
        if self._interim:  # what was not made final by a flush is final now
            self._finals.append(self._interim)
            self._interim = ""
        if flush.ends:
            return self._utterance(flush.start_ms, flush.end_ms, flush.decided_ms)
        self._flushed_to_ms = flush.end_ms
        text = self._words()
        if text and not self._speaking and not self._asked and self._options.eager_endpointing_ms:
            return [EagerEndOfTurn(text, flush.start_ms, flush.end_ms)]
        return []

    def _utterance(self, start_ms: int, end_ms: int, decided_ms: int) -> list[SttEvent]:
        text, missing = self._words(), self._missing
        self._finals.clear()
        self._interim = self._missing = ""
        self._interims = InterimWords()
        if not text and missing:
            return [EndOfTurn(missing, start_ms, end_ms, decided_ms, unsure=True)]
        return [EndOfTurn(text, start_ms, end_ms, decided_ms)] if text else []

    def _words(self) -> str:
        return " ".join([*self._finals, *([self._interim] if self._interim else [])])
