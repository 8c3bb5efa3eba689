"""`cartesia/<model>`: text to speech by Cartesia's Sonic, every clause of every call over one WebSocket.

A clause is a context of its own: one request with `continue: false`, answered by chunks of raw mu-law in base64,
word times, and `done`.  The vendor closes a socket that was idle for five minutes: the next clause opens another,
and a clause whose socket turns out to be gone before it made a sound is sent once more on a new one.

A cancelled context is told to the vendor, which stops what it has not begun; chunks that still come are dropped.
Word times are given in seconds of the context, with the words as the vendor reads them: a word that is not found in
the text gets no mark.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from common.audio.g711 import BYTES_PER_MS
from common.process.tasks import cancel
from workers.providers.cartesia import CARTESIA_URL, KEY_VARIABLE, failure, headers, socket_url
from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.providers.interfaces import Busy, CharTimings, Down, ProviderError, Rejected, Sound, VoiceOptions
from workers.providers.websocket import answers_ping, close_socket, open_socket
from workers.tts.audio.format import MULAW_8K
from workers.tts.audio.received import ReceivedAudio
from workers.tts.voice_names import CARTESIA_VOICE

CONTEXTS_MAX = 200
"""Clauses under way on the socket; the vendor's own limit is the account's (429), and far lower."""
CLAUSE_CHARS_MAX = 2000
SEND_S = 2.0
"""For one message to leave."""
LEAVE_LOOK_S = 0.1
"""How often a socket that was retired is looked at: is its last clause over?"""
CHUNKS_MAX = 2000
"""Chunks of one clause that wait for their reader."""
DEADLINES = SpeechDeadlines()
SPEED_MIN, SPEED_MAX = 0.6, 1.5
VOICE = "a0e99841-438c-4a64-b679-ae501e7d6091"
"""The voice of the vendor's examples, for a deployment that names none."""
LANGUAGES = frozenset(["en", "fr", "de", "es", "pt", "zh", "ja", "hi", "it", "ko", "nl", "pl", "ru", "sv", "tr"])
"""What every Sonic speaks."""
LANGUAGES_OF_SONIC_3 = LANGUAGES | frozenset(
    "tl bg ro ar cs el fi hr ms sk da ta uk hu no vi bn th he ka id te gu kn ml mr pa".split()  # noqa: SIM905 - a table
)


@dataclass(slots=True, eq=False)
class _Context:
    """A clause under way: its messages, or the error that ended it."""

    messages: asyncio.Queue[dict[str, Any] | ProviderError] = field(default_factory=asyncio.Queue)

    def put(self, message: dict[str, Any] | ProviderError) -> None:
        if self.messages.qsize() >= CHUNKS_MAX:
            message = Down("cartesia sends more than a clause can hold")
        if self.messages.qsize() <= CHUNKS_MAX:
            self.messages.put_nowait(message)


@dataclass(slots=True, eq=False)
class _Line:
    """One socket with its reader and the contexts on it."""

    connection: ClientConnection
    contexts: dict[str, _Context] = field(default_factory=dict)
    reader: asyncio.Task[None] | None = None
    heard_at: float = 0.0
    broken: bool = False

    @property
    def usable(self) -> bool:
        return not self.broken and self.connection.state is State.OPEN

    def end(self, error: ProviderError) -> None:
        """The socket is of no use any more: every clause on it learns why."""
        self.broken = True
        for context in self.contexts.values():
            context.put(error)


