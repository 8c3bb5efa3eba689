"""`elevenlabs/<model>`: ElevenLabs' multi-context sockets; `elevenlabs/<model>+http`: one streamed POST per clause.

A socket belongs to a voice and a language and is shared by all calls of the process; each clause is a context of its
own (`elevenlabs_messages`).  More than five clauses at once open more sockets, up to a limit; beyond it `Busy` is
raised.  The vendor sends mu-law, which is forwarded unchanged.

A socket that was open before a clause, and closes before it sent anything for it, was idle for too long or is worn out:
the clause is sent once more, on a new socket.  Any other failure is raised, and the next provider is tried.

A barge-in cannot stop the vendor: a flushed context is synthesised to its end, in a fraction of its length.  Its audio
is dropped, and it occupies its place on the socket until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from common.audio.g711 import BYTES_PER_MS
from common.process.addresses import socket_url
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.http import VendorHttp
from workers.providers.interfaces import Busy, CharTimings, Down, ProviderError, Sound, VoiceOptions
from workers.tts.audio.audibility import is_speakable
from workers.tts.audio.format import MULAW_8K
from workers.tts.audio.received import ReceivedAudio, received
from workers.tts.engines.elevenlabs_messages import language_code, socket_path, voice_settings
from workers.tts.engines.elevenlabs_socket import ClauseContext, Socket, SocketLimits
from workers.tts.voice_names import ELEVENLABS_VOICE

T = TypeVar("T")

log = logging.getLogger(__name__)

ELEVENLABS_URL = "wss://api.elevenlabs.io"
VOICE = "JBFqnCBsd6RMkjVDRZzb"
"""The voice of the vendor's own examples, which every account has."""
_KEY, _URL = "ELEVENLABS_API_KEY", "ELEVENLABS_BASE_URL"


def _voice_for(options: VoiceOptions, default: str) -> str:
    """Return `options.voice` if it has the form of an ElevenLabs id; otherwise it is another vendor's."""
    return options.voice if ELEVENLABS_VOICE.fullmatch(options.voice) else default


async def _counted(deadline: SynthesisDeadline, waiting: Awaitable[T]) -> T:
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    try:
        return await waiting
    finally:
        deadline.waited(loop.time() - started_at)


