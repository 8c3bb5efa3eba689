"""`sarvam/<model>`: speech to text for the languages of India by Sarvam's streaming WebSocket.

Models: `saarika:v2.5` and `saaras:v3` (with `mode=transcribe`).  The translating `saaras:v2.5` has another address
and is not offered.  Audio is 16-bit at 8 kHz: `sample_rate` must stand in the query and with the audio; the codec
is `pcm_s16le` in the query, while the audio itself keeps the encoding `audio/wav`, the only one that is accepted.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from urllib.parse import urlencode

from common.process.addresses import socket_url
from workers.providers.interfaces import ListenOptions
from workers.providers.sarvam import KEY_VARIABLE, SARVAM_URL, headers, language_code
from workers.stt.engines.sarvam_core import SarvamCore, encode
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.socket_stream import SocketAddress, SttSocketStream, open_stream, try_key
from workers.stt.stream.stt_core import SocketProfile, SttStreamOptions

MESSAGE_MS = 100
"""Audio in one message: JSON and base64 cost per message, and the vendor's detector needs half a second anyway."""
GAP_FILL_MS = 1_000
"""Of missing audio this much is sent as silence: enough for the vendor to notice a pause."""
OPTIONS = SttStreamOptions(final_s=4.0, unresponsive_s=4.0)
UNKNOWN = {"und": "unknown", "mul": "unknown"}
"""BCP 47 of "not known" and "several": the vendor finds the language itself."""
MORE_OF_SAARAS = {
    "as": "as-IN", "ur": "ur-IN", "ne": "ne-IN", "kok": "kok-IN", "ks": "ks-IN", "sd": "sd-IN", "sa": "sa-IN",
    "sat": "sat-IN", "mni": "mni-IN", "brx": "brx-IN", "mai": "mai-IN", "doi": "doi-IN",
}  # fmt: skip
"""The languages of saaras:v3 besides those of all models."""


class Sarvam:
    """`SpeechToText` by Sarvam; one socket a call."""

    def __init__(self, model: str, key: str, url: str = SARVAM_URL, options: SttStreamOptions = OPTIONS) -> None:
        self._model = model
        self._key = key
        self._url = socket_url(url)
        self._options = options
        self._profile = SocketProfile(
            f"sarvam/{model}", message_ms=MESSAGE_MS, message_ms_max=MESSAGE_MS, encode=encode
        )

    def listen(self, options: ListenOptions) -> AbstractAsyncContextManager[SttSocketStream]:
        """Open a stream (see `SpeechToText`).  Raises Rejected if the model does not understand the language."""
        feed = AudioFeed(self._options.backlog_ms_max, GAP_FILL_MS)
        core = SarvamCore(options, self._options.final_s, self._options.unresponsive_s)
        return open_stream(self._address(options.language), self._profile, feed, core, self._options)

    def _address(self, language: str) -> SocketAddress:
        saaras = self._model.startswith("saaras")
        query = {
            "language-code": language_code(
                self._profile.name, language, {**UNKNOWN, **(MORE_OF_SAARAS if saaras else {})}
            ),
            "model": self._model,
            "sample_rate": "8000",
            "input_audio_codec": "pcm_s16le",
            "high_vad_sensitivity": "true",  # half a second of silence ends a speech, not a whole one
            "vad_signals": "true",
            "flush_signal": "true",
        }
        if saaras:
            query["mode"] = "transcribe"
        url = f"{self._url}/speech-to-text/ws?{urlencode(query)}"
        return SocketAddress(self._profile.name, url, headers(self._key), KEY_VARIABLE)

    async def warm(self) -> None:
        """Try the key.  Raises Rejected if it is refused."""
        await try_key(self._address("en-IN"), self._options.connect_s)

    async def aclose(self) -> None:
        """Nothing is kept between calls."""
