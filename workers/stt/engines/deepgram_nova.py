"""`deepgram/nova-3` and its kin: Deepgram's /v1/listen, one socket per call, mu-law as it came from the caller.

The turns are decided in `deepgram_nova_core`; `endpointing` is set to `eager_endpointing_ms`, so that the vendor's
detector reports an early end, and ours waits for `endpointing_ms`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from workers.providers.interfaces import ListenOptions
from workers.stt.engines.deepgram_account import DeepgramAccount, keyterms_within
from workers.stt.engines.deepgram_nova_core import NovaCore, detector_ms
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.socket_stream import SocketAddress, SttSocketStream, open_stream, try_key
from workers.stt.stream.stt_core import SocketProfile, SttStreamOptions

ANSWER_MS = 1500
"""Results come once a second."""

UTTERANCE_END_MS_MIN = 1000
"""The least that the vendor accepts."""
REGIONS = {
    "en": ("US", "AU", "GB", "IN", "NZ", "CA", "IE"),
    "zh": ("CN", "TW", "HK", "Hans", "Hant"),
    "pt": ("BR", "PT"),
    "de": ("CH",),
    "es": ("419",),
    "fr": ("CA",),
    "nl": ("BE",),
}
"""The regions and scripts that the vendor distinguishes; of any other it knows the language."""
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

    def listen(self, options: ListenOptions) -> AbstractAsyncContextManager[SttSocketStream]:
        """Open a stream (see `SpeechToText`)."""
        feed = AudioFeed(self._options.backlog_ms_max)
        final_ms, grace_ms = int(self._options.final_s * 1000), int(self._options.grace_s * 1000)
        core = NovaCore(self._name, options, feed, final_ms, grace_ms)
        profile = SocketProfile(
            self._name, answer_ms=ANSWER_MS, keepalive='{"type": "KeepAlive"}', goodbye='{"type": "CloseStream"}'
        )
        return open_stream(self._address(options), profile, feed, core, self._options)

    async def warm(self) -> None:
        """Try the key.  Raises Rejected if it is refused."""
        await try_key(self._address(ListenOptions()), self._options.connect_s)

    def _address(self, options: ListenOptions) -> SocketAddress:
        return self._account.address(self._name, "/v1/listen", query(self._model, options))

    async def aclose(self) -> None:
        """Nothing is kept between calls."""


def query(model: str, options: ListenOptions) -> list[tuple[str, str]]:
    """The query of a call's options, in the vendor's terms."""
    terms = "keyterm" if model.startswith("nova-3") else "keywords"
    return [
        ("model", model),
        ("language", language_code(options.language)),
        ("encoding", "mulaw"),
        ("sample_rate", "8000"),
        ("channels", "1"),
        ("interim_results", "true"),
        ("endpointing", str(detector_ms(options))),
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
