"""Turns the messages of Deepgram Flux into turns.  Pure: its messages and the time in, events and texts out.

    StartOfTurn -> SpeechStart    EagerEndOfTurn -> SpeechEnd, EagerEndOfTurn
    TurnResumed -> SpeechStart    EndOfTurn -> SpeechEnd, EndOfTurn

Flux decides by itself.  This adds positions for servers that give none to words, and deadlines, because its streams
were seen to stay open in the middle of a turn and send nothing more: a turn without change is ended by `ForceEndTurn`,
and if that brings nothing either, with the last words known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from workers.providers.interfaces import (
    Busy,
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    ProviderError,
    SpeechEnd,
    SpeechStart,
)
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.interim_words import InterimWords
from workers.stt.stream.stt_core import Effect

FORCE_END = '{"type": "ForceEndTurn"}'
START_MS = 300
"""Flux reports a turn about this long after its first sound; for servers that give no times of words."""
IDLE_MS = 400
"""No audio was sent for this long: Flux, which counts only audio, cannot end the turn."""


@dataclass(slots=True)
class _FluxTurn:
    """The open turn."""

    start_ms: int
    text: str = ""
    words_end_ms: int = 0
    speaking: bool = True
    interims: InterimWords = field(default_factory=InterimWords)
    unsure: bool = False


class FluxCore:
    """See `workers.stt.stream.stt_core.SttCore`.  `final_ms` counts from the last change of a turn."""

    def __init__(self, name: str, options: ListenOptions, feed: AudioFeed, final_ms: int, grace_ms: int) -> None:
        self._name = name
        self._options = options
        self._feed = feed
        self._final_ms = final_ms
        self._grace_ms = grace_ms
        self._turn: _FluxTurn | None = None
        self._reported_to_ms = 0  # audio up to here is in turns that ended
        self._index = -1  # of the vendor's last turn
        self._given_up = (-1, "")  # the turn that was ended here, and its words
        self._changed_ms = 0
        self._message_ms = 0
        self._sent = (0, 0)  # how much audio was sent, and since when it is no more
        self._asked_ms: int | None = None
        self._checked_ms = 0  # when the time was last looked at

    @property
    def deadline(self) -> float | None:
        if self._turn is None:
            return None
        dues = [self._changed_ms + self._final_ms, self._sent[1] + IDLE_MS]
        if self._asked_ms is not None:
            dues.append(self._asked_ms + self._grace_ms)
        due_ms = min((due_ms for due_ms in dues if due_ms > self._checked_ms), default=None)
        return None if due_ms is None else due_ms / 1000

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> Iterable[Effect]:
        return ()  # Flux counts the audio itself

    def receive(self, raw: str | bytes, now: float) -> Iterator[Effect]:
        message, now_ms = json.loads(raw), round(now * 1000)
        self._message_ms = now_ms
        match message["type"]:
            case "TurnInfo":
                yield from self._turn_info(message, now_ms)
            case "Error":
                raise _error(self._name, str(message.get("code", "")))
        yield from self._advance(now_ms)

    def wake(self, now: float) -> Iterator[Effect]:
        return self._advance(round(now * 1000))

    def _advance(self, now_ms: int) -> Iterator[Effect]:
        self._checked_ms = now_ms
        if self._feed.taken_ms != self._sent[0]:
            self._sent = (self._feed.taken_ms, now_ms)
        turn = self._turn
        if turn is None:
            return
        idle = now_ms - self._sent[1] >= IDLE_MS
        too_long = turn.words_end_ms - turn.start_ms >= self._options.utterance_ms_max
        if now_ms - self._changed_ms < self._final_ms and not too_long:
            self._asked_ms = None
        elif self._asked_ms is None:
            self._asked_ms = now_ms
            yield FORCE_END
        elif now_ms - self._asked_ms >= self._grace_ms and (idle or self._message_ms > self._asked_ms):
            self._given_up = (self._index, turn.text)
            yield from self._end(turn)

    # --- messages ---

    def _turn_info(self, message: dict[str, Any], now_ms: int) -> Iterator[Effect]:
        event, index, text = message["event"], int(message["turn_index"]), message["transcript"].strip()
        if index <= self._given_up[0]:
            if text != self._given_up[1]:
                # The caller goes on in a turn that was reported already: only a fresh stream can separate the words.
                raise Down(f"{self._name} went on with a turn that was given up")
            return
        self._index = index
        covered_ms = self._feed.position(message["audio_window_end"] * 1000)
        start_ms, end_ms = self._span(message, covered_ms)
        turn = self._turn
        if turn is None:
            if event == "Update" or (event == "EndOfTurn" and not text):
                return  # silence
            self._turn = turn = _FluxTurn(max(start_ms, self._reported_to_ms))
            self._changed_ms = now_ms
            yield SpeechStart(turn.start_ms)
        if event != "EndOfTurn":
            turn.interims.interim(text)
        elif missing := turn.interims.final(text):
            text, turn.unsure = missing, True
        if text != turn.text:
            turn.start_ms = max(start_ms, self._reported_to_ms) if not turn.text else turn.start_ms
            turn.text, turn.words_end_ms = text, max(turn.words_end_ms, end_ms)
            self._changed_ms = now_ms
        if event != "Update":
            self._changed_ms = now_ms
            yield from self._event(event, turn, covered_ms)

    def _event(self, event: str, turn: _FluxTurn, covered_ms: int) -> Iterator[Effect]:
        match event:
            case "EagerEndOfTurn":
                yield from self._pause(turn)
                if self._options.eager_endpointing_ms and turn.text:
                    yield EagerEndOfTurn(turn.text, turn.start_ms, turn.words_end_ms)
            case "TurnResumed" if not turn.speaking:
                turn.speaking = True
                yield SpeechStart(max(turn.words_end_ms, covered_ms - START_MS))
            case "EndOfTurn":
                yield from self._end(turn)

    def _span(self, message: dict[str, Any], covered_ms: int) -> tuple[int, int]:
        """The span of the words, as far as it is known: servers of before July 2026 give no times to words."""
        words = [word for word in message.get("words") or () if "start" in word and "end" in word]
        if words:
            return self._feed.position(words[0]["start"] * 1000), self._feed.position(words[-1]["end"] * 1000)
        begin_ms = self._feed.position(message["audio_window_start"] * 1000)
        return self._turn.start_ms if self._turn else max(begin_ms, covered_ms - START_MS), covered_ms

    # --- events ---

    def _pause(self, turn: _FluxTurn) -> Iterator[Effect]:
        if turn.speaking:
            turn.speaking = False
            yield SpeechEnd(max(turn.words_end_ms, turn.start_ms + self._options.min_interruption_ms))

    def _end(self, turn: _FluxTurn) -> Iterator[Effect]:
        yield from self._pause(turn)
        self._turn, self._asked_ms = None, None
        if turn.text:
            end_ms = max(turn.words_end_ms, turn.start_ms + 1)
            self._reported_to_ms = end_ms
            yield EndOfTurn(turn.text, turn.start_ms, end_ms, max(end_ms, self._feed.fed_ms), turn.unsure)


def _error(name: str, code: str) -> ProviderError:
    """The error in a message of type Error; its text is not passed on."""
    if "RATE" in code.upper() or "LIMIT" in code.upper():
        return Busy(f"{name} is at its limit")
    return Down(f"{name} sent an error")