class ElevenLabs:
    """Implements `workers.providers.interfaces.TextToSpeech` over multi-context sockets."""

    def __init__(
        self, model: str, *, key: str, url: str = ELEVENLABS_URL, voice: str = VOICE,
        deadlines: SpeechDeadlines | None = None, limits: SocketLimits | None = None,
    ) -> None:  # fmt: skip
        """`voice`: the id of the default voice."""
        if model.startswith("eleven_v3"):
            raise ValueError(f"{model} has no multi-context socket; write elevenlabs/{model}+http")
        self._name = f"elevenlabs/{model}"
        self._model = model
        self._voice = voice
        self._url = socket_url(url)
        self._headers = {"xi-api-key": key}
        self._deadlines = deadlines or SpeechDeadlines()
        self._limits = limits or SocketLimits()
        self._sockets: dict[Socket, tuple[tuple[str, str], asyncio.Task[None]]] = {}
        self._http = VendorHttp(self._name, url, self._headers, _KEY, self._deadlines.connect_s)

    def __repr__(self) -> str:
        return f"<ElevenLabs {self._model}, {len(self._sockets)} sockets>"

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[Sound, None]:
        """Synthesise one clause.  Timings come before the audio that they are about.  Raises a `ProviderError`."""
        if not is_speakable(text):
            return
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        for again in (True, False):
            socket = self._socket_for(_voice_for(options, self._voice), language_code(self._model, options.language))
            context = socket.add(text)
            audio = ReceivedAudio(self._name, _URL, MULAW_8K)
            try:
                async with aclosing(self._context_chunks(socket, context, text, options.speed, deadline)) as tts_chunks:
                    async for chunk in tts_chunks:
                        if isinstance(chunk, CharTimings):
                            yield chunk
                        elif mulaw := audio.feed(chunk):
                            yield mulaw
                if mulaw := audio.finish():
                    yield mulaw
                return
            except Down:
                if not again or context.answered or context.fresh or deadline.left_s <= 0:
                    raise
            finally:
                socket.leave(context)

    async def warm(self) -> None:
        """Check the key and open a first socket.  Raises `Rejected` for a wrong key; ignores a vendor that is down."""
        await self._http.check_key("/v1/models", self._deadlines.first_audio_s, wrong="invalid_api_key")
        socket = self._socket_for(self._voice, language_code(self._model, VoiceOptions().language))
        context = socket.add("")
        try:
            await socket.opened(self._deadlines.connect_s)
        except TimeoutError:
            return
        finally:
            socket.leave(context)

    async def aclose(self) -> None:
        """Close the sockets and the connections."""
        tasks = [task for _, task in self._sockets.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    async def _context_chunks(
        self, socket: Socket, context: ClauseContext, text: str, speed: float, deadline: SynthesisDeadline
    ) -> AsyncGenerator[Sound, None]:
        """Yield what comes for the context, within the deadline; end when it is complete."""
        try:
            await _counted(deadline, socket.speak(context, text, speed, deadline.left_s))
            while (chunk := await _counted(deadline, context.next(deadline.left_s))) is not None:
                if isinstance(chunk, bytes):
                    deadline.heard(len(chunk))
                yield chunk
        except ProviderError:
            socket.retire()
            raise
        except TimeoutError:
            socket.retire()
            if context.timings.complete:
                return  # only the message that ends it is missing
            raise Down(f"{self._name} did not answer in time") from None

    def _socket_for(self, voice: str, language: str) -> Socket:
        """Return a socket with a free place, opened if need be.  Raises `Busy`."""
        key = (voice, language)
        for socket, (owner, _) in self._sockets.items():
            if owner == key and socket.free:
                return socket
        if len(self._sockets) >= self._limits.sockets_max:
            self._close_an_idle_one()
        path = socket_path(voice, self._model, language)
        socket = Socket(self._name, self._url + path, self._headers, self._deadlines.connect_s, self._limits)
        task = asyncio.create_task(socket.run(), name=f"socket of {self._name}")
        self._sockets[socket] = (key, task)
        task.add_done_callback(lambda done: self._gone(socket, done))
        return socket

    def _close_an_idle_one(self) -> None:
        """Close the socket that was idle for longest, to make room for another voice.  Raises `Busy`."""
        idle = [socket for socket in self._sockets if not socket.contexts]
        if not idle:
            raise Busy(f"{self._name}: all {self._limits.sockets_max} sockets of this process are taken")
        oldest = min(idle, key=lambda socket: socket.idle_since)
        oldest.retire()
        self._sockets[oldest][1].cancel()

    def _gone(self, socket: Socket, task: asyncio.Task[None]) -> None:
        del self._sockets[socket]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a socket of %s failed", self._name, exc_info=error)


class ElevenLabsHttp:
    """Implements `TextToSpeech` over HTTP.  No alignment; a wrong sample rate is not detected."""

    def __init__(
        self, model: str, *, key: str, url: str = ELEVENLABS_URL, voice: str = VOICE,
        deadlines: SpeechDeadlines | None = None,
    ) -> None:  # fmt: skip
        """`voice`: the id of the default voice; `url` may be a http or a ws URL."""
        self._model = model
        self._voice = voice
        self._deadlines = deadlines or SpeechDeadlines()
        headers = {"xi-api-key": key}
        self._http = VendorHttp(f"elevenlabs/{model}+http", url, headers, _KEY, self._deadlines.connect_s)

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[bytes, None]:
        """Synthesise one clause.  Raises a `ProviderError`."""
        if not is_speakable(text):
            return
        document = {"text": text, "model_id": self._model, **voice_settings(options.speed)}
        if language := language_code(self._model, options.language):
            document["language_code"] = language
        path = f"/v1/text-to-speech/{_voice_for(options, self._voice)}/stream"
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        audio = ReceivedAudio(f"elevenlabs/{self._model}+http", _URL, MULAW_8K, deadline)

        def declared(content_type: str) -> None:
            audio.declared(content_type, trusted=False)  # the vendor's media type for mu-law is not documented

        body = self._http.post(path, {"output_format": "ulaw_8000"}, document, declared, deadline)
        async with aclosing(body) as chunks, aclosing(received(audio, chunks)) as tts_chunks:
            async for mulaw in tts_chunks:
                yield mulaw

    async def warm(self) -> None:
        """Check the key.  Raises `Rejected` if it is wrong; does nothing if the vendor is down."""
        await self._http.check_key("/v1/models", self._deadlines.first_audio_s, wrong="invalid_api_key")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
