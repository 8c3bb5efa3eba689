"""Keeps fixed sentences without a server, for tests (fixed_speech.py)."""

from __future__ import annotations

import asyncio

from common.store.fixed_speech import SENTENCE_BYTES_MAX, SENTENCES_MAX, SPEECH_SECONDS, FixedSentence


class MemoryFixedSpeech:
    """See `common.store.fixed_speech.FixedSpeech`."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[FixedSentence, float]] = {}
        """key -> (sentence, loop time at which it expires), in the order of use"""

    async def read(self, key: str) -> FixedSentence | None:
        known = self._kept.pop(key, None)
        if known is None or known[1] <= _now():
            return None
        self._kept[key] = known
        return known[0]

    async def keep(self, key: str, sentence: FixedSentence) -> None:
        if len(sentence.mulaw) > SENTENCE_BYTES_MAX:
            return
        self._kept.pop(key, None)
        self._kept[key] = (sentence, _now() + SPEECH_SECONDS)
        while len(self._kept) > SENTENCES_MAX:
            del self._kept[next(iter(self._kept))]


def _now() -> float:
    return asyncio.get_running_loop().time()
