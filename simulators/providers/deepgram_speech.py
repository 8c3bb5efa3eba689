"""Derives the messages of Nova and Flux from loud and quiet audio.  Pure; times are positions in the audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

WINDOW_BYTES = 160
WINDOW_MS = 20
QUIET = bytes(code for code in range(256) if code & 0x7F >= 0x50)
"""mu-law codes of less than 3 % of full scale."""
LOUD_BYTES = WINDOW_BYTES // 4
"""A window with this many louder samples is sound."""

Outgoing: TypeAlias = "tuple[float, dict[str, Any] | None]"
"""(delay in ms, message); None closes the socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in ms; `*_after_ms` is the latency of vendor and network after the audio."""

    min_speech_ms: int = 60
    """Shortest sound that counts as speech."""
    started_after_ms: float = 50
    interim_ms: int = 1000
    """Audio per interim result of Nova: the vendor's pages show one for each second."""
    interim_after_ms: float = 50
    final_after_ms: float = 50
    """Latency after the silence of `endpointing`, or of Flux's end of turn."""
    word_ms: int = 250
    """Speech per word of the text, while the speech lasts."""
    update_ms: int = 250
    eager_ms: int = 160
    eot_ms: int = 300
    """Silence after which Flux assumes the end of a turn, if its text ends like a sentence."""
    word_end_error_ms: int = 0
    """How much later (negative: earlier) than its sound the last word of a final result of Nova ends."""
    word_times: bool = True
    """Whether Flux sends the times of words."""


class _Audio:
    """Cuts audio into windows and classifies them as loud or quiet."""

    def __init__(self, script: Sequence[str], pace: Pace) -> None:
        self.pace = pace
        self.ms = 0
        self.start_ms = self.loud_to_ms = 0
        """Begin of the open speech, and its last sound."""
        self.loud_ms = self.quiet_ms = 0
        self._rest = b""
        self._script = script
        self._next = 0

    def windows(self, mulaw: bytes) -> list[bool]:
        audio = self._rest + mulaw if self._rest else mulaw
        whole = len(audio) - len(audio) % WINDOW_BYTES
        self._rest = audio[whole:]
        return [
            len(audio[at : at + WINDOW_BYTES].translate(None, QUIET)) >= LOUD_BYTES
            for at in range(0, whole, WINDOW_BYTES)
        ]

    def step(self, loud: bool) -> bool:
        """Add a window; return True if the sound is now long enough for speech."""
        self.ms += WINDOW_MS
        if loud:
            self.loud_ms += WINDOW_MS
            self.quiet_ms = 0
        else:
            self.quiet_ms += WINDOW_MS
            if self.quiet_ms >= self.pace.min_speech_ms:
                self.loud_ms = 0
        return loud and self.loud_ms - WINDOW_MS < self.pace.min_speech_ms <= self.loud_ms

    def text(self) -> list[str]:
        return self._script[self._next % len(self._script)].split() if self._script else []

    def text_is_used(self) -> None:
        self._next += 1

    def spoken(self, words: list[str]) -> int:
        """Return how many of the words are recognised by now."""
        return min(len(words), (self.loud_to_ms - self.start_ms) // self.pace.word_ms)

    def spans(self, words: list[str], count: int, whole: bool) -> list[dict[str, Any]]:
        """Return the first `count` words with their times, spread over the speech if it is over."""
        step_ms = (self.loud_to_ms - self.start_ms) / max(1, len(words)) if whole else self.pace.word_ms
        return [
            {
                "word": word,
                "start": round((self.start_ms + number * step_ms) / 1000, 3),
                "end": round((self.start_ms + (number + 1) * step_ms) / 1000, 3),
                "confidence": 0.98,
            }
            for number, word in enumerate(words[:count])
        ]


class NovaSpeech:
    """The model of /v1/listen: SpeechStarted, interim and final Results, UtteranceEnd."""

    def __init__(self, script: Sequence[str], pace: Pace, query: dict[str, str]) -> None:
        self.withholds = False
        self._audio = _Audio(script, pace)
        self._endpointing_ms = int(query.get("endpointing") or 10)
        self._utterance_end_ms = int(query.get("utterance_end_ms") or 0)
        self._vad_events = query.get("vad_events") == "true"
        self._interims = query.get("interim_results") == "true"
        self._speaking = False
        self._words: list[str] = []
        self._words_final = 0  # number of these words in final results
        self._segment_ms = 0  # begin of the next result
        self._result_ms = 0  # end of the last result
        self._gap_from_ms = -1  # the last word of the last final; -1: UtteranceEnd was sent

    def hear(self, mulaw: bytes) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        for loud in self._audio.windows(mulaw):
            outgoing += self._window(loud)
        return outgoing

    def command(self, kind: str) -> list[Outgoing]:
        if kind == "Finalize":
            return [(self._audio.pace.final_after_ms, self._result(final=True, ended=False, flushed=True))]
        if kind == "CloseStream":
            return [(0, {"type": "Metadata", "duration": self._audio.ms / 1000, "channels": 1}), (0, None)]
        return []

    def _window(self, loud: bool) -> list[Outgoing]:
        audio, pace = self._audio, self._audio.pace
        outgoing: list[Outgoing] = []
        begins = audio.step(loud)
        if begins and not self._speaking:
            self._speaking, self._words, self._words_final = True, audio.text(), 0
            audio.start_ms = audio.ms - audio.loud_ms
            self._gap_from_ms = -1
            if self._vad_events:
                started = {"type": "SpeechStarted", "channel": [0], "timestamp": audio.start_ms / 1000}
                outgoing.append((pace.started_after_ms, started))
        if loud and self._speaking:
            audio.loud_to_ms = audio.ms
        if self._speaking and audio.quiet_ms >= self._endpointing_ms:
            self._speaking = False
            outgoing.append((pace.final_after_ms, self._result(final=True, ended=True)))
            if not self.withholds:
                audio.text_is_used()
                self._gap_from_ms = audio.loud_to_ms
        elif self._interims and audio.ms - self._result_ms >= pace.interim_ms:
            outgoing.append((pace.interim_after_ms, self._result(final=False, ended=False)))
        if self._gap_from_ms >= 0 and 0 < self._utterance_end_ms <= audio.ms - self._gap_from_ms:
            end = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": self._gap_from_ms / 1000}
            outgoing.append((pace.interim_after_ms, end))
            self._gap_from_ms = -1
        return outgoing

    def _result(self, final: bool, ended: bool, flushed: bool = False) -> dict[str, Any]:
        audio = self._audio
        final = final and not self.withholds
        count = len(self._words) if ended or not self._speaking else audio.spoken(self._words)
        spans = audio.spans(self._words, count, whole=ended or not self._speaking)[self._words_final :]
        if ended and spans:
            spans[-1]["end"] = round(spans[-1]["end"] + audio.pace.word_end_error_ms / 1000, 3)
        result = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": self._segment_ms / 1000,
            "duration": (audio.ms - self._segment_ms) / 1000,
            "is_final": final,
            "speech_final": ended and final,
            "from_finalize": flushed,
            "channel": {"alternatives": [{"transcript": _text(spans), "confidence": 0.98, "words": spans}]},
        }
        self._result_ms = audio.ms
        if final:
            self._words_final, self._segment_ms = max(self._words_final, count), audio.ms
        return result


