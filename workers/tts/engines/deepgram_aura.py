"""`deepgram/aura-…`: Deepgram's Aura voices, one streamed POST per clause.

    POST /v1/speak?model=aura-2-thalia-en&encoding=mulaw&sample_rate=8000&container=none   {"text": "…"}
    Authorization: Token <key>

The body is raw mu-law, forwarded unchanged; `audio.received` detects anything else.  There is no speed and no
alignment.  A wrong sample rate is detected only if the answer's Content-Type names it.  Source: the vendor's API
reference, "Single Text Request".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from common.audio.g711 import BYTES_PER_MS, SAMPLE_RATE
from workers.providers.catalog import primary
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.http import VendorHttp
from workers.providers.interfaces import Rejected, VoiceOptions
from workers.tts.audio.audibility import is_speakable
from workers.tts.audio.format import MULAW_8K
from workers.tts.audio.received import ReceivedAudio, received
from workers.tts.voice_names import AURA_MODEL

DEEPGRAM_URL = "https://api.deepgram.com"
_AUDIO = {"encoding": "mulaw", "sample_rate": str(SAMPLE_RATE), "container": "none"}


class Aura:
    """Implements `workers.providers.interfaces.TextToSpeech`."""

    def __init__(
        self, model: str, *, key: str, url: str = DEEPGRAM_URL, deadlines: SpeechDeadlines | None = None
    ) -> None:
        """`model` names the voice and its language: aura-2-thalia-en.  Raises ValueError for another form."""
        if not AURA_MODEL.fullmatch(model):
            raise ValueError(f"{model!r} is no voice of Deepgram's; they look like aura-2-thalia-en")
        self._model = model
        self._deadlines = deadlines or SpeechDeadlines()
        headers = {"authorization": f"Token {key}"}
        self._http = VendorHttp(f"deepgram/{model}", url, headers, "DEEPGRAM_API_KEY", self._deadlines.connect_s)

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[bytes, None]:
        """Synthesise one clause.  `options.voice` is used if it is an Aura model; otherwise it is another vendor's."""
        if not is_speakable(text):
            return
        voice = options.voice.lower()
        model = voice if AURA_MODEL.fullmatch(voice) else self._model
        if not model.endswith(f"-{primary(options.language)}"):
            raise Rejected(f"the voice {model} does not speak {options.language}")
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        audio = ReceivedAudio(f"deepgram/{model}", "DEEPGRAM_BASE_URL", MULAW_8K, deadline)
        body = self._http.post("/v1/speak", {"model": model, **_AUDIO}, {"text": text}, audio.declared, deadline)
        async with aclosing(body) as chunks, aclosing(received(audio, chunks)) as audio_chunks:
            async for mulaw in audio_chunks:
                yield mulaw

    async def warm(self) -> None:
        """Check the key.  Raises `Rejected` if it is wrong; does nothing if the vendor is down."""
        await self._http.check_key("/v1/auth/token", self._deadlines.first_audio_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
