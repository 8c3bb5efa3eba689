"""Defines the cache of synthesised fixed sentences: greetings, farewells and apologies, which each call speaks again.

    key: a digest of everything that the audio depends on (workers/tts/fixed_sentences.py)
    read ──▶ the whole audio, or None; a sentence that is read becomes the newest
    keep ──▶ written for `SPEECH_SECONDS`; above `SENTENCES_MAX` the one that was used the longest ago is removed

It holds an agent's own words, and of those only what is the same for many calls; never a model's text or a caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol
from zlib import crc32

from msgspec import DecodeError, Meta, Struct, msgpack

from common.protocol.fields import CharTimings

SENTENCES_MAX = 200
"""Most sentences of one server; with `SENTENCE_BYTES_MAX` 32 MB, and about 5 MB for greetings of three seconds."""
SENTENCE_BYTES_MAX = 160_000
"""Most bytes of mu-law of one sentence: 20 s.  A longer one is not kept."""
SPEECH_SECONDS = 7 * 86_400
"""Seconds after which a sentence is synthesised again: a vendor improves its voices under the same name."""


class FixedSentence(Struct, frozen=True, array_like=True):
    """The audio of one sentence, complete, and the timings of its words as in `ClauseSynthesized`."""

    mulaw: Annotated[bytes, Meta(min_length=1, max_length=SENTENCE_BYTES_MAX)]
    char_timings: CharTimings = ()


_decoder = msgpack.Decoder(FixedSentence)


def encoded(sentence: FixedSentence) -> bytes:
    """The sentence as it is kept by a server."""
    return msgpack.encode(sentence)


def decoded(data: bytes | None) -> FixedSentence | None:
    """The sentence from a server; None if there is none, or if another release wrote something that is none."""
    try:
        return _decoder.decode(data) if data is not None else None
    except DecodeError:
        return None


class FixedSpeech(Protocol):
    """The cache of a store (`CallStore.fixed_speech`).

    Every method raises ConnectionError or TimeoutError while the server is away.
    """

    async def read(self, key: str) -> FixedSentence | None:
        """The sentence with this key; None: it has to be synthesised."""

    async def keep(self, key: str, sentence: FixedSentence) -> None:
        """Keep the whole audio of a sentence; one of more than `SENTENCE_BYTES_MAX` bytes is not kept."""


class ShardedFixedSpeech:
    """See `FixedSpeech`: each key is on one of several servers."""

    def __init__(self, shards: Sequence[FixedSpeech]) -> None:
        self._shards = shards

    async def read(self, key: str) -> FixedSentence | None:
        """See `FixedSpeech.read`."""
        return await self._of(key).read(key)

    async def keep(self, key: str, sentence: FixedSentence) -> None:
        """See `FixedSpeech.keep`."""
        await self._of(key).keep(key, sentence)

    def _of(self, key: str) -> FixedSpeech:
        return self._shards[crc32(key.encode()) % len(self._shards)]
