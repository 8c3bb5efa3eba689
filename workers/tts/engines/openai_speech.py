"""`openai/<tts model>`: OpenAI's speech, one streamed request per clause.

The body is raw PCM, 24 kHz, 16 bits, little-endian, mono, and is converted to telephone audio.  A compatible server may
send another rate if its Content-Type names it, or WAV; one that sends MP3 is `Rejected` (`audio.received`).  A wrong
rate that no header names is not detected.  `instructions` are not sent: they change a voice from clause to clause.
There is no alignment.  Source: the vendor's API reference, "Create speech".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import openai

from workers.providers.accounts import OPENAI_URL
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.http import ATTEMPTS_MAX, KEEPALIVE_S, broken, timed
from workers.providers.http_status import refused
from workers.providers.interfaces import ProviderError, Rejected, VoiceOptions
from workers.providers.openai import ERRORS, close_client, http, open_client
from workers.tts.audio.audibility import is_speakable
from workers.tts.audio.format import Encoding
from workers.tts.audio.received import ReceivedAudio, received
from workers.tts.voice_names import OPENAI_VOICE, OPENAI_VOICES, is_openai

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 200
"""Clauses at once; one more waits, within its deadline."""
PCM_24K = Encoding("pcm", 24_000)
SPEED_MIN, SPEED_MAX = 0.25, 4.0
VOICE = "alloy"
VOICE_REFUSALS = (400, 404, 422)
VOICES_REFUSED_MAX = 100
"""Most voices that are remembered as missing at the server, so that each is requested once."""


class OpenAISpeech:
    """Implements `workers.providers.interfaces.TextToSpeech`."""

    def __init__(
        self, model: str, *, key: str, url: str = OPENAI_URL, deadlines: SpeechDeadlines | None = None
    ) -> None:
        """`key` may be empty for a server without keys."""
        self._model = model
        self._is_openai = is_openai(url)
        self._voices_refused: set[str] = set()
        self._deadlines = deadlines = deadlines or SpeechDeadlines(first_audio_s=6.0)
        timeout = openai.Timeout(None, connect=deadlines.connect_s)  # `_response` and `timed` keep the deadlines
        self._client = open_client(key, url, timeout, CONNECTIONS_MAX, KEEPALIVE_S)

    def __repr__(self) -> str:
        return f"<OpenAISpeech {self._model}>"

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[bytes, None]:
        """Synthesise one clause.  Raises a `ProviderError`.

        A compatible server is sent `options.voice` whatever it is, OpenAI only what may be one of its voices.  After a
        refused voice the default one speaks, and a warning is logged once.
        """
        if not is_speakable(text):
            return
        deadline = SynthesisDeadline(self._deadlines, PCM_24K.bytes_per_ms)
        audio = ReceivedAudio(f"openai/{self._model}", "OPENAI_BASE_URL", PCM_24K, deadline)
        body = self._body(text, options, audio, deadline)
        async with aclosing(body) as chunks, aclosing(received(audio, chunks)) as audio_chunks:
            async for mulaw in audio_chunks:
                yield mulaw

    async def warm(self) -> None:
        """Open a connection and check the key.  Raises `Rejected` if it is wrong.

        Does nothing if the vendor is down or has no such route.
        """
        try:
            async with asyncio.timeout(self._deadlines.first_audio_s):
                await self._client.models.list()
        except openai.AuthenticationError:
            raise self._refused(401) from None
        except (*ERRORS, TimeoutError, ValueError):
            return

    async def aclose(self) -> None:
        """Close all connections; the object cannot be used afterwards."""
        await close_client(self._client)

    async def _body(
        self, text: str, options: VoiceOptions, audio: ReceivedAudio, deadline: SynthesisDeadline
    ) -> AsyncGenerator[bytes, None]:
        async with contextlib.AsyncExitStack() as stack:
            response = await self._answer(stack, text, options, deadline)
            audio.declared(response.headers.get("content-type", ""))
            name = f"openai/{self._model}"
            async with aclosing(timed(name, response.iter_bytes(), deadline, ERRORS)) as chunks:
                async for chunk in chunks:
                    yield chunk

    def _voices(self, voice: str) -> list[str]:
        """Return the voices to try: the agent's voice if this server may have it, then the default."""
        if self._is_openai:
            voice = voice.lower() if voice.lower() in OPENAI_VOICES else voice
            voice = voice if OPENAI_VOICE.fullmatch(voice) else ""
        return [VOICE] if voice in ("", VOICE) or voice in self._voices_refused else [voice, VOICE]

    async def _answer(
        self, stack: contextlib.AsyncExitStack, text: str, options: VoiceOptions, deadline: SynthesisDeadline
    ) -> Any:
        """Return the response, its body unread, in the agent's voice or else the default one; `stack` closes it."""
        request: dict[str, Any] = {"model": self._model, "input": text, "response_format": "pcm"}
        if options.speed != 1.0:
            request["speed"] = min(max(options.speed, SPEED_MIN), SPEED_MAX)
        voice, *others = self._voices(options.voice)
        try:
            return await self._response(stack, {**request, "voice": voice}, deadline)
        except _BadRequest:
            if not others:
                raise
        response = await self._response(stack, {**request, "voice": others[0]}, deadline)
        if len(self._voices_refused) < VOICES_REFUSED_MAX:
            self._voices_refused.add(voice)
        log.warning("openai/%s has no voice %r, and speaks with %r instead", self._model, voice, others[0])
        return response

    async def _response(
        self, stack: contextlib.AsyncExitStack, request: dict[str, Any], deadline: SynthesisDeadline
    ) -> Any:
        loop = asyncio.get_running_loop()
        for attempt in range(1, ATTEMPTS_MAX + 1):
            began = loop.time()
            try:
                async with asyncio.timeout(deadline.left_s):
                    asked = self._client.audio.speech.with_streaming_response.create(**request)
                    return await stack.enter_async_context(asked)
            except openai.APIStatusError as error:
                refusal = self._refused(error.status_code)
                if error.status_code in VOICE_REFUSALS:
                    raise _BadRequest(str(refusal)) from None
                raise refusal from None
            except (*ERRORS, TimeoutError, ValueError) as error:
                # The vendor closed a kept connection at the moment of its reuse: the next attempt opens a new one.
                if attempt == ATTEMPTS_MAX or not _broke_off(error):
                    raise self._provider_error(error) from None
            finally:
                deadline.waited(loop.time() - began)
        raise AssertionError("every attempt returns or raises")

    def _refused(self, status: int) -> ProviderError:
        return refused(f"openai/{self._model}", status, "OPENAI_API_KEY")

    def _provider_error(self, error: Exception) -> ProviderError:
        return broken(f"openai/{self._model}", error)


class _BadRequest(Rejected):
    """The server does not accept a value: the voice, or another."""


def _broke_off(error: Exception) -> bool:
    """True if a connection was open, and then lost before an answer."""
    cause = error.__cause__ or error
    return isinstance(cause, (http.RemoteProtocolError, http.ReadError, http.WriteError))