class CartesiaSonic:
    """`TextToSpeech` by Cartesia."""

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
        self._line: _Line | None = None
        self._opening = asyncio.Lock()
        self._numbers = count(1)
        self._closing: set[asyncio.Task[None]] = set()

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        """Speak one clause (see `TextToSpeech`)."""
        request = self._request(text, options)
        if not any(character.isalnum() for character in text):
            return
        for attempt in (1, 2):
            line, old = await self._connected()
            began = False
            try:
                async with aclosing(self._speak(line, request, text)) as sounds:
                    async for sound in sounds:
                        began = True
                        yield sound
                return
            except _SocketGone as error:
                if began or not old or attempt == 2:
                    raise Down(str(error)) from None

    async def warm(self) -> None:
        """Connect.  Raises Rejected if the key is wrong; a vendor that is down now is no reason to stop."""
        with contextlib.suppress(Down, Busy):
            await self._connected()

    async def aclose(self) -> None:
        """Close the socket."""
        if self._line is not None:
            self._drop(self._line, Down(f"{self._name} was closed"))
        while self._closing:
            await asyncio.wait(self._closing)

    # --- one clause ---

    def _request(self, text: str, options: VoiceOptions) -> dict[str, Any]:
        if len(text) > CLAUSE_CHARS_MAX:
            raise Rejected(f"{self._name} speaks at most {CLAUSE_CHARS_MAX} characters at once")
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

    async def _speak(self, line: _Line, request: dict[str, Any], text: str) -> AsyncGenerator[Sound]:
        if len(line.contexts) >= CONTEXTS_MAX:
            raise Busy(f"{self._name} speaks {CONTEXTS_MAX} clauses already")
        number = f"clause-{next(self._numbers)}"
        context = line.contexts[number] = _Context()
        done, spelling = False, _Spelling(text)
        audio = ReceivedAudio(self._name, "CARTESIA_BASE_URL", MULAW_8K)
        deadline = SynthesisDeadline(self._deadlines, BYTES_PER_MS)
        try:
            await self._send(line, {**request, "context_id": number})
            while True:
                message = await self._next(line, context, deadline)
                if message.get("type") == "chunk":
                    data = _decoded(message.get("data"))
                    deadline.heard(len(data))
                    if mulaw := audio.feed(data):
                        yield mulaw
                elif marks := spelling.marks(message.get("word_timestamps")):
                    yield CharTimings(marks)
                if message.get("done") or message.get("type") == "done":
                    done = True
                    if mulaw := audio.finish():
                        yield mulaw
                    return
        finally:
            del line.contexts[number]
            if not done and line.usable:
                self._later(self._cancel(line, number))

    async def _next(self, line: _Line, context: _Context, deadline: SynthesisDeadline) -> dict[str, Any]:
        """The context's next message.  A socket on which nobody heard anything for so long gets no further clause."""
        heard_at = line.heard_at
        now = asyncio.get_running_loop().time
        asked_at = now()
        try:
            async with asyncio.timeout(deadline.left_s):
                message = await context.messages.get()
        except TimeoutError:
            error = Down(f"{self._name} does not speak")
            if line.heard_at == heard_at:
                self._retire(line, error)
            raise error from None
        finally:
            deadline.waited(now() - asked_at)
        if isinstance(message, ProviderError):
            raise message
        if message.get("type") == "error":
            raise failure(self._name, message)
        return message

    async def _send(self, line: _Line, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await line.connection.send(json.dumps(message))
        except ConnectionClosed:
            raise _SocketGone(f"{self._name} closed the connection") from None
        except TimeoutError:
            error = Down(f"{self._name} takes no text")
            self._drop(line, error)
            raise error from None

    async def _cancel(self, line: _Line, number: str) -> None:
        with contextlib.suppress(ProviderError):  # a socket that is gone cancels by itself
            await self._send(line, {"context_id": number, "cancel": True})

    # --- the socket ---

    async def _connected(self) -> tuple[_Line, bool]:
        """The socket, and whether it was there before."""
        async with self._opening:
            if self._line is not None and self._line.usable:
                return self._line, True
            if self._line is not None:
                self._drop(self._line, Down(f"{self._name} closed the connection"))
            connection = await open_socket(
                self._name, self._url, headers(self._key), self._deadlines.connect_s, KEY_VARIABLE
            )
            line = self._line = _Line(connection, heard_at=asyncio.get_running_loop().time())
            line.reader = asyncio.create_task(self._read(line), name=f"{self._name} reader")
            return line, False

    async def _read(self, line: _Line) -> None:
        now = asyncio.get_running_loop().time
        try:
            while True:
                raw = await line.connection.recv()
                line.heard_at = now()
                message = _parsed(raw)
                if message is None:
                    line.end(Down(f"{self._name} sent a message that is no JSON object"))
                    return
                number = message.get("context_id")
                if number in line.contexts:
                    line.contexts[number].put(message)
                elif number is None and message.get("type") == "error":
                    line.end(failure(self._name, message))
                    return
        except ConnectionClosed:
            line.end(_SocketGone(f"{self._name} closed the connection"))

    def _retire(self, line: _Line, error: ProviderError) -> None:
        """It left a clause unanswered: the next clauses go elsewhere, those that are on it may have more luck."""
        if self._line is line:
            self._line = None
            self._later(self._leave(line, error))

    async def _leave(self, line: _Line, error: ProviderError) -> None:
        """A socket that answers a ping lives, and is left to its clauses: their own deadlines end them."""
        if await answers_ping(line.connection):
            while line.contexts and line.usable:  # noqa: ASYNC110 - ends with the deadlines of its clauses
                await asyncio.sleep(LEAVE_LOOK_S)
        self._drop(line, error)

    def _drop(self, line: _Line, error: ProviderError) -> None:
        """Use this socket no more."""
        if self._line is line:
            self._line = None
        line.end(error)
        self._later(_close(line))

    def _later(self, work: Any) -> None:
        """Finish something that the caller need not wait for; bounded by its own deadlines, awaited by `aclose`."""
        task = asyncio.create_task(work, name=f"{self._name} farewell")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _SocketGone(Down):
    """The socket was closed; said so only here, as a clause may be sent again."""


class _Spelling:
    """Finds the vendor's words in the text, one after the other."""

    def __init__(self, text: str) -> None:
        self._text = text.casefold() if len(text.casefold()) == len(text) else text
        self._at = 0

    def marks(self, times: Any) -> tuple[tuple[int, int], ...]:
        """Marks for `word_timestamps`: words and their starts in seconds."""
        words, starts = (times.get("words"), times.get("start")) if isinstance(times, dict) else (None, None)
        if not isinstance(words, list) or not isinstance(starts, list):
            return ()
        marks = []
        for word, start in zip(words, starts, strict=False):
            if not isinstance(word, str) or not isinstance(start, int | float):
                continue
            found = self._text.find(word.strip().casefold(), self._at)
            if found >= 0 and word.strip():
                marks.append((found, round(start * 1000)))
                self._at = found + len(word.strip())
        return tuple(marks)


async def _close(line: _Line) -> None:
    try:
        await close_socket(line.connection)
    finally:
        if line.reader is not None:
            await cancel(line.reader)


def _parsed(raw: str | bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(raw)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _decoded(data: Any) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Down("cartesia sent audio that is no base64") from None


def _is_sonic_3(model: str) -> bool:
    return model.startswith(("sonic-3", "sonic-latest"))


def language_code(model: str, tag: str) -> str:
    """ISO 639-1 of a BCP 47 tag.  Raises Rejected if the model does not speak it."""
    code = tag.partition("-")[0].lower()
    if code not in (LANGUAGES_OF_SONIC_3 if _is_sonic_3(model) else LANGUAGES):
        raise Rejected(f"cartesia/{model} does not speak the language {tag!r}")
    return code
