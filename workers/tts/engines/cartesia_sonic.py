"""`cartesia/<model>`: text to speech by Cartesia's Sonic, every clause of every call over one WebSocket.

A clause is a context of its own: one request with `continue: false`, answered by chunks of raw mu-law in base64,
word times, and `done`.  The vendor closes a socket that was idle for five minutes: the next clause opens another, and a
clause whose socket turns out to be closed before it gave audio is sent once more on a new one.

A cancel is sent to the vendor, which stops what it has not begun; chunks that still come are dropped.  Word times are
in seconds of the context, with the words as the vendor reads them: a word that is not found in the text gets no timing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from common.audio.g711 import BYTES_PER_MS
from common.process.addresses import socket_url
from workers.providers.cartesia import CARTESIA_URL, KEY_VARIABLE, failure, headers
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.interfaces import Busy, CharTimings, Down, ProviderError, Rejected, Sound, VoiceOptions
from workers.providers.vendor_socket import SocketClosed, VendorSocket
from workers.providers.websocket import answers_ping, open_socket
from workers.tts.audio.audibility import is_speakable
from workers.tts.audio.format import MULAW_8K
from workers.tts.audio.received import ReceivedAudio, base64_audio
from workers.tts.voice_names import CARTESIA_VOICE

CONTEXTS_MAX = 200
"""Clauses in progress on the socket; the vendor's own limit is per account (429), and far lower."""
SEND_S = 2.0
"""Deadline for sending one message, in seconds."""
LEAVE_LOOK_S = 0.1
"""Interval in seconds at which a retired socket is checked for its last clause."""
CHUNKS_MAX = 2000
"""Chunks of one clause that may wait for their reader."""
DEADLINES = SpeechDeadlines()
SPEED_MIN, SPEED_MAX = 0.6, 1.5
VOICE = "a0e99841-438c-4a64-b679-ae501e7d6091"
"""The voice of the vendor's examples, for a deployment that configures none."""
LANGUAGES = frozenset(["en", "fr", "de", "es", "pt", "zh", "ja", "hi", "it", "ko", "nl", "pl", "ru", "sv", "tr"])
"""Languages of every Sonic model."""
LANGUAGES_OF_SONIC_3 = LANGUAGES | frozenset(
    "tl bg ro ar cs el fi hr ms sk da ta uk hu no vi bn th he ka id te gu kn ml mr pa".split()  # noqa: SIM905 - a table
)


@dataclass(slots=True, eq=False)
class _Context:
    """A clause in progress: its messages, or the error that ended it."""

    messages: asyncio.Queue[dict[str, Any] | ProviderError] = field(default_factory=asyncio.Queue)

    def put(self, message: dict[str, Any] | ProviderError) -> None:
        if self.messages.qsize() >= CHUNKS_MAX:
            message = Down("cartesia sends more than a clause can hold")
        if self.messages.qsize() <= CHUNKS_MAX:
            self.messages.put_nowait(message)


@dataclass(slots=True, eq=False)
class _SharedSocket:
    """One socket with the contexts on it."""

    connection: VendorSocket
    contexts: dict[str, _Context] = field(default_factory=dict)
    received_at: float = 0.0
    broken: bool = False

    @property
    def usable(self) -> bool:
        return not self.broken and self.connection.is_open

    def end(self, error: ProviderError) -> None:
        """Mark the socket as broken and pass the error to every clause on it."""
        self.broken = True
        for context in self.contexts.values():
            context.put(error)


