"""One socket to ElevenLabs, and the clauses that are spoken over it: one context each.

    opening ──▶ open ──▶ closed          a socket takes contexts from the beginning; they wait until it is open
                  │
                  └─ retired: takes none any more, and is closed after its last living one

One task runs the socket: opens, reads, and sends a ping in every beat without a message.  That keeps it alive on its
way, and finds a half-dead one before a clause does.  A slow listener holds up nobody: audio is kept, and bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from common.audio.g711 import BYTES_PER_MS
from workers.providers.interfaces import CharTimings, Down, ProviderError, Sound
from workers.providers.websocket import close_socket, open_socket
from workers.tts.engines import elevenlabs_messages as messages

SEND_S_MAX = 1.0
POLICY_VIOLATION = 1008
"""The close code of a refusal; its reason says which."""
AUDIO_BYTES_MAX = 120 * 1000 * BYTES_PER_MS
"""Of one clause, not yet taken: no clause is that long."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """How many sockets one process may have for all voices, and when one is given up (seconds)."""

    sockets_max: int = 40
    beat_s: float = 10.0
    """After such a silence the vendor is asked for a sign of life, and has as long to give it."""
    idle_s: float = messages.INACTIVITY_S - 20.0
    """A socket without a clause for so long is closed by us: the vendor's own close could meet a new clause."""
    drain_s: float = 10.0
    """A context that nobody wants any more, and that is not final by then, never will be."""


class ClauseContext:
    """One clause on its way.  `next` is called by who wants to hear it, the rest by the socket."""

    def __init__(self, context_id: str, text: str, *, fresh: bool) -> None:
        """`fresh`: its socket is being opened for it."""
        self.context_id = context_id
        self.fresh = fresh
        self.spelling = messages.Spelling(text)
        self.heard = False
        """Did anything come for it?"""
        self.sent = self.sent_whole = self.closing = False
        """Does the vendor know of it, does it know all its text, and was it told that no more will follow?"""
        self.left_at: float | None = None
        """When it was given up, if it was."""
        self.ended = False
        self._error: ProviderError | None = None
        self._sounds: deque[Sound] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    async def next(self, seconds: float) -> Sound | None:
        """What comes next; None at the end.  Raises ProviderError, TimeoutError."""
        async with asyncio.timeout(seconds):  # in all: messages without sound buy no time
            while not self._sounds:
                if self._error is not None:
                    raise self._error
                if self.ended:
                    return None
                self._news.clear()
                await self._news.wait()
        sound = self._sounds.popleft()
        self._bytes -= len(sound) if isinstance(sound, bytes) else 0
        return sound

    def receive(self, said: messages.Said, name: str) -> None:
        """One message of theirs about this context."""
        self.heard = True
        if self.left_at is None and not self.ended:
            if marks := self.spelling.receive(said.audio, said.alignment):
                self._sounds.append(CharTimings(marks))
            if said.audio:
                self._sounds.append(said.audio)
                self._bytes += len(said.audio)
            if self._bytes > AUDIO_BYTES_MAX:
                self.end(Down(f"{name} does not come to an end"))
            elif self.spelling.wrong_rate:
                self.end(Down(f"{name} sent audio of another sample rate"))
        if said.final:
            self.end()
        self._news.set()

    def end(self, error: ProviderError | None = None) -> None:
        """It is over, well or not."""
        self.ended = True
        self._error = self._error or error
        self._news.set()


