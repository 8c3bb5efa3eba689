"""`deepgram/aura-…`: Deepgram's Aura voices, one streamed POST per clause.

    POST /v1/speak?model=aura-2-thalia-en&encoding=mulaw&sample_rate=8000&container=none   {"text": "…"}
    Authorization: Token <key>

The body is raw mu-law, forwarded untouched.  There is no speed and no alignment.  That it is of another rate than was
asked for is seen only if the answer's Content-Type says so.  Source: the vendor's API reference, "Single Text Request".
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from common.audio.g711 import BYTES_PER_MS, SAMPLE_RATE
from workers.patience import Patience, SpeechDeadlines
from workers.providers import Rejected, VoiceOptions
from workers.vendor_http import VendorHttp

DEEPGRAM_URL = "https://api.deepgram.com"
TEXT_CHARS_MAX = 2000
"""The vendor's own limit."""
MODEL = re.compile(r"aura-(?:\d-)?[a-z]+-(?P<language>[a-z]{2})")
_AUDIO = {"encoding": "mulaw", "sample_rate": str(SAMPLE_RATE), "container": "none"}


class Aura:
    """See `workers.providers.TextToSpeech`."""

    def __init__(
        self, model: str, *, key: str, url: str = DEEPGRAM_URL, deadlines: SpeechDeadlines | None = None
    ) -> None:
        """`model` names the voice and its language: aura-2-thalia-en.  Raises ValueError for another one."""
        if not MODEL.fullmatch(model):
            raise ValueError(f"{model!r} is no voice of Deepgram's; they look like aura-2-thalia-en")
        self._model = model
        self._deadlines = deadlines or SpeechDeadlines()
        headers = {"authorization": f"Token {key}"}
        self._http = VendorHttp(f"deepgram/{model}", url, headers, "DEEPGRAM_API_KEY", self._deadlines.connect_s)

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[bytes, None]:
        """Speak one clause.  `options.voice` is taken if it is an Aura model; otherwise it is another vendor's."""
        if len(text) > TEXT_CHARS_MAX:
            raise Rejected(f"a clause of {len(text)} characters; at most {TEXT_CHARS_MAX} are spoken at once")
        if not any(map(str.isalnum, text)):
            return
        model = options.voice if MODEL.fullmatch(options.voice) else self._model
        language = options.language.replace("_", "-").partition("-")[0].lower()
        if not model.endswith(f"-{language}"):
            raise Rejected(f"the voice {model} does not speak {options.language}")
        patience = Patience(self._deadlines, BYTES_PER_MS)
        body = self._http.post("/v1/speak", {"model": model, **_AUDIO}, {"text": text}, "audio/", patience)
        async with aclosing(body) as audio:
            async for mulaw in audio:
                yield mulaw

    async def warm(self) -> None:
        """See whether the key is good.  Raises Rejected if it is not; an outage is no reason to stop."""
        await self._http.check_key("/v1/auth/token", self._deadlines.first_audio_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