class CartesiaSonic:
    """Implements `TextToSpeech` with Cartesia."""

    def __init__(
        self,
        model: str,
        key: str,
        url: str = CARTESIA_URL,
        voice: str = VOICE,
        deadlines: SpeechDeadlines = DEADLINES,
    ) -> None:
        self._model = model
        self._key = key
        self._url = socket_url(url) + "/tts/websocket"
        self._voice = voice
        self._deadlines = deadlines
        self._name = f"cartesia/{model}"
        self._socket: _SharedSocket | None = None
        self._opening = asyncio.Lock()
        self._numbers = count(1)
        self._closing: set[asyncio.Task[None]] = set()

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        """Synthesise one clause (see `TextToSpeech.say`).  Raises a `ProviderError`."""
        request = self._request(text, options)
        if not is_speakable(text):
            return
        for attempt in (1, 2):
            socket, old = await self._connected()
            began = False
            try:
                async with aclosing(self._speak(socket, request, text)) as chunks:
                    async for chunk in chunks:
                        began = True
                        yield chunk
                return
            except _SocketGone as error:
                if began or not old or attempt == 2:
                    raise Down(str(error)) from None

    async def warm(self) -> None:
        """Connect.  Raises `Rejected` if the key is wrong; does nothing if the vendor is down now."""
        with contextlib.suppress(Down, Busy):
            await self._connected()

    async def aclose(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._drop(self._socket, Down(f"{self._name} was closed"))
        while self._closing:
            await asyncio.wait(self._closing)

    # --- one clause ---

    def _request(self, text: str, options: VoiceOptions) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model_id": self._model,
            "transcript": text,
            "voice": {"mode": "id", "id": options.voice if CARTESIA_VOICE.fullmatch(options.voice) else self._voice},
            "language": language_code(self._model, options.language),
            "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
            "add_timestamps": True,
            "continue": False,
        }
        if options.speed != 1.0 and _is_sonic_3(self._model):  # older models have other, experimental fields
            request["generation_config"] = {"speed": min(max(options.speed, SPEED_MIN), SPEED_MAX)}
        return request

    async def _speak(self, socket: _SharedSocket, request: dict[str, Any], text: str) -> AsyncGenerator[Sound]:
        if len(socket.contexts) >= CONTEXTS_MAX:
            raise Busy(f"{self._name} speaks {CONTEXTS_MAX} clauses already")
        number = f"clause-{next(self._numbers)}"
        context = socket.contexts[number] = _Context()
        done, timings = False, _WordTimings(text)
        audio = ReceivedAudio(self._name, "CARTESIA_BASE_URL", MULAW_8K)
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        try:
            await self._send(socket, {**request, "context_id": number})
            while True:
                message = await self._next(socket, context, deadline)
                if message.get("type") == "chunk":
                    data = base64_audio("cartesia", message.get("data"))
                    deadline.heard(len(data))
                    if mulaw := audio.feed(data):
                        yield mulaw
                elif char_timings := timings.char_timings(message.get("word_timestamps")):
                    yield CharTimings(char_timings)
                if message.get("done") or message.get("type") == "done":
                    done = True
                    if mulaw := audio.finish():
                        yield mulaw
                    return
        finally:
            del socket.contexts[number]
            if not done and socket.usable:
                self._later(self._cancel(socket, number))

    async def _next(self, socket: _SharedSocket, context: _Context, deadline: SynthesisDeadline) -> dict[str, Any]:
        """Return the context's next message.  After a timeout, a socket that received nothing meanwhile is retired."""
        received_at = socket.received_at
        now = asyncio.get_running_loop().time
        asked_at = now()
        try:
            async with asyncio.timeout(deadline.left_s):
                message = await context.messages.get()
        except TimeoutError:
            error = Down(f"{self._name} does not speak")
            if socket.received_at == received_at:
                self._retire(socket, error)
            raise error from None
        finally:
            deadline.waited(now() - asked_at)
        if isinstance(message, ProviderError):
            raise message
        if message.get("type") == "error":
            raise failure(self._name, message)
        return message

    async def _send(self, socket: _SharedSocket, message: dict[str, Any]) -> None:
        try:
            await socket.connection.send_within(json.dumps(message), SEND_S)
        except SocketClosed:
            raise _SocketGone(f"{self._name} closed the connection") from None
        except TimeoutError:
            error = Down(f"{self._name} takes no text")
            self._drop(socket, error)
            raise error from None

    async def _cancel(self, socket: _SharedSocket, number: str) -> None:
        with contextlib.suppress(ProviderError):  # a closed socket cancels its contexts anyway
            await self._send(socket, {"context_id": number, "cancel": True})

    # --- the socket ---

    async def _connected(self) -> tuple[_SharedSocket, bool]:
        """Return the socket, and whether it was open before."""
        async with self._opening:
            if self._socket is not None and self._socket.usable:
                return self._socket, True
            if self._socket is not None:
                self._drop(self._socket, Down(f"{self._name} closed the connection"))
            connection = await open_socket(
                self._name, self._url, headers(self._key), self._deadlines.connect_s, KEY_VARIABLE
            )
            socket = self._socket = _SharedSocket(connection, received_at=asyncio.get_running_loop().time())
            connection.listen(partial(self._receive, socket), partial(self._closed, socket))
            return socket, False

    def _receive(self, socket: _SharedSocket, raw: str | bytes) -> None:
        socket.received_at = asyncio.get_running_loop().time()
        if socket.broken:
            return  # its clauses have ended
        message = _parsed(raw)
        if message is None:
            socket.end(Down(f"{self._name} sent a message that is no JSON object"))
            return
        number = message.get("context_id")
        if isinstance(number, str) and number in socket.contexts:
            socket.contexts[number].put(message)
        elif number is None and message.get("type") == "error":
            socket.end(failure(self._name, message))

    def _closed(self, socket: _SharedSocket, closed: SocketClosed) -> None:
        if not socket.broken:
            socket.end(_SocketGone(f"{self._name} closed the connection"))

    def _retire(self, socket: _SharedSocket, error: ProviderError) -> None:
        """Use the socket for no further clause, because it left one unanswered; the clauses on it may still succeed."""
        if self._socket is socket:
            self._socket = None
            self._later(self._leave(socket, error))

    async def _leave(self, socket: _SharedSocket, error: ProviderError) -> None:
        """Close a retired socket: after its last clause if it answers a ping (clauses have deadlines), else at once."""
        if await answers_ping(socket.connection):
            while socket.contexts and socket.usable:  # noqa: ASYNC110 - ends with the deadlines of its clauses
                await asyncio.sleep(LEAVE_LOOK_S)
        self._drop(socket, error)

    def _drop(self, socket: _SharedSocket, error: ProviderError) -> None:
        """Close this socket and end its clauses."""
        if self._socket is socket:
            self._socket = None
        socket.end(error)
        self._later(socket.connection.close())

    def _later(self, work: Any) -> None:
        """Run cleanup that the caller need not wait for; it has its own deadlines, and `aclose` awaits it."""
        task = asyncio.create_task(work, name=f"{self._name} farewell")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _SocketGone(Down):
    """The socket was closed; a class of its own, because the clause may be sent again."""


