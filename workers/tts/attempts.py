"""Chooses the next voice for a clause after others have failed.  Pure.

    ended without (enough) audio    the same voice once more, then the next
    any other failure               the next voice
    none is left                    the last one that was down, once more, unless the clause before was silent too

A voice that broke off is not tried a third time.
"""

from __future__ import annotations

from workers.providers.failover import Failover, Source
from workers.providers.interfaces import Down, IncompleteAudio, ProviderError, TextToSpeech


class Attempts:
    """Chooses the voices for one clause: call `next` for a voice, and `failed` with the error that it raised."""

    def __init__(self, voices: Failover[TextToSpeech], call_id: str, *, last_resort: bool) -> None:
        """`last_resort`: whether a voice that was down may be tried again when no other is left."""
        self._voices = voices
        self._call_id = call_id
        self._last_resort = last_resort
        self._tried: set[str] = set()
        self._repeated: set[str] = set()
        self._at_once: Source[TextToSpeech] | None = None
        self._later: Source[TextToSpeech] | None = None

    def next(self) -> Source[TextToSpeech] | None:
        """Return the voice for the rest of the clause; None if no voice is left to try."""
        source, self._at_once = self._at_once, None
        if source is None:
            source = self._voices.choose(self._tried, self._call_id)
        if source is None and self._last_resort:
            source, self._later = self._later, None
        if source is not None:
            if source.spec in self._tried:
                self._repeated.add(source.spec)
            self._tried.add(source.spec)
        return source

    def failed(self, source: Source[TextToSpeech], error: ProviderError) -> None:
        """Record that `source` raised `error` before the end of the clause."""
        if not isinstance(error, Down) or source.spec in self._repeated:
            return
        if isinstance(error, IncompleteAudio):
            self._at_once = source
        else:
            self._later = source
