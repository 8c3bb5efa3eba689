"""`sarvam/<model>`: speech to text for the languages of India by Sarvam's streaming WebSocket.

Models: `saarika:v2.5` and `saaras:v3` (with `mode=transcribe`).  The translating `saaras:v2.5` has another address
and is not offered.  Audio is 16-bit at 8 kHz: `sample_rate` must be told in the query and with the audio; the codec
is `pcm_s16le` in the query, while the audio itself keeps the encoding `audio/wav`, which is all that it accepts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from workers.providers.interfaces import ListenOptions, ProviderError, Rejected
from workers.providers.sarvam import KEY_VARIABLE, SARVAM_URL, headers, language_code, socket_url
from workers.providers.websocket import close_socket, open_socket
from workers.stt.engines.sarvam_core import SarvamTurns
from workers.stt.stream.batched_stream import DEADLINES, BatchedSttStream, SttDeadlines, open_stream

BATCH_MS = 100
"""Audio in one message: JSON and base64 cost per message, and the vendor's detector needs half a second anyway."""
UNKNOWN = {"und": "unknown", "mul": "unknown"}
"""BCP 47 of "not known" and "several": the vendor finds the language itself."""
MORE_OF_SAARAS = {
    "as": "as-IN", "ur": "ur-IN", "ne": "ne-IN", "kok": "kok-IN", "ks": "ks-IN", "sd": "sd-IN", "sa": "sa-IN",
    "sat": "sat-IN", "mni": "mni-IN", "brx": "brx-IN", "mai": "mai-IN", "doi": "doi-IN",
}  # fmt: skip
"""What saaras:v3 understands besides the languages of all models."""


class Sarvam:
    """`SpeechToText` by Sarvam; one socket a call."""

    def __init__(self, model: str, key: str, url: str = SARVAM_URL, deadlines: SttDeadlines = DEADLINES) -> None:
        self._model = model
        self._key = key
        self._url = socket_url(url)
        self._deadlines = deadlines
        self._name = f"sarvam/{model}"

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[BatchedSttStream]:
        """Open an ear (see `SpeechToText`)."""
        url = self._address(options.language)
        connection = await open_socket(self._name, url, headers(self._key), self._deadlines.connect_s, KEY_VARIABLE)
        core = SarvamTurns(options, self._deadlines.final_s, self._deadlines.deaf_s)
        async with open_stream(self._name, connection, core, self._deadlines, BATCH_MS) as stream:
            yield stream

    def _address(self, language: str) -> str:
        saaras = self._model.startswith("saaras")
        query = {
            "language-code": language_code(self._name, language, {**UNKNOWN, **(MORE_OF_SAARAS if saaras else {})}),
            "model": self._model,
            "sample_rate": "8000",
            "input_audio_codec": "pcm_s16le",
            "high_vad_sensitivity": "true",  # half a second of silence ends a speech, not a whole one
            "vad_signals": "true",
            "flush_signal": "true",
        }
        if saaras:
            query["mode"] = "transcribe"
        return f"{self._url}/speech-to-text/ws?{urlencode(query)}"

    async def warm(self) -> None:
        """Try the key.  Raises Rejected if it is wrong; a vendor that is down now is no reason to stop."""
        url = self._address("en-IN")
        try:
            connection = await open_socket(self._name, url, headers(self._key), self._deadlines.connect_s, KEY_VARIABLE)
        except Rejected:
            raise
        except ProviderError:
            return
        await close_socket(connection)

    async def aclose(self) -> None:
        """Nothing is kept between calls."""
