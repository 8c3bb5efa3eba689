"""`deepgram/nova-3` and its kin: Deepgram's /v1/listen, one socket per call, mu-law as it came from the caller.

The turns are decided in `deepgram_nova_core`; `endpointing` is set to `eager_endpointing_ms`, so that the vendor's
detector reports an early end, and ours waits for `endpointing_ms`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers.providers.interfaces import Busy, Down, ListenOptions, Rejected
from workers.providers.websocket import close_socket, open_socket
from workers.stt.engines.deepgram_account import KEY_VARIABLE, DeepgramAccount, keyterms_within
from workers.stt.engines.deepgram_nova_core import QUIET_MS, DeepgramTurns
from workers.stt.stream.audio_feed import VendorFeed
from workers.stt.stream.socket_stream import SocketProfile, SttSocketStream, SttStreamOptions, socket_stream

UTTERANCE_END_MS_MIN = 1000
"""The vendor refuses less."""
REGIONS = {
    "en": ("US", "AU", "GB", "IN", "NZ", "CA", "IE"),
    "zh": ("CN", "TW", "HK", "Hans", "Hant"),
    "pt": ("BR", "PT"),
    "de": ("CH",),
    "es": ("419",),
    "fr": ("CA",),
    "nl": ("BE",),
}
"""The regions and scripts that the vendor tells apart; of any other it knows the language."""
SEVERAL = frozenset(("multi", "mul"))
"""Callers who change the language within a sentence: the vendor's `multi`, ISO 639's `mul`."""


class DeepgramNova:
    """`SpeechToText` at Deepgram; holds nothing open between calls."""

    def __init__(self, model: str, account: DeepgramAccount, options: SttStreamOptions | None = None) -> None:
        self._name = f"deepgram/{model}"
        self._model = model
        self._account = account
        self._options = options or SttStreamOptions()

    def __repr__(self) -> str:
        return f"<DeepgramNova {self._model}>"

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[SttSocketStream]:
        """Open an ear (see `SpeechToText`)."""
        url = self._account.socket_url("/v1/listen", query(self._model, options))
        connection = await open_socket(self._name, url, self._account.headers, self._options.connect_s, KEY_VARIABLE)
        feed = VendorFeed(self._options.backlog_ms_max)
        final_ms, grace_ms = int(self._options.final_s * 1000), int(self._options.grace_s * 1000)
        turns = DeepgramTurns(self._name, options, feed, final_ms, grace_ms)
        profile = SocketProfile(self._name, keepalive='{"type": "KeepAlive"}', goodbye='{"type": "CloseStream"}')
        async with socket_stream(connection, profile, feed, turns, self._options) as stream:
            yield stream

    async def warm(self) -> None:
        """See whether the key is good: raises `Rejected` if it is not.

        A vendor that is busy or down now is no reason to stop: calls find out, and go elsewhere.
        """
        await see_the_key(self._name, self._account, "/v1/listen", query(self._model, ListenOptions()), self._options)

    async def aclose(self) -> None:
        """Nothing is held."""


def query(model: str, options: ListenOptions) -> list[tuple[str, str]]:
    """How a call wants to be listened to, in the vendor's words."""
    terms = "keyterm" if model.startswith("nova-3") else "keywords"
    return [
        ("model", model),
        ("language", language_code(options.language)),
        ("encoding", "mulaw"),
        ("sample_rate", "8000"),
        ("channels", "1"),
        ("interim_results", "true"),
        ("endpointing", str(options.eager_endpointing_ms or QUIET_MS)),
        ("utterance_end_ms", str(max(UTTERANCE_END_MS_MIN, options.endpointing_ms))),
        ("vad_events", "true"),
        ("smart_format", "true"),
        ("punctuate", "true"),
        *((terms, term) for term in keyterms_within(options.keyterms)),
    ]


def language_code(tag: str) -> str:
    """A BCP 47 tag as the vendor has it: "hi-IN" is "hi", "en-in" is "en-IN", "mul" is "multi"."""
    if tag.lower() in SEVERAL:
        return "multi"
    language, _, region = tag.partition("-")
    language = language.lower()
    known = next((name for name in REGIONS.get(language, ()) if name.lower() == region.lower()), "")
    return f"{language}-{known}" if known else language


async def see_the_key(
    name: str, account: DeepgramAccount, path: str, asked: list[tuple[str, str]], options: SttStreamOptions
) -> None:
    """Open a socket and close it.  Raises `Rejected` if that was refused for good."""
    url = account.socket_url(path, asked)
    try:
        connection = await open_socket(name, url, account.headers, options.connect_s, KEY_VARIABLE)
    except Rejected:
        raise
    except (Busy, Down):
        return
    await close_socket(connection)
