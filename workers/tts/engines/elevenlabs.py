"""`elevenlabs/<model>`: ElevenLabs' multi-context sockets; `elevenlabs/<model>+http`: one streamed POST per clause.

A socket belongs to a voice and a language and is shared by all calls of the process; each clause is a context of its
own (`elevenlabs_messages`).  More than five clauses at once take more sockets, up to a limit, then it is Busy.
Audio is mu-law from the vendor on, and forwarded untouched.

A socket that was open before a clause, and ends before it said anything about it, was idle for too long or is worn out:
the clause is sent once more, on a new one.  Any other failure is the caller's to handle, with the next provider.

A barge-in cannot stop the vendor: a flushed context is spoken to its end, in a fraction of its length.  It is not
heard, and keeps its place at the socket until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from common.audio.g711 import BYTES_PER_MS
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.http import VendorHttp, socket_form
from workers.providers.interfaces import Busy, CharTimings, Down, ProviderError, Rejected, Sound, VoiceOptions
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
TEXT_CHARS_MAX = 2000
_KEY, _URL = "ELEVENLABS_API_KEY", "ELEVENLABS_BASE_URL"


def _voice_for(options: VoiceOptions, default: str) -> str:
    """`options.voice` if it can be an id of theirs; otherwise it is another vendor's."""
    return options.voice if ELEVENLABS_VOICE.fullmatch(options.voice) else default


def _worth_saying(text: str) -> bool:
    """Is there anything to speak?  Raises Rejected if there is too much."""
    if len(text) > TEXT_CHARS_MAX:
        raise Rejected(f"a clause of {len(text)} characters; at most {TEXT_CHARS_MAX} are spoken at once")
    return any(map(str.isalnum, text))


async def _counted(deadline: SynthesisDeadline, waiting: Awaitable[T]) -> T:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        return await waiting
    finally:
        deadline.waited(loop.time() - began)


class ElevenLabs:
    """See `workers.providers.interfaces.TextToSpeech`."""

    def __init__(
        self, model: str, *, key: str, url: str = ELEVENLABS_URL, voice: str = VOICE,
        deadlines: SpeechDeadlines | None = None, limits: SocketLimits | None = None,
    ) -> None:  # fmt: skip
        """`voice` is the id of the default one."""
        if model.startswith("eleven_v3"):
            raise ValueError(f"{model} has no multi-context socket; write elevenlabs/{model}+http")
        self._name = f"elevenlabs/{model}"
        self._model = model
        self._voice = voice
        self._url = socket_form(url)
        self._headers = {"xi-api-key": key}
        self._deadlines = deadlines or SpeechDeadlines()
        self._limits = limits or SocketLimits()
        self._sockets: dict[Socket, tuple[tuple[str, str], asyncio.Task[None]]] = {}
        self._http = VendorHttp(self._name, url, self._headers, _KEY, self._deadlines.connect_s)

    def __repr__(self) -> str:
        return f"<ElevenLabs {self._model}, {len(self._sockets)} sockets>"

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[Sound, None]:
        """Speak one clause.  Marks come before the audio that they are about."""
        if not _worth_saying(text):
            return
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        for again in (True, False):
            socket = self._socket_for(_voice_for(options, self._voice), language_code(self._model, options.language))
            context = socket.add(text)
            audio = ReceivedAudio(self._name, _URL, MULAW_8K)
            try:
                async with aclosing(self._heard(socket, context, text, options.speed, deadline)) as sounds:
                    async for sound in sounds:
                        if isinstance(sound, CharTimings):
                            yield sound
                        elif mulaw := audio.feed(sound):
                            yield mulaw
                if mulaw := audio.finish():
                    yield mulaw
                return
            except Down:
                if not again or context.heard or context.fresh or deadline.left_s <= 0:
                    raise
            finally:
                socket.leave(context)

    async def warm(self) -> None:
        """See whether the key is good, and open a first socket.  Raises Rejected; an outage is no reason to stop."""
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

    async def _heard(
        self, socket: Socket, context: ClauseContext, text: str, speed: float, deadline: SynthesisDeadline
    ) -> AsyncGenerator[Sound, None]:
        """What comes for the context, within the patience; ends when it is complete."""
        try:
            await _counted(deadline, socket.speak(context, text, speed, deadline.left_s))
            while (sound := await _counted(deadline, context.next(deadline.left_s))) is not None:
                if isinstance(sound, bytes):
                    deadline.heard(len(sound))
                yield sound
        except ProviderError:
            socket.retire()
            raise
        except TimeoutError:
            socket.retire()
            if context.spelling.complete:
                return  # only the mark of its end is missing
            raise Down(f"{self._name} did not answer in time") from None

    def _socket_for(self, voice: str, language: str) -> Socket:
        """A socket with a free place, opened if need be.  Raises Busy."""
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
        """Make room for another voice: the socket that was idle for longest goes."""
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
    """See `workers.providers.interfaces.TextToSpeech`.  No alignment; nothing tells if the sample rate is another."""

    def __init__(
        self, model: str, *, key: str, url: str = ELEVENLABS_URL, voice: str = VOICE,
        deadlines: SpeechDeadlines | None = None,
    ) -> None:  # fmt: skip
        """`voice` is the id of the default one; `url` may be of either form."""
        self._model = model
        self._voice = voice
        self._deadlines = deadlines or SpeechDeadlines()
        headers = {"xi-api-key": key}
        self._http = VendorHttp(f"elevenlabs/{model}+http", url, headers, _KEY, self._deadlines.connect_s)

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[bytes, None]:
        """Speak one clause."""
        if not _worth_saying(text):
            return
        document = {"text": text, "model_id": self._model, **voice_settings(options.speed)}
        if language := language_code(self._model, options.language):
            document["language_code"] = language
        path = f"/v1/text-to-speech/{_voice_for(options, self._voice)}/stream"
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        audio = ReceivedAudio(f"elevenlabs/{self._model}+http", _URL, MULAW_8K, deadline)

        def declared(content_type: str) -> None:
            audio.declared(content_type, trusted=False)  # what this vendor calls mu-law is not documented

        body = self._http.post(path, {"output_format": "ulaw_8000"}, document, declared, deadline)
        async with aclosing(body) as chunks, aclosing(received(audio, chunks)) as sounds:
            async for mulaw in sounds:
                yield mulaw

    async def warm(self) -> None:
        """See whether the key is good.  Raises Rejected if it is not; an outage is no reason to stop."""
        await self._http.check_key("/v1/models", self._deadlines.first_audio_s, wrong="invalid_api_key")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
