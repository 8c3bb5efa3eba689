"""Reads and keeps the audio of fixed sentences (`Clause.fixed`): a greeting is synthesised once, and not in each call.

The key is a digest of everything that the audio depends on: the text as it is spoken, the provider and model, the
voice, the language, the speed, the format, and the settings that choose a provider's default voice and server.  So a
change of any of them is another sentence.  Only the preferred voice's audio is kept, and only if it spoke the whole
sentence without a fault; it is played even while that voice is down.

The cache is never waited for longer than `CACHE_SECONDS`, and a failure of it only means that the voice is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence

from common.store.fixed_speech import FixedSentence, FixedSpeech
from common.telemetry import metrics
from workers.providers.interfaces import VoiceOptions

log = logging.getLogger(__name__)

CACHE_SECONDS = 0.15
"""Longest wait for the cache before the voice is asked, in seconds."""
FORMAT = "mulaw 8000 v1"
"""Of the kept audio; change it when the processing of a voice's audio changes."""


class FixedSentences:
    """The fixed sentences of one call.  `settings`: what chooses a provider's default voice and its server."""

    def __init__(self, cache: FixedSpeech, options: VoiceOptions, settings: Sequence[str] = ()) -> None:
        self._cache = cache
        self._about = [FORMAT, options.voice, options.language, options.speed, *settings]
        self._keeping: set[asyncio.Task[None]] = set()

    def key(self, spec: str, text: str, spoken: str) -> str:
        """The key of a sentence: `spec` is the preferred voice, `spoken` the normalised `text`."""
        return hashlib.sha256(json.dumps([spec, text, spoken, *self._about]).encode()).hexdigest()

    async def read(self, key: str) -> FixedSentence | None:
        """The sentence, if it is kept and the cache answers in time."""
        result, sentence = "miss", None
        try:
            async with asyncio.timeout(CACHE_SECONDS):
                sentence = await self._cache.read(key)
        except (ConnectionError, TimeoutError):
            result = "away"
        metrics.FIXED_SENTENCES.labels("hit" if sentence is not None else result).inc()
        return sentence

    def keep(self, key: str, sentence: FixedSentence) -> None:
        """Keep the complete audio of a sentence; it is written while the call goes on."""
        task = asyncio.create_task(self._keep(key, sentence), name="keep a fixed sentence")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def close(self) -> None:
        """Wait for what is being written, at most `CACHE_SECONDS`."""
        if self._keeping:
            await asyncio.wait(self._keeping)

    async def _keep(self, key: str, sentence: FixedSentence) -> None:
        try:
            async with asyncio.timeout(CACHE_SECONDS):
                await self._cache.keep(key, sentence)
        except (ConnectionError, TimeoutError) as error:
            log.info("a fixed sentence was not kept: %s", error)
