"""Deepgram's results as turns: pure, its messages and the time in, what is heard out.

    SpeechStarted, or new words -> Onset        speech_final, or silence in the results -> Offset, Likely
    endpoint_ms of audio after the last word, or UtteranceEnd, or the final deadline    -> Utterance

Which clock says that `endpointing_ms` of audio passed?

- While the vendor's detector has not said that speech ended, only the results do: they cover audio up to some
  position, with or without new words.  Audio that was sent and not yet looked at may hold words.
- Once it has (`speech_final`), the audio that goes on coming in counts: results come once a second, and would be
  late.  In a replay, where the vendor is far behind what was sent, only what came since then counts.

A final that does not come is asked for after `final_ms` without anything new, and `grace_ms` later the last interim
is taken for it, unless the vendor says nothing at all any more: then this socket is dead, and the next hears better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from workers.providers.interfaces import (
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    SpeechEnd,
    SpeechStart,
    SttEvent,
)
from workers.stt.stream.audio_feed import VendorFeed
from workers.stt.stream.interim_words import InterimWords

FINALIZE = '{"type": "Finalize"}'
QUIET_MS = 200
"""Silence in the results after which the caller has paused, if the detector has not said so."""
WORDLESS_MS = 1000
"""Speech that has no words after so much audio was a noise."""
LIVE_LAG_MS = 1000
"""The vendor is live if what a result covers was sent less than this before it came; else it works on a replay."""
IDLE_MS = 400
"""No audio was sent for so long: no result will come that could decide anything."""
DEAD_MS = 5000
"""A telephone line never falls silent in this way: Redis fails over, or the edge stands still, and the caller's next
words wait there.  Only after this long is the turn ended without them."""
REVISION_MS = 150
"""The times of a word move by less than this from one result to the next; what ends later is a new word."""


@dataclass(slots=True)
class _NovaTurn:
    """The open turn: from its first speech to its utterance."""

    start_ms: int
    words_end_ms: int = -1  # of the last word known, final or not; -1: no words yet
    finals: list[str] = field(default_factory=list)
    interim: str = ""
    interims: InterimWords = field(default_factory=InterimWords)
    sure: bool = False
    """A final has words; else those of `finals` stood in interims only."""
    hushed: bool = False
    """The vendor's detector heard the speech end, and nothing new since."""
    likely: bool = False

    @property
    def text(self) -> str:
        return " ".join([*self.finals, self.interim] if self.interim else self.finals)


@dataclass(frozen=True, slots=True)
class _Words:
    """What a result says that was not told before."""

    text: str
    start_ms: int
    end_ms: int


