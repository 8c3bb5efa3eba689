"""Is the caller still speaking?  News of speech may come late: Redis was away, or new ears catch up with the audio.

Then it may be of speech that is over, and that is answered by what is playing now.  Such news is held for a moment: if
the end of that speech is behind it, nothing stops.  News of ears that were replaced counts for nothing: they were cut
off in the middle of it, and its end would never come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from common.protocol.messages import SpeechEnded, SpeechStarted

LATE_MS = 1500
"""Speech that began this long ago is late news: an ear needs a fraction of it."""
HOLD_SECONDS = 0.2
"""How long the end of that speech is waited for."""


class LateSpeechFilter:
    """`speaks(speech)` is called for speech that goes on; at once, or when late news was held."""

    def __init__(self, on_speech: Callable[[SpeechStarted], None]) -> None:
        self._on_speech = on_speech
        self._held: SpeechStarted | None = None
        self._token = 0  # of the newest ears
        self._ended = 0  # the newest speech whose end they told

    def started(self, speech: SpeechStarted, now_ms: int) -> None:
        """News of an onset; `now_ms` is where the call's audio is by now."""
        if not self._current(speech) or speech.utterance <= self._ended:
            return
        if now_ms - speech.position_ms <= LATE_MS:
            self._on_speech(speech)
            return
        self._held = speech
        asyncio.get_running_loop().call_later(HOLD_SECONDS, self._release, speech)

    def ended(self, speech: SpeechEnded) -> None:
        """That speech, and what was before it, is over."""
        if not self._current(speech):
            return
        self._ended = max(self._ended, speech.utterance)
        if self._held is not None and self._held.utterance <= speech.utterance:
            self._held = None

    def forget(self) -> None:
        """Redis had lost everything: the tokens may begin anew."""
        self._token = self._ended = 0

    def _current(self, speech: SpeechStarted | SpeechEnded) -> bool:
        """Is it of the newest ears?  Newer ones count utterances again from where the last words ended."""
        if speech.token > self._token:
            self._token, self._ended = speech.token, 0
        return speech.token == self._token

    def _release(self, speech: SpeechStarted) -> None:
        if self._held is speech:
            self._held = None
            self._on_speech(speech)