class _WordTimings:
    """Finds the vendor's words in the text, one after the other."""

    def __init__(self, text: str) -> None:
        self._text = text.casefold() if len(text.casefold()) == len(text) else text
        self._at = 0

    def char_timings(self, times: Any) -> tuple[tuple[int, int], ...]:
        """Return the timings for `word_timestamps`: words and their starts in seconds."""
        words, starts = (times.get("words"), times.get("start")) if isinstance(times, dict) else (None, None)
        if not isinstance(words, list) or not isinstance(starts, list):
            return ()
        char_timings = []
        for word, start in zip(words, starts, strict=False):
            if not isinstance(word, str) or not isinstance(start, int | float):
                continue
            found = self._text.find(word.strip().casefold(), self._at)
            if found >= 0 and word.strip():
                char_timings.append((found, round(start * 1000)))
                self._at = found + len(word.strip())
        return tuple(char_timings)


def _parsed(raw: str | bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(raw)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _is_sonic_3(model: str) -> bool:
    return model.startswith(("sonic-3", "sonic-latest"))


def language_code(model: str, tag: str) -> str:
    """Return the ISO 639-1 code of a BCP 47 tag.  Raises `Rejected` if the model does not speak the language."""
    code = tag.partition("-")[0].lower()
    if code not in (LANGUAGES_OF_SONIC_3 if _is_sonic_3(model) else LANGUAGES):
        raise Rejected(f"cartesia/{model} does not speak the language {tag!r}")
    return code
