"""Turns the results of Deepgram Nova into turns.  Pure: its messages and the time in, events and texts out.

    SpeechStarted, or new words -> SpeechStart    speech_final, or silence in the results -> SpeechEnd, EagerEndOfTurn
    endpointing_ms of audio after the last word, or UtteranceEnd, or the final deadline   -> EndOfTurn

Two clocks can say that `endpointing_ms` of audio passed:

- While the vendor's detector has not reported the end of speech, only the results count: they cover audio up to some
  position, with or without new words.  Audio that was sent and is not yet covered may hold words.
- Once it has (`speech_final`), the audio that goes on coming in counts: results come once a second, and would be
  late.  In a replay, where the vendor is far behind what was sent, only what came since then counts.  The detector has
  then heard as much silence as it was asked for, which places the end of the last word better than its time does.

A final that does not come is asked for after `final_ms` without anything new, and `grace_ms` later the last interim
is taken for it, unless the vendor sends nothing at all any more: then this socket is dead, and the next one replays
the whole turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from workers.providers.interfaces import (
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    SpeechEnd,
    SpeechStart,
)
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.interim_words import InterimWords
from workers.stt.stream.stable_interims import StableInterims
from workers.stt.stream.stt_core import Effect
from workers.stt.vad.endpointing import WINDOW_MS
from workers.stt.vad.energy import NOT, EnergyVad

FINALIZE = '{"type": "Finalize"}'
QUIET_MS = 200
"""Silence in the results after which the caller has paused, if the detector has not reported it."""
WORDLESS_MS = 1000
"""Speech that has no words after so much audio was a noise."""
LIVE_LAG_MS = 1000
"""The vendor is live if what a result covers was sent less than this before it came; else it works on a replay."""
IDLE_MS = 400
"""No audio was sent for so long: no result will come that could decide anything."""
DEAD_MS = 5000
"""Audio never stops in this way by itself: Redis fails over, or the edge stands still, and the caller's next words
wait there.  Only after this long is the turn ended without them."""
REVISION_MS = 150
"""The times of a word move by less than this from one result to the next; what ends later is a new word."""


def detector_ms(options: ListenOptions) -> int:
    """The silence after which the vendor's detector is asked to report the end of speech (`endpointing`)."""
    return options.eager_endpointing_ms or QUIET_MS