class FluxSpeech:
    """The model of /v2/listen: TurnInfo by Flux's state machine."""

    def __init__(self, script: Sequence[str], pace: Pace, query: dict[str, str]) -> None:
        self.withholds = False
        self._audio = _Audio(script, pace)
        self._eager = "eager_eot_threshold" in query
        self._timeout_ms = int(query.get("eot_timeout_ms") or 5000)
        self._turn = 0
        self._open = self._awaiting = False
        self._words: list[str] = []
        self._window_ms = 0
        self._info_ms = 0  # position of the last TurnInfo
        self._sequence = 0

    def hear(self, mulaw: bytes) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        for loud in self._audio.windows(mulaw):
            outgoing += self._window(loud)
        return outgoing

    def command(self, kind: str) -> list[Outgoing]:
        if kind == "open":
            return [(0, {"type": "Connected", "request_id": "0", "sequence_id": 0})]
        if kind == "ForceEndTurn":
            return [self._end()] if self._open and not self.withholds else []
        if kind == "CloseStream":
            return [(0, None)]
        return [(0, {"type": "Error", "sequence_id": self._sequence, "code": "UNPARSABLE_CLIENT_MESSAGE"}), (0, None)]

    def _window(self, loud: bool) -> list[Outgoing]:
        audio, pace = self._audio, self._audio.pace
        outgoing: list[Outgoing] = []
        begins = audio.step(loud)
        if loud and self._open:
            audio.loud_to_ms = audio.ms
        if begins and not self._open:
            self._open, self._awaiting, self._words = True, False, audio.text()
            audio.start_ms, audio.loud_to_ms = audio.ms - audio.loud_ms, audio.ms
            outgoing.append((pace.started_after_ms, self._info("StartOfTurn")))
        elif begins and self._awaiting:
            self._awaiting = False
            outgoing.append((pace.started_after_ms, self._info("TurnResumed")))
        if self._open and not self.withholds:
            outgoing += self._silence()
        if audio.ms - self._info_ms >= pace.update_ms:
            outgoing.append((pace.interim_after_ms, self._info("Update")))
        return outgoing

    def _silence(self) -> list[Outgoing]:
        pace, quiet_ms = self._audio.pace, self._audio.quiet_ms
        sounds_over = bool(self._words) and self._words[-1][-1] in ".?!"
        if quiet_ms >= (min(pace.eot_ms, self._timeout_ms) if sounds_over else self._timeout_ms):
            return [self._end()]
        if self._eager and sounds_over and not self._awaiting and quiet_ms >= pace.eager_ms:
            self._awaiting = True
            return [(pace.final_after_ms, self._info("EagerEndOfTurn"))]
        return []

    def _end(self) -> Outgoing:
        end = self._info("EndOfTurn")
        self._audio.text_is_used()
        self._open = self._awaiting = False
        self._turn += 1
        self._window_ms = self._audio.ms
        return self._audio.pace.final_after_ms, end

    def _info(self, event: str) -> dict[str, Any]:
        audio = self._audio
        whole = event in ("EagerEndOfTurn", "EndOfTurn") or (self._open and audio.quiet_ms >= audio.pace.eager_ms)
        count = len(self._words) if whole else audio.spoken(self._words)
        spans = audio.spans(self._words, count, whole) if self._open else []
        if not audio.pace.word_times:
            spans = [{"word": span["word"], "confidence": span["confidence"]} for span in spans]
        self._info_ms = audio.ms
        self._sequence += 1
        return {
            "type": "TurnInfo",
            "request_id": "0",
            "sequence_id": self._sequence,
            "event": event,
            "turn_index": self._turn,
            "audio_window_start": self._window_ms / 1000,
            "audio_window_end": audio.ms / 1000,
            "transcript": _text(spans),
            "words": spans,
            "end_of_turn_confidence": 0.9 if whole else 0.1,
        }


def _text(spans: list[dict[str, Any]]) -> str:
    return " ".join(str(span["word"]) for span in spans)
