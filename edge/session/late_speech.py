"""Filters late reports of speech, so that speech that is over does not stop the agent.

A report may be late because Redis was away, or because a new STT worker catches up with the audio.  It may then be of
speech that is over and that the current reply answers.  A late report is held for a moment; if the end of that speech
follows, nothing stops.  Reports of an STT worker that was replaced do not count: their end would never come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from common.protocol.messages import SpeechEnded, SpeechStarted

LATE_MS = 1500
"""A report of speech that began longer ago than this is late: an STT worker needs a fraction of it."""
HOLD_SECONDS = 0.2
"""How long a late report is held, waiting for the end of that speech."""


class LateSpeechFilter:
    """Calls `on_speech(speech)` for speech that is going on: at once, or after a late report was held."""

    def __init__(self, on_speech: Callable[[SpeechStarted], None]) -> None:
        self._on_speech: Callable[[SpeechStarted], None] | None = on_speech
        self._held: SpeechStarted | None = None
        self._token = 0  # of the newest STT worker
        self._ended = 0  # the newest utterance whose end was reported

    def started(self, speech: SpeechStarted, now_ms: int) -> None:
        """Speech was reported; `now_ms` is the position that the call's audio has reached."""
        if not self._current(speech) or speech.utterance <= self._ended:
            return
        if now_ms - speech.position_ms <= LATE_MS:
            self._report(speech)
            return
        self._held = speech
        asyncio.get_running_loop().call_later(HOLD_SECONDS, self._release, speech)

    def ended(self, speech: SpeechEnded) -> None:
        """The end of that speech, and so of all earlier speech, was reported."""
        if not self._current(speech):
            return
        self._ended = max(self._ended, speech.utterance)
        if self._held is not None and self._held.utterance <= speech.utterance:
            self._held = None

    def forget(self) -> None:
        """Redis had lost the call: tokens may start again."""
        self._token = self._ended = 0

    def close(self) -> None:
        """The call is over: report nothing more, and drop the reference to it."""
        self._on_speech = None

    def _current(self, speech: SpeechStarted | SpeechEnded) -> bool:
        """Whether it is of the newest STT worker, which numbers utterances from the end of the last words on."""
        if speech.token > self._token:
            self._token, self._ended = speech.token, 0
        return speech.token == self._token

    def _release(self, speech: SpeechStarted) -> None:
        if self._held is speech:
            self._held = None
            self._report(speech)

    def _report(self, speech: SpeechStarted) -> None:
        if self._on_speech is not None:
            self._on_speech(speech)
