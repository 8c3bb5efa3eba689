"""Deepgram Flux's turns as ours: pure, its messages and the time in, what is heard out.

    StartOfTurn -> Onset    EagerEndOfTurn -> Offset, Likely    TurnResumed -> Onset    EndOfTurn -> Offset, Utterance

Flux decides by itself.  What is added: positions for servers that give none to words, and deadlines, because its
streams were seen to stay open in the middle of a turn and say nothing more: a turn without news is ended by
`ForceEndTurn`, and if that brings nothing either, with the last words known.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    SttEvent,
)
from workers.stt.stream.audio_feed import VendorFeed
from workers.stt.stream.interim_words import InterimWords

FORCE_END = '{"type": "ForceEndTurn"}'
START_MS = 300
"""About so long after the first sound Flux says that a turn began; for servers that give no times of words."""
IDLE_MS = 400
"""No audio was sent for so long: Flux, which counts only audio, cannot end the turn."""


@dataclass(slots=True)
class _FluxTurn:
    """The open turn."""

    start_ms: int
    text: str = ""
    words_end_ms: int = 0
    speaking: bool = True
    interims: InterimWords = field(default_factory=InterimWords)
    unsure: bool = False


class FluxTurns:
    """See `workers.stt.stream.socket_stream.Turns`: one socket's; `final_ms` counts from a turn's last news."""

    def __init__(self, name: str, options: ListenOptions, feed: VendorFeed, final_ms: int, grace_ms: int) -> None:
        self._name = name
        self._options = options
        self._feed = feed
        self._final_ms = final_ms
        self._grace_ms = grace_ms
        self._turn: _FluxTurn | None = None
        self._told_ms = 0  # audio up to here is in utterances
        self._index = -1  # of the last turn heard of
        self._given_up = (-1, "")  # the turn that we ended ourselves, and its words
        self._news_ms = 0
        self._message_ms = 0
        self._sent = (0, 0)  # how much audio was sent, and since when it is no more
        self._asked_ms: int | None = None

    def receive(self, message: dict[str, Any], now_ms: int) -> Iterator[SttEvent | str]:
        self._message_ms = now_ms
        match message["type"]:
            case "TurnInfo":
                yield from self._turn_info(message, now_ms)
            case "Error":
                raise _error(self._name, str(message.get("code", "")))
        yield from self.advance(now_ms)

    def advance(self, now_ms: int) -> Iterator[SttEvent | str]:
        if self._feed.taken_ms != self._sent[0]:
            self._sent = (self._feed.taken_ms, now_ms)
        turn = self._turn
        if turn is None:
            return
        idle = now_ms - self._sent[1] >= IDLE_MS
        too_long = turn.words_end_ms - turn.start_ms >= self._options.utterance_ms_max
        if now_ms - self._news_ms < self._final_ms and not too_long:
            self._asked_ms = None
        elif self._asked_ms is None:
            self._asked_ms = now_ms
            yield FORCE_END
        elif now_ms - self._asked_ms >= self._grace_ms and (idle or self._message_ms > self._asked_ms):
            self._given_up = (self._index, turn.text)
            yield from self._end(turn)

    # --- messages ---

    def _turn_info(self, message: dict[str, Any], now_ms: int) -> Iterator[SttEvent | str]:
        event, index, text = message["event"], int(message["turn_index"]), message["transcript"].strip()
        if index <= self._given_up[0]:
            if text != self._given_up[1]:
                # The caller goes on in a turn that is told already: only a fresh ear can tell the words apart.
                raise Down(f"{self._name} went on with a turn that was given up")
            return
        self._index = index
        heard_to_ms = self._feed.position(message["audio_window_end"] * 1000)
        start_ms, end_ms = self._span(message, heard_to_ms)
        turn = self._turn
        if turn is None:
            if event == "Update" or (event == "EndOfTurn" and not text):
                return  # silence
            self._turn = turn = _FluxTurn(max(start_ms, self._told_ms))
            self._news_ms = now_ms
            yield SpeechStart(turn.start_ms)
        if event != "EndOfTurn":
            turn.interims.interim(text)
        elif missing := turn.interims.final(text):
            text, turn.unsure = missing, True
        if text != turn.text:
            turn.start_ms = max(start_ms, self._told_ms) if not turn.text else turn.start_ms
            turn.text, turn.words_end_ms = text, max(turn.words_end_ms, end_ms)
            self._news_ms = now_ms
        if event != "Update":
            self._news_ms = now_ms
            yield from self._event(event, turn, heard_to_ms)

    def _event(self, event: str, turn: _FluxTurn, heard_to_ms: int) -> Iterator[SttEvent | str]:
        match event:
            case "EagerEndOfTurn":
                yield from self._pause(turn)
                if self._options.eager_endpointing_ms and turn.text:
                    yield EagerEndOfTurn(turn.text, turn.start_ms, turn.words_end_ms)
            case "TurnResumed" if not turn.speaking:
                turn.speaking = True
                yield SpeechStart(max(turn.words_end_ms, heard_to_ms - START_MS))
            case "EndOfTurn":
                yield from self._end(turn)

    def _span(self, message: dict[str, Any], heard_to_ms: int) -> tuple[int, int]:
        """Where the words lie, as far as it is known: servers of before July 2026 give no times to words."""
        words = [word for word in message.get("words") or () if "start" in word and "end" in word]
        if words:
            return self._feed.position(words[0]["start"] * 1000), self._feed.position(words[-1]["end"] * 1000)
        begin_ms = self._feed.position(message["audio_window_start"] * 1000)
        return self._turn.start_ms if self._turn else max(begin_ms, heard_to_ms - START_MS), heard_to_ms

    # --- what is heard ---

    def _pause(self, turn: _FluxTurn) -> Iterator[SttEvent | str]:
        if turn.speaking:
            turn.speaking = False
            yield SpeechEnd(max(turn.words_end_ms, turn.start_ms + self._options.min_interruption_ms))

    def _end(self, turn: _FluxTurn) -> Iterator[SttEvent | str]:
        yield from self._pause(turn)
        self._turn, self._asked_ms = None, None
        if turn.text:
            end_ms = max(turn.words_end_ms, turn.start_ms + 1)
            self._told_ms = end_ms
            yield EndOfTurn(turn.text, turn.start_ms, end_ms, max(end_ms, self._feed.fed_ms), turn.unsure)


def _error(name: str, code: str) -> ProviderError:
    """What a message of type Error means; its prose is not passed on."""
    if "RATE" in code.upper() or "LIMIT" in code.upper():
        return Busy(f"{name} is at its limit")
    return Down(f"{name} sent an error")