class DeepgramTurns:
    """See `workers.stt.stream.socket_stream.Turns`: one socket's; `final_ms` counts from a turn's last news."""

    def __init__(self, name: str, options: ListenOptions, feed: VendorFeed, final_ms: int, grace_ms: int) -> None:
        self._name = name
        self._options = options
        self._feed = feed
        self._final_ms = final_ms
        self._grace_ms = grace_ms
        self._turn: _NovaTurn | None = None
        self._min_interruption_ms: int | None = None  # an Onset awaits its Offset
        self._told_ms = 0  # audio up to here is in utterances
        self._covered_ms = 0  # the results cover the audio up to here ...
        self._covered_fed_ms = 0  # ... and this was fed when they did
        self._news_ms = 0  # when something new was heard
        self._message_ms = 0  # when a message came
        self._sent = (0, 0)  # how much audio was sent, and since when it is no more
        self._asked_ms: int | None = None  # when Finalize was sent

    def receive(self, message: dict[str, Any], now_ms: int) -> Iterator[SttEvent | str]:
        self._message_ms = now_ms
        match message["type"]:
            case "Results":
                yield from self._results(message, now_ms)
            case "SpeechStarted":
                yield from self._speech_started(self._feed.position(message["timestamp"] * 1000), now_ms)
            case "UtteranceEnd":
                yield from self._utterance_end(self._feed.position(message["last_word_end"] * 1000))
            case "Error":
                raise Down(f"{self._name} sent an error")
        yield from self.advance(now_ms)

    def advance(self, now_ms: int) -> Iterator[SttEvent | str]:
        if self._feed.taken_ms != self._sent[0]:
            if now_ms - self._sent[1] >= IDLE_MS:
                self._news_ms = now_ms  # until now the vendor had nothing to say it about
            self._sent = (self._feed.taken_ms, now_ms)
        if self._turn is not None:
            yield from self._silence(self._turn)
        if self._turn is not None:
            yield from self._overdue(self._turn, now_ms)

    # --- messages ---

    def _speech_started(self, position_ms: int, now_ms: int) -> Iterator[SttEvent | str]:
        turn = self._turn
        if self._min_interruption_ms is not None or (turn is not None and position_ms < turn.words_end_ms):
            return  # it is known
        self._news_ms = now_ms
        yield from self._onset(max(position_ms, self._told_ms))

    def _results(self, message: dict[str, Any], now_ms: int) -> Iterator[SttEvent | str]:
        start, duration = message["start"], message["duration"]
        is_final, speech_final = message.get("is_final") is True, message.get("speech_final") is True
        self._covered_ms = max(self._covered_ms, self._feed.position((start + duration) * 1000))
        self._covered_fed_ms = self._feed.fed_ms
        alternatives = message["channel"]["alternatives"]
        words = self._words(alternatives[0], start, duration) if alternatives else None
        if words is not None:
            yield from self._more(words, is_final, now_ms)
        turn = self._turn
        if turn is None:
            return
        if is_final:
            turn.sure = turn.sure or words is not None
            missing = turn.interims.final(words.text if words is not None else "")
            turn.finals += [words.text] if words is not None else [missing] if missing else []
            turn.interim = ""
            if not turn.finals:
                turn.words_end_ms = -1  # the interim words were none
        if speech_final and not turn.interim:
            turn.hushed = True
            yield from self._pause(turn)
        elif words is None and self._wordless(turn):
            yield from self._pause(turn)
        if is_final and turn.finals and turn.words_end_ms - turn.start_ms >= self._options.utterance_ms_max:
            yield from self._cut(turn)

    def _wordless(self, turn: _NovaTurn) -> bool:
        """Did an onset bring no words, so that it was a noise?"""
        min_interruption_ms = self._min_interruption_ms
        return (
            min_interruption_ms is not None
            and turn.words_end_ms <= min_interruption_ms <= self._covered_ms - WORDLESS_MS
        )

    def _more(self, words: _Words, is_final: bool, now_ms: int) -> Iterator[SttEvent | str]:
        """Words came: do they say anything new, and does the caller speak again?"""
        turn = self._turn
        known_ms = turn.words_end_ms if turn is not None else self._told_ms
        goes_on = words.end_ms > known_ms + (REVISION_MS if known_ms > 0 else 0)
        if goes_on and self._min_interruption_ms is None:
            yield from self._onset(max(words.start_ms, known_ms) if turn is not None else words.start_ms)
        turn = self._turn
        if turn is None:
            return  # a revision of what was told
        if turn.words_end_ms < 0:
            turn.start_ms = min(turn.start_ms, words.start_ms)  # the detector may be later than the words
        if goes_on:
            turn.hushed = turn.likely = False
        if goes_on or is_final or words.text != turn.interim:
            self._news_ms = now_ms
        turn.words_end_ms = max(turn.words_end_ms, words.end_ms)
        turn.interim = words.text
        if not is_final:
            turn.interims.interim(words.text)

    def _words(self, alternative: dict[str, Any], start: float, duration: float) -> _Words | None:
        """The words of a result, without those of turns that are over."""
        text = alternative["transcript"].strip()
        if not text:
            return None
        spans = [
            (self._feed.position(word["start"] * 1000), self._feed.position(word["end"] * 1000), word)
            for word in alternative.get("words") or ()
        ]
        if not spans:
            begin, end = self._feed.position(start * 1000), self._feed.position((start + duration) * 1000)
            return _Words(text, begin, end) if (begin + end) // 2 >= self._told_ms else None
        new = [span for span in spans if (span[0] + span[1]) // 2 >= self._told_ms]
        if not new:
            return None
        if len(new) < len(spans):
            text = " ".join(str(word.get("punctuated_word") or word["word"]) for _, _, word in new)
        start_ms = max(new[0][0], self._told_ms)
        return _Words(text, start_ms, max(start_ms, new[-1][1]))

    def _utterance_end(self, last_word_ms: int) -> Iterator[SttEvent | str]:
        """The vendor's own measure of silence, by words: it works where noise keeps its detector awake."""
        turn = self._turn
        if turn is None or turn.words_end_ms > last_word_ms + REVISION_MS:
            return
        if turn.words_end_ms < 0:
            yield from self._pause(turn)
        else:
            yield from self._end(turn)

    # --- decisions ---

    def _silence(self, turn: _NovaTurn) -> Iterator[SttEvent | str]:
        """What the silence so far decides.  Words that are not final decide nothing: more may follow them."""
        if turn.interim or turn.words_end_ms < 0:
            return
        if self._min_interruption_ms is not None and self._min_interruption_ms >= turn.words_end_ms:
            return  # the caller speaks again, and the words are still to come
        silence_ms = self._clock(turn) - turn.words_end_ms
        if silence_ms >= min(QUIET_MS, self._options.endpointing_ms):
            yield from self._pause(turn)
        if silence_ms >= self._options.endpointing_ms:
            yield from self._end(turn)

    def _clock(self, turn: _NovaTurn) -> int:
        if not turn.hushed:
            return self._covered_ms
        fed_ms = self._feed.fed_ms
        if self._covered_fed_ms - self._covered_ms <= LIVE_LAG_MS:
            return fed_ms
        return self._covered_ms + fed_ms - self._covered_fed_ms

    def _overdue(self, turn: _NovaTurn, now_ms: int) -> Iterator[SttEvent | str]:
        """The final deadline, and the turn that is too long."""
        due = now_ms - self._news_ms >= self._final_ms
        if turn.words_end_ms - turn.start_ms >= self._options.utterance_ms_max and turn.interim:
            due = True
        idle = now_ms - self._sent[1] >= IDLE_MS
        if not due or IDLE_MS <= now_ms - self._sent[1] < DEAD_MS:
            self._asked_ms = None
        elif not turn.interim:
            if idle:  # else the results decide
                yield from self._give_up(turn)
        elif self._asked_ms is None:
            self._asked_ms = now_ms
            yield FINALIZE
        elif now_ms - self._asked_ms >= self._grace_ms and (idle or self._message_ms > self._asked_ms):
            yield from self._give_up(turn)

    def _give_up(self, turn: _NovaTurn) -> Iterator[SttEvent | str]:
        yield from self._pause(turn)
        if turn.words_end_ms >= 0:
            yield from self._end(turn)

    # --- what is heard ---

    def _onset(self, position_ms: int) -> Iterator[SttEvent | str]:
        if self._turn is None:
            self._turn = _NovaTurn(position_ms)
        self._turn.hushed = self._turn.likely = False
        self._min_interruption_ms = position_ms
        yield SpeechStart(position_ms)

    def _pause(self, turn: _NovaTurn) -> Iterator[SttEvent | str]:
        """The caller fell silent: after words, or after a noise."""
        min_interruption_ms, self._min_interruption_ms = self._min_interruption_ms, None
        if min_interruption_ms is not None:
            noise = turn.words_end_ms <= min_interruption_ms
            yield SpeechEnd(min_interruption_ms + self._options.min_interruption_ms if noise else turn.words_end_ms)
        if turn.words_end_ms < 0:
            self._turn = None  # a noise before any word
        elif not turn.likely and self._options.eager_endpointing_ms and turn.sure and not turn.interim:
            turn.likely = True
            yield EagerEndOfTurn(turn.text, turn.start_ms, turn.words_end_ms)

    def _end(self, turn: _NovaTurn) -> Iterator[SttEvent | str]:
        if self._min_interruption_ms is not None:
            self._min_interruption_ms = None
            yield SpeechEnd(turn.words_end_ms)
        self._turn, self._asked_ms = None, None
        self._told_ms = turn.words_end_ms
        unsure = not turn.sure and not turn.interim
        yield EndOfTurn(turn.text, turn.start_ms, turn.words_end_ms, max(turn.words_end_ms, self._clock(turn)), unsure)

    def _cut(self, turn: _NovaTurn) -> Iterator[SttEvent | str]:
        """End a turn that is too long; a caller in full flow begins the next piece at once."""
        speaking = self._min_interruption_ms is not None
        yield from self._end(turn)
        if speaking:
            yield from self._onset(turn.words_end_ms)
