"""Simulates Deepgram's `/v1/listen` for tones: the transcript is decoded from the audio itself.

So the same audio gives the same words, even if it is sent again or faster.  Time is the position in the audio of
one connection; `Listening` is pure.  Source: Deepgram's reference of live transcription (Results, SpeechStarted,
UtteranceEnd; KeepAlive, Finalize, CloseStream).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.chaos.tones import Phrase, Reader, is_quiet
from common.audio.g711 import FRAME_BYTES, FRAME_MS

MIN_SPEECH_MS = 100
"""Speech of this length is reported as SpeechStarted."""
INTERIM_MS = 300
EMPTY_MS = 1000
"""Interval of results without words during silence."""

Message = dict[str, Any]


class Listening:
    """One connection: audio in, messages out."""

    def __init__(self, query: Mapping[str, str]) -> None:
        endpointing = query.get("endpointing", "10")
        self._endpoint_ms = 10**9 if endpointing == "false" else int(endpointing)
        self._utterance_end_ms = int(query.get("utterance_end_ms", "0"))
        self._vad = query.get("vad_events") == "true"
        self._interim = query.get("interim_results") == "true"
        self._rest = b""
        self._at_ms = 0
        self._reader = Reader()
        self._texts: list[str] = []
        self._letters_sent = 0  # letters of the present phrase that `Finalize` brought out
        self._began_ms: int | None = None  # begin of the speech whose final result is due
        self._voiced_ms = 0  # end of the last sound
        self._results_end_ms = 0  # end of the last Results
        self._start_sent = False
        self._words_end_ms: int | None = None  # end of the words whose UtteranceEnd is due

    def feed(self, audio: bytes) -> list[Message]:
        """Take the next audio, of any length, and return the messages."""
        audio = self._rest + audio
        whole = len(audio) - len(audio) % FRAME_BYTES
        self._rest = audio[whole:]
        messages: list[Message] = []
        for at in range(0, whole, FRAME_BYTES):
            self._frame(audio[at : at + FRAME_BYTES], messages)
        return messages

    def finalize(self) -> list[Message]:
        """Handle `Finalize`: return every whole word now; later words continue behind it."""
        words = self._reader.so_far.rpartition(" ")[0]
        self._texts.append(words[self._letters_sent :])
        self._letters_sent = max(self._letters_sent, len(words))
        return [self._final_results(speech_final=False, from_finalize=True)]

    def metadata(self) -> Message:
        """Return the last message of a connection that the client closes."""
        return {"type": "Metadata", "request_id": "standin", "duration": self._at_ms / 1000, "channels": 1}

    def _frame(self, frame: bytes, messages: list[Message]) -> None:
        self._take(self._reader.feed(self._at_ms, frame))
        begins_ms = self._at_ms
        self._at_ms += FRAME_MS
        if not is_quiet(frame):
            self._sound(begins_ms, messages)
        elif self._began_ms is not None:
            if self._at_ms - self._voiced_ms >= self._endpoint_ms:
                messages.append(self._final())
        elif self._at_ms - self._results_end_ms >= EMPTY_MS:
            messages.append(self._results("", is_final=True))
        if self._words_end_ms is not None and self._began_ms is None:
            self._utterance_end(self._words_end_ms, messages)

    def _utterance_end(self, words_end_ms: int, messages: list[Message]) -> None:
        if self._utterance_end_ms and self._at_ms - words_end_ms >= self._utterance_end_ms:
            messages.append({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": words_end_ms / 1000})
            self._words_end_ms = None

    def _sound(self, begins_ms: int, messages: list[Message]) -> None:
        if self._began_ms is None:
            self._began_ms, self._start_sent = begins_ms, False
        self._voiced_ms = self._at_ms
        if not self._start_sent and self._at_ms - self._began_ms >= MIN_SPEECH_MS:
            self._start_sent = True
            if self._vad:
                messages.append({"type": "SpeechStarted", "channel": [0], "timestamp": self._began_ms / 1000})
        if self._interim and self._at_ms - max(self._results_end_ms, self._began_ms) >= INTERIM_MS:
            messages.append(self._results(self._so_far(), is_final=False))

    def _so_far(self) -> str:
        return _joined([*self._texts, self._reader.so_far[self._letters_sent :]])

    def _take(self, phrases: list[Phrase]) -> None:
        for phrase in phrases:
            self._texts.append(_text(phrase)[self._letters_sent :])
            self._letters_sent = 0

    def _final(self) -> Message:
        self._take(self._reader.torn())
        return self._final_results(speech_final=True)

    def _final_results(self, speech_final: bool, from_finalize: bool = False) -> Message:
        text, self._texts = _joined(self._texts), []
        message = self._results(text, is_final=True, speech_final=speech_final, from_finalize=from_finalize)
        if text:
            self._words_end_ms = self._voiced_ms
        self._began_ms = None
        return message

    def _results(self, text: str, is_final: bool, speech_final: bool = False, from_finalize: bool = False) -> Message:
        begin_ms = self._began_ms if self._began_ms is not None else self._at_ms
        alternative = {"transcript": text, "confidence": 0.99, "words": _words(text, begin_ms, self._voiced_ms)}
        start_ms, self._results_end_ms = self._results_end_ms, self._at_ms
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": start_ms / 1000,
            "duration": (self._at_ms - start_ms) / 1000,
            "is_final": is_final,
            "speech_final": speech_final,
            "from_finalize": from_finalize,
            "channel": {"alternatives": [alternative]},
            "metadata": {"request_id": "standin"},
        }


def _joined(texts: list[str]) -> str:
    return " ".join(text.strip() for text in texts if text.strip())


def _text(phrase: Phrase) -> str:
    """Return the phrase's text; a torn phrase is cut and marked, so that it is no sentence."""
    return phrase.text if phrase.whole else f"{phrase.text[:-1]}-"


def _words(text: str, begin_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """Return words with times, proportional to their letters."""
    words, at, each_ms = [], 0, (end_ms - begin_ms) / max(1, len(text))
    for word in text.split():
        start, end = begin_ms + at * each_ms, begin_ms + (at + len(word)) * each_ms
        words.append(
            {"word": word, "punctuated_word": word, "start": start / 1000, "end": end / 1000, "confidence": 0.99}
        )
        at += len(word) + 1
    return words
