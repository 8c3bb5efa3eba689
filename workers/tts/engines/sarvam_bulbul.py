"""`sarvam/<model>`: text to speech for the languages of India by Sarvam's Bulbul over its WebSocket.

    config (once for a socket), text, flush -> audio in base64 ..., event "final"

The protocol has no contexts, so a socket carries one clause at a time.  Sockets whose clause was complete are kept for
the next clause of the same voice; the vendor closes a socket that was idle for a minute, so idle ones are pinged.
There is no cancel: a clause that is given up closes its socket.

Audio is requested as mu-law at 8 kHz without a container; if it comes as WAV, its header is parsed.  The "final" event
must be requested in the query.  One that comes before any audio on a reused socket belongs to the last clause, and is
skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from common.audio.g711 import BYTES_PER_MS
from common.process.addresses import socket_url
from common.process.tasks import cancel
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.interfaces import Busy, Down, IncompleteAudio, Sound, VoiceOptions
from workers.providers.sarvam import KEY_VARIABLE, SARVAM_URL, headers, language_code, parsed
from workers.providers.vendor_socket import SocketClosed, VendorSocket
from workers.providers.websocket import open_socket
from workers.tts.audio.audibility import is_speakable
from workers.tts.audio.format import MULAW_8K
from workers.tts.audio.received import ReceivedAudio, base64_audio
from workers.tts.voice_names import sarvam_voices

SOCKETS_MAX = 200
"""Clauses in progress at once."""
WARM_MAX = 8
"""Idle sockets that are kept: about one call in eight is being spoken to at a time."""
PING_SECONDS = 20.0
PING = '{"type":"ping"}'
IDLE_SECONDS_MAX = 300.0
"""A socket that was idle for this long is closed."""
BUFFER_CHARS, CHUNK_CHARS = 30, 250
"""The vendor starts the synthesis at this many characters (its minimum), in pieces of at most this many."""
SEND_S = 2.0
"""Deadline for sending the messages of a clause, in seconds."""
DEADLINES = SpeechDeadlines()
PACES_OF_V2, PACES = (0.3, 3.0), (0.5, 2.0)


@dataclass(slots=True, eq=False)
class _Socket:
    """A connection and its configuration; `used_at`: loop time at which its last clause ended."""

    connection: VendorSocket
    config: str = ""
    used_at: float = 0.0

    @property
    def usable(self) -> bool:
        return self.connection.is_open


class SarvamBulbul:
    """Implements `TextToSpeech` with Sarvam."""

    def __init__(self, model: str, key: str, url: str = SARVAM_URL, deadlines: SpeechDeadlines = DEADLINES) -> None:
        self._model = model
        self._key = key
        query = urlencode({"model": model, "send_completion_event": "true"})
        self._url = f"{socket_url(url)}/text-to-speech/ws?{query}"
        self._deadlines = deadlines
        self._name = f"sarvam/{model}"
        self._idle: list[_Socket] = []  # in the order of their last use
        self._speaking = 0
        self._keeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        """Synthesise one clause (see `TextToSpeech.say`).  Sarvam sends no word times.  Raises a `ProviderError`."""
        config = self._config(options)
        if not is_speakable(text):
            return
        if self._speaking >= SOCKETS_MAX:
            raise Busy(f"{self._name} speaks {SOCKETS_MAX} clauses already")
        self._speaking += 1
        try:
            began = False
            while True:
                socket, used = await self._take(config)
                try:
                    async with aclosing(self._speak(socket, config, text, used)) as chunks:
                        async for audio in chunks:
                            began = True
                            yield audio
                    return
                except SocketClosed:
                    # An idle socket may have been closed meanwhile; each try removes one, so this loop ends.
                    if began or not used:
                        raise Down(f"{self._name} closed the connection") from None
        finally:
            self._speaking -= 1

    async def warm(self) -> None:
        """Connect.  Raises `Rejected` if the key is wrong; does nothing if the vendor is down now."""
        with contextlib.suppress(Down, Busy):
            if not self._idle:
                self._put(_Socket(await self._open()))

    async def aclose(self) -> None:
        """Close every socket."""
        if self._keeper is not None:
            await cancel(self._keeper)
            self._keeper = None
        while self._idle:
            self._drop(self._idle.pop())
        while self._closing:
            await asyncio.wait(self._closing)

    # --- one clause ---

    def _config(self, options: VoiceOptions) -> str:
        is_v2 = self._model == "bulbul:v2"
        speakers = sarvam_voices(self._model)  # after a failover an agent's voice may be another vendor's
        speaker = options.voice.lower()
        slowest, fastest = PACES_OF_V2 if is_v2 else PACES
        return json.dumps(
            {
                "type": "config",
                "data": {
                    "target_language_code": language_code(self._name, options.language),
                    "speaker": speaker if speaker in speakers else speakers[0],
                    "pace": min(max(options.speed, slowest), fastest),
                    "speech_sample_rate": 8000,
                    "output_audio_codec": "mulaw",
                    "min_buffer_size": BUFFER_CHARS,
                    "max_chunk_length": CHUNK_CHARS,
                },
            }
        )

    async def _speak(self, socket: _Socket, config: str, text: str, used: bool) -> AsyncGenerator[bytes]:
        """Synthesise on this socket; keep it only if the clause was complete.  Raises `SocketClosed`, too."""
        whole = began = ended = False
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        audio = ReceivedAudio(self._name, "SARVAM_BASE_URL", MULAW_8K, deadline)
        try:
            messages = [json.dumps({"type": "text", "data": {"text": text}}), '{"type":"flush"}']
            await self._send(socket, [config, *messages] if socket.config != config else messages)
            socket.config = config
            while not whole:
                try:
                    kind, data = await self._next(socket, deadline)
                except Down:
                    if ended and not began:
                        raise IncompleteAudio(f"{self._name} said nothing") from None
                    raise
                if kind == "audio":
                    received = base64_audio("sarvam", data.get("audio"))
                    media = data.get("content_type")
                    if not began and isinstance(media, str) and media.startswith("audio/"):
                        audio.declared(media, trusted=False)
                    began = began or bool(received)
                    deadline.heard(len(received))
                    if mulaw := audio.feed(received):
                        yield mulaw
                elif kind == "event" and data.get("event_type") == "final":
                    if not began and (ended or not used):
                        raise IncompleteAudio(f"{self._name} said nothing")
                    whole, ended = began, True
            if mulaw := audio.finish():
                yield mulaw
        finally:
            if whole and socket.usable:
                self._put(socket)
            else:
                self._drop(socket)

    async def _send(self, socket: _Socket, messages: list[str]) -> None:
        try:
            for message in messages[:-1]:
                socket.connection.send(message)
            await socket.connection.send_within(messages[-1], SEND_S)
        except TimeoutError:
            raise Down(f"{self._name} takes no text") from None

    async def _next(self, socket: _Socket, deadline: SynthesisDeadline) -> tuple[str, dict[str, Any]]:
        """Return the next audio or event message.  Other messages, such as pongs, do not extend the deadline."""
        now = asyncio.get_running_loop().time
        asked_at = now()
        try:
            async with asyncio.timeout(deadline.left_s):
                while True:
                    kind, data = parsed(self._name, await socket.connection.recv())
                    if kind in ("audio", "event"):
                        return kind, data
        except TimeoutError:
            raise Down(f"{self._name} does not speak") from None
        finally:
            deadline.waited(now() - asked_at)

    # --- the sockets ---

    async def _open(self) -> VendorSocket:
        return await open_socket(self._name, self._url, headers(self._key), self._deadlines.connect_s, KEY_VARIABLE)

    async def _take(self, config: str) -> tuple[_Socket, bool]:
        """Return a socket for this voice, and whether it had been idle."""
        while socket := next((s for s in reversed(self._idle) if s.config in (config, "")), None):
            self._idle.remove(socket)
            if socket.usable:
                return socket, True
            self._drop(socket)
        return _Socket(await self._open()), False

    def _put(self, socket: _Socket) -> None:
        socket.used_at = asyncio.get_running_loop().time()
        self._idle.append(socket)
        if len(self._idle) > WARM_MAX:
            self._drop(self._idle.pop(0))
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"{self._name} pings")

    async def _keep(self) -> None:
        """Ping the idle sockets, until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(PING_SECONDS)
            for socket in list(self._idle):
                if socket not in self._idle:
                    continue  # a clause uses it by now
                try:
                    if now() - socket.used_at > IDLE_SECONDS_MAX:
                        raise TimeoutError
                    await socket.connection.send_within(PING, SEND_S)
                except (SocketClosed, TimeoutError):
                    if socket in self._idle:
                        self._idle.remove(socket)
                        self._drop(socket)

    def _drop(self, socket: _Socket) -> None:
        """Close a socket in the background; only `aclose` waits for it."""
        task = asyncio.create_task(socket.connection.close(), name=f"{self._name} farewell")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
