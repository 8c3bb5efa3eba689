"""`deepgram/flux-general-en` and `deepgram/flux-general-multi`: Deepgram's /v2/listen, which decides the turns itself.

`endpointing_ms` becomes the vendor's `eot_timeout_ms`, times `EOT_TIMEOUT_FACTOR`: a sentence that sounds finished ends
long before that, so the timeout is for those that do not.  Audio is sent in 80 ms, as the vendor asks.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from workers.providers.interfaces import ListenOptions, Rejected
from workers.stt.engines.deepgram_account import DeepgramAccount, keyterms_within
from workers.stt.engines.deepgram_flux_core import FluxCore
from workers.stt.engines.deepgram_nova import SEVERAL
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.socket_stream import SocketAddress, SttSocketStream, open_stream, try_key
from workers.stt.stream.stt_core import PING, SocketProfile, SttStreamOptions

MESSAGE_MS = 80
ANSWER_MS = 1000
"""Four updates."""
EOT_TIMEOUT_FACTOR = 3
EOT_TIMEOUT_MS = (500, 60_000)
"""The least and the most that the vendor accepts."""
MULTI_LANGUAGES = frozenset(("en", "es", "fr", "de", "hi", "ru", "pt", "ja", "it", "nl"))
"""The languages of `flux-general-multi`."""


@dataclass(frozen=True, slots=True)
class FluxOptions(SttStreamOptions):
    """The deadlines, and how sure Flux must be, from 0 to 1, that a turn is over.  Updates come four times a second."""

    mute_s: float = 2.0
    eot_threshold: float = 0.7
    eager_eot_threshold: float = 0.4
    """The same for the eager end of a turn; not asked for if `eager_endpointing_ms` is 0."""


class DeepgramFlux:
    """`SpeechToText` at Deepgram Flux; holds nothing open between calls."""

    def __init__(self, model: str, account: DeepgramAccount, options: FluxOptions | None = None) -> None:
        self._name = f"deepgram/{model}"
        self._model = model
        self._account = account
        self._options = options or FluxOptions()

    def __repr__(self) -> str:
        return f"<DeepgramFlux {self._model}>"

    def listen(self, options: ListenOptions) -> AbstractAsyncContextManager[SttSocketStream]:
        """Open a stream (see `SpeechToText`).  Raises Rejected if the model does not understand the language."""
        feed = AudioFeed(self._options.backlog_ms_max)
        # Flux may wait for `eot_timeout_ms` of silence before it ends a turn: only then is an end overdue.
        final_ms = eot_timeout_ms(options) + int(self._options.final_s * 1000)
        core = FluxCore(self._name, options, feed, final_ms, int(self._options.grace_s * 1000))
        profile = SocketProfile(
            self._name,
            message_ms=MESSAGE_MS,
            answer_ms=ANSWER_MS,
            keepalive=PING,
            goodbye='{"type": "CloseStream"}',
        )
        return open_stream(self._address(options), profile, feed, core, self._options)

    async def warm(self) -> None:
        """Try the key.  Raises Rejected if it is refused."""
        await try_key(self._address(ListenOptions()), self._options.connect_s)

    def _address(self, options: ListenOptions) -> SocketAddress:
        return self._account.address(self._name, "/v2/listen", query(self._model, options, self._options))

    async def aclose(self) -> None:
        """Nothing is kept between calls."""


def eot_timeout_ms(options: ListenOptions) -> int:
    """The silence after which Flux ends a turn whose words do not sound like an end."""
    least, most = EOT_TIMEOUT_MS
    return min(most, max(least, options.endpointing_ms * EOT_TIMEOUT_FACTOR))


def query(model: str, options: ListenOptions, thresholds: FluxOptions) -> list[tuple[str, str]]:
    """The query of a call's options, in the vendor's terms.  Raises Rejected for a language it does not understand."""
    asked = [
        ("model", model),
        ("encoding", "mulaw"),
        ("sample_rate", "8000"),
        ("eot_threshold", str(thresholds.eot_threshold)),
        ("eot_timeout_ms", str(eot_timeout_ms(options))),
    ]
    if options.eager_endpointing_ms:
        asked.append(("eager_eot_threshold", str(thresholds.eager_eot_threshold)))
    return (
        asked + _language(model, options.language) + [("keyterm", term) for term in keyterms_within(options.keyterms)]
    )


def _language(model: str, tag: str) -> list[tuple[str, str]]:
    spoken = tag.partition("-")[0].lower()
    if model.endswith("-en"):
        if spoken != "en":
            raise Rejected(f"deepgram/{model} understands English only, not {tag}; take flux-general-multi")
        return []
    if spoken in SEVERAL:
        return []
    if spoken not in MULTI_LANGUAGES:
        raise Rejected(f"deepgram/{model} does not understand {tag}; take nova-3")
    return [("language_hint", spoken)]