@dataclass(slots=True)
class _NovaTurn:
    """The open turn: from its first speech to its `EndOfTurn`."""

    start_ms: int
    words_end_ms: int = -1  # of the last word known, final or not; -1: no words yet
    finals: list[str] = field(default_factory=list)
    interim: str = ""
    interims: InterimWords = field(default_factory=InterimWords)
    sure: bool = False
    """A final has words; else those of `finals` stood in interims only."""
    hushed: bool = False
    """The vendor's detector reported the end of speech, and nothing new came since."""
    eager_sent: bool = False

    @property
    def text(self) -> str:
        return " ".join([*self.finals, self.interim] if self.interim else self.finals)


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a result that are in no `EndOfTurn` yet."""

    text: str
    start_ms: int
    end_ms: int


class NovaCore:
    """See `workers.stt.stream.stt_core.SttCore`.  `final_ms` counts from the last change of a turn."""

    def __init__(self, name: str, options: ListenOptions, feed: AudioFeed, final_ms: int, grace_ms: int) -> None:
        self._name = name
        self._options = options
        self._feed = feed
        self._final_ms = final_ms
        self._grace_ms = grace_ms
        self._loudness = EnergyVad()
        self._loud_to_ms = 0  # end of the last sound in the audio
        self._stable = StableInterims(options.interim_endpointing_ms if options.eager_endpointing_ms else 0)
        self._turn: _NovaTurn | None = None
        self._speech_start_ms: int | None = None  # a SpeechStart awaits its SpeechEnd
        self._reported_to_ms = 0  # audio up to here is in turns that ended
        self._covered_ms = 0  # the results cover the audio up to here ...
        self._covered_fed_ms = 0  # ... and this was fed when they did
        self._changed_ms = 0  # when the vendor last reported anything new
        self._message_ms = 0  # when a message came
        self._sent = (0, 0)  # how much audio was sent, and since when it is no more
        self._asked_ms: int | None = None  # when Finalize was sent
        self._checked_ms = 0  # when the time was last looked at

    @property
    def deadline(self) -> float | None:
        if self._turn is None:
            return None
        dues = [self._changed_ms + self._final_ms, self._sent[1] + IDLE_MS, self._sent[1] + DEAD_MS]
        if self._asked_ms is not None:
            dues.append(self._asked_ms + self._grace_ms)
        due_ms = min((due_ms for due_ms in dues if due_ms > self._checked_ms), default=None)
        return None if due_ms is None else due_ms / 1000

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> Iterable[Effect]:
        for at_ms, probability in self._loudness.feed(position_ms, mulaw):
            if probability > NOT:
                self._loud_to_ms = at_ms + WINDOW_MS
        return self._advance(round(now * 1000)) if self._turn is not None else ()

    def receive(self, raw: str | bytes, now: float) -> Iterator[Effect]:
        message, now_ms = json.loads(raw), round(now * 1000)
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
        yield from self._advance(now_ms)

    def wake(self, now: float) -> Iterator[Effect]:
        return self._advance(round(now * 1000))

    def _advance(self, now_ms: int) -> Iterator[Effect]:
        self._checked_ms = now_ms
        if self._feed.taken_ms != self._sent[0]:
            if now_ms - self._sent[1] >= IDLE_MS:
                self._changed_ms = now_ms  # until now the vendor had no audio to answer
            self._sent = (self._feed.taken_ms, now_ms)
        if self._turn is not None:
            yield from self._silence(self._turn)
        if self._turn is not None:
            yield from self._early(self._turn)
            yield from self._overdue(self._turn, now_ms)

    # --- messages ---

    def _speech_started(self, position_ms: int, now_ms: int) -> Iterator[Effect]:
        turn = self._turn
        if self._speech_start_ms is not None or (turn is not None and position_ms < turn.words_end_ms):
            return  # known already
        self._changed_ms = now_ms
        yield from self._speech_start(max(position_ms, self._reported_to_ms))

    def _results(self, message: dict[str, Any], now_ms: int) -> Iterator[Effect]:
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
            if turn.words_end_ms >= 0 and not message.get("from_finalize"):
                self._correct_end(turn, self._feed.position((start + duration) * 1000 - detector_ms(self._options)))
            yield from self._pause(turn)
        elif words is None and self._wordless(turn):
            yield from self._pause(turn)
        if is_final and turn.finals and turn.words_end_ms - turn.start_ms >= self._options.utterance_ms_max:
            yield from self._cut(turn)

    def _correct_end(self, turn: _NovaTurn, silent_from_ms: int) -> None:
        """Place the end of the last word by the silence that the detector just heard, and by the audio itself.

        The time of a word may be late, and then the answer is; or early, and then the caller is cut off.  What differs
        by more than a word's time can be wrong is about something else: noise after the words kept the detector awake,
        or it did not wait as long as it was asked to.
        """
        if self._loud_to_ms > silent_from_ms + WINDOW_MS:
            return  # the audio does not agree
        end_ms = min(max(turn.words_end_ms, self._loud_to_ms), silent_from_ms)
        if abs(end_ms - turn.words_end_ms) <= REVISION_MS + WINDOW_MS:  # the audio is judged by the window
            turn.words_end_ms = end_ms

    def _wordless(self, turn: _NovaTurn) -> bool:
        """True if a speech start brought no words, so that it was a noise."""
        speech_start_ms = self._speech_start_ms
        return speech_start_ms is not None and turn.words_end_ms <= speech_start_ms <= self._covered_ms - WORDLESS_MS

    def _more(self, words: _Words, is_final: bool, now_ms: int) -> Iterator[Effect]:
        """Take the words of a result: new ones keep the turn open, and may start it."""
        turn = self._turn
        known_ms = turn.words_end_ms if turn is not None else self._reported_to_ms
        goes_on = words.end_ms > known_ms + (REVISION_MS if known_ms > 0 else 0)
        if turn is not None and self._stable.begun(" ".join([*turn.finals, words.text])):
            goes_on = False  # a reply was begun to these very words: only their times moved
        if goes_on and self._speech_start_ms is None:
            yield from self._speech_start(max(words.start_ms, known_ms) if turn is not None else words.start_ms)
        turn = self._turn
        if turn is None:
            return  # a revision of a turn that ended
        if turn.words_end_ms < 0:
            turn.start_ms = min(turn.start_ms, words.start_ms)  # the detector may be later than the words
        if goes_on:
            turn.hushed = turn.eager_sent = False
        if goes_on or is_final or words.text != turn.interim:
            self._changed_ms = now_ms
        turn.words_end_ms = max(turn.words_end_ms, words.end_ms)
        turn.interim = words.text
        if not is_final:
            turn.interims.interim(words.text)

    def _words(self, alternative: dict[str, Any], start: float, duration: float) -> _Words | None:
        """The words of a result, without those of turns that ended."""
        text = alternative["transcript"].strip()
        if not text:
            return None
        spans = [
            (self._feed.position(word["start"] * 1000), self._feed.position(word["end"] * 1000), word)
            for word in alternative.get("words") or ()
        ]
        if not spans:
            begin, end = self._feed.position(start * 1000), self._feed.position((start + duration) * 1000)
            return _Words(text, begin, end) if (begin + end) // 2 >= self._reported_to_ms else None
        new = [span for span in spans if (span[0] + span[1]) // 2 >= self._reported_to_ms]
        if not new:
            return None
        if len(new) < len(spans):
            text = " ".join(str(word.get("punctuated_word") or word["word"]) for _, _, word in new)
        start_ms = max(new[0][0], self._reported_to_ms)
        return _Words(text, start_ms, max(start_ms, new[-1][1]))

    def _utterance_end(self, last_word_ms: int) -> Iterator[Effect]:
        """Take the vendor's own measure of silence, by words: it works where noise keeps its detector awake."""
        turn = self._turn
        if turn is None or turn.words_end_ms > last_word_ms + REVISION_MS:
            return
        if turn.words_end_ms < 0:
            yield from self._pause(turn)
        else:
            yield from self._end(turn)

    # --- decisions ---

    def _silence(self, turn: _NovaTurn) -> Iterator[Effect]:
        """Pause or end the turn for the silence so far.  Not after words that are not final: more may follow them."""
        if turn.interim or turn.words_end_ms < 0:
            return
        if self._speech_start_ms is not None and self._speech_start_ms >= turn.words_end_ms:
            return  # the caller speaks again, and the words are still to come
        silence_ms = self._clock(turn) - turn.words_end_ms
        if silence_ms >= min(QUIET_MS, self._options.endpointing_ms):
            yield from self._pause(turn)
        if silence_ms >= self._options.endpointing_ms:
            yield from self._end(turn)

    def _early(self, turn: _NovaTurn) -> Iterator[Effect]:
        """Report a likely end on interim words, if the results cover the audio up to where it became quiet."""
        fed_ms = self._feed.fed_ms
        self._stable.words(turn.text, fed_ms)
        if turn.eager_sent or self._covered_ms < self._loud_to_ms - WINDOW_MS or turn.words_end_ms < 0:
            return
        if self._stable.due(fed_ms - self._loud_to_ms, fed_ms):
            self._stable.begin()
            yield from self._fall_silent(turn)
            yield EagerEndOfTurn(
                turn.text,
                turn.start_ms,
                max(turn.start_ms, turn.words_end_ms),
                unsure=not turn.sure or bool(turn.interim),
            )

    def _clock(self, turn: _NovaTurn) -> int:
        if not turn.hushed:
            return self._covered_ms
        fed_ms = self._feed.fed_ms
        if self._covered_fed_ms - self._covered_ms <= LIVE_LAG_MS:
            return fed_ms
        return self._covered_ms + fed_ms - self._covered_fed_ms

    def _overdue(self, turn: _NovaTurn, now_ms: int) -> Iterator[Effect]:
        """Ask for the final when it is overdue or the turn is too long, and then end the turn without it."""
        due = now_ms - self._changed_ms >= self._final_ms
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

    def _give_up(self, turn: _NovaTurn) -> Iterator[Effect]:
        yield from self._pause(turn)
        if turn.words_end_ms >= 0:
            yield from self._end(turn)

    # --- events ---

    def _speech_start(self, position_ms: int) -> Iterator[Effect]:
        if self._turn is None:
            self._turn = _NovaTurn(position_ms)
        self._turn.hushed = self._turn.eager_sent = False
        self._speech_start_ms = position_ms
        yield SpeechStart(position_ms)

    def _pause(self, turn: _NovaTurn) -> Iterator[Effect]:
        """Report that the caller fell silent: after words, or after a noise."""
        yield from self._fall_silent(turn)
        if turn.words_end_ms < 0:
            self._turn = None  # a noise before any word
            self._stable.end_turn("")
        elif not turn.eager_sent and self._options.eager_endpointing_ms and turn.sure and not turn.interim:
            turn.eager_sent = True
            yield EagerEndOfTurn(turn.text, turn.start_ms, max(turn.start_ms, turn.words_end_ms))

    def _fall_silent(self, turn: _NovaTurn) -> Iterator[Effect]:
        speech_start_ms, self._speech_start_ms = self._speech_start_ms, None
        if speech_start_ms is not None:
            noise = turn.words_end_ms <= speech_start_ms
            yield SpeechEnd(speech_start_ms + self._options.min_interruption_ms if noise else turn.words_end_ms)

    def _end(self, turn: _NovaTurn) -> Iterator[Effect]:
        if self._speech_start_ms is not None:
            self._speech_start_ms = None
            yield SpeechEnd(turn.words_end_ms)
        self._turn, self._asked_ms = None, None
        self._reported_to_ms = turn.words_end_ms
        self._stable.end_turn(turn.text)
        unsure = not turn.sure and not turn.interim
        words_end_ms = max(turn.start_ms, turn.words_end_ms)  # a vendor may end a result before its words
        yield EndOfTurn(turn.text, turn.start_ms, words_end_ms, max(turn.words_end_ms, self._clock(turn)), unsure)

    def _cut(self, turn: _NovaTurn) -> Iterator[Effect]:
        """End a turn that is too long; a caller in full flow begins the next piece at once."""
        speaking = self._speech_start_ms is not None
        yield from self._end(turn)
        if speaking:
            yield from self._speech_start(turn.words_end_ms)