class Socket:
    """See the module.  `run` it as a task; it ends when the socket does, and never raises ProviderError."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], connect_s: float, limits: SocketLimits) -> None:
        self.contexts: dict[str, ClauseContext] = {}
        """Every context that counts at the vendor, by id: also those that nobody wants any more."""
        self.closed = False
        self.retired = False
        self.idle_since = asyncio.get_running_loop().time()
        self._name = name
        self._url = url
        self._headers = headers
        self._connect_s = connect_s
        self._limits = limits
        self._connection: ClientConnection | None = None
        self._ready = asyncio.Event()
        self._numbers = 0
        self._heard_at = 0.0
        self._pong: Awaitable[float] | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "retired" if self.retired else "open" if self._connection else "opening"
        return f"<Socket {self._name}, {state}, {len(self.contexts)} contexts>"

    @property
    def free(self) -> bool:
        """May another context be opened?"""
        return not self.closed and not self.retired and len(self.contexts) < messages.CONTEXTS_MAX

    @property
    def living(self) -> bool:
        """Is there a clause that somebody waits for?"""
        return any(context.left_at is None for context in self.contexts.values())

    def add(self, text: str) -> ClauseContext:
        """Take a place for a clause.  Then `speak` it, and `leave` it in any case."""
        assert self.free
        self._numbers += 1
        context = ClauseContext(str(self._numbers), text, fresh=self._connection is None)
        self.contexts[context.context_id] = context
        return context

    async def opened(self, seconds: float) -> None:
        """Wait until the socket is open, or could not be opened.  Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            await self._ready.wait()

    async def speak(self, context: ClauseContext, text: str, speed: float, seconds: float) -> None:
        """Send the clause, once the socket is open.  Raises TimeoutError; what the socket says comes by `next`."""
        async with asyncio.timeout(seconds):
            await self._ready.wait()
            if self._connection is None or context.ended:
                return
            context.sent = True
            try:
                await self._connection.send(messages.opening(context.context_id, speed))
                await self._connection.send(messages.speaking(context.context_id, text))
                context.sent_whole = True  # it is closed once it speaks
            except ConnectionClosed:
                return  # the reader sees it too, and tells

    def leave(self, context: ClauseContext) -> None:
        """Nobody wants it any more.  If it is not over, the vendor finishes it unheard: no message would stop it."""
        context.left_at = asyncio.get_running_loop().time()
        if not context.sent:
            self._free(context)
        elif not context.sent_whole:
            self.retire()  # its end was not sent: it would keep its place for ever
        if self.retired and not self.living:
            self._hang_up()

    def retire(self) -> None:
        """Something is wrong with it: it takes no clause any more, and ends after the last one."""
        self.retired = True

    async def run(self) -> None:
        """Open, read, close."""
        error: ProviderError = Down(f"{self._name} was closed")
        try:
            connection = await open_socket(self._name, self._url, self._headers, self._connect_s, "ELEVENLABS_API_KEY")
            try:
                self._connection = connection
                self._heard_at = asyncio.get_running_loop().time()
                self._ready.set()
                error = await self._read(connection)
            finally:
                self._end(error)
                await close_socket(connection)
        except ProviderError as refusal:
            error = refusal
        finally:
            self._end(error)

    def _end(self, error: ProviderError) -> None:
        self.closed = True
        for context in self.contexts.values():
            context.end(error)
        self.contexts.clear()
        self._ready.set()

    async def _read(self, connection: ClientConnection) -> ProviderError:
        """Until the socket ends; returns why."""
        now = asyncio.get_running_loop().time
        beat_at = now() + self._limits.beat_s
        failure: ProviderError | None = None
        while True:
            try:
                async with asyncio.timeout_at(beat_at):
                    raw = await connection.recv()
            except TimeoutError:
                beat_at = now() + self._limits.beat_s
                if self._worn_out(now()):
                    return Down(f"{self._name} was closed")
                if not await self._heartbeat(connection, now()):
                    self._hang_up()  # nobody would answer a polite end
                    return Down(f"{self._name} has gone silent")
                continue
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if failure is None and closed.rcvd and code == POLICY_VIOLATION:
                    failure = messages.told(self._name, closed.rcvd.reason)
                return failure or Down(f"{self._name} closed the socket ({code})")
            self._heard_at = now()
            try:
                said = messages.understood(raw)
            except ValueError:
                return Down(f"{self._name} sent a malformed message")
            if said.error:
                failure = messages.told(self._name, said.error)
            context = self.contexts.get(said.context_id) if said.audio else None
            self._deliver(said, failure)
            if context is not None and not await self._close_context(connection, context):
                self._hang_up()
                return Down(f"{self._name} takes no messages")

    async def _close_context(self, connection: ClientConnection, context: ClauseContext) -> bool:
        """A context that speaks is told that its text is complete: only then does it tell when its audio is.

        Not sooner: a close that overtakes the text at the vendor ends the context without a sound.  A clause that
        nobody wants any more is closed, too, or it would keep its place.  False if the socket does not take it.
        """
        if context.closing or context.context_id not in self.contexts:
            return True
        context.closing = True
        try:
            async with asyncio.timeout(SEND_S_MAX):
                await connection.send(messages.closing(context.context_id))
        except TimeoutError:
            return False
        except ConnectionClosed:
            return True  # the next read tells
        return True

    def _deliver(self, said: messages.Said, failure: ProviderError | None) -> None:
        if failure is not None:
            self.retire()
        mine = self.contexts.get(said.context_id)
        concerned = [mine] if mine is not None else []
        if failure is not None and not said.context_id:
            concerned = list(self.contexts.values())
        for context in concerned:
            if failure is not None:
                context.end(failure)
            context.receive(said, self._name)
            if said.final or failure is not None:
                self._free(context)

    def _free(self, context: ClauseContext) -> None:
        self.contexts.pop(context.context_id, None)
        self.idle_since = asyncio.get_running_loop().time()

    def _worn_out(self, now: float) -> bool:
        """Is the socket no longer worth having?"""
        given_up = [context.left_at for context in self.contexts.values() if context.left_at is not None]
        if given_up and now - min(given_up) > self._limits.drain_s:
            self.retire()
        if not self.contexts and now - self.idle_since > self._limits.idle_s:
            self.retire()
        return self.retired and not self.living

    async def _heartbeat(self, connection: ClientConnection, now: float) -> bool:
        """Is the vendor still there?  Ask, if it was silent."""
        if now - self._heard_at < self._limits.beat_s:
            return True
        if isinstance(self._pong, asyncio.Future) and not self._pong.done():
            return False
        try:
            async with asyncio.timeout(SEND_S_MAX):
                self._pong = await connection.ping()
        except (TimeoutError, ConnectionClosed):
            return False
        return True

    def _hang_up(self) -> None:
        """At once: the reader wakes and ends."""
        if self._connection is not None:
            self._connection.transport.abort()
