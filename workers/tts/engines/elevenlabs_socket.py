"""One socket to ElevenLabs, and the clauses that are synthesised over it: one context each.

    opening ──▶ open ──▶ closed          a socket takes contexts from the beginning; they wait until it is open
                  │
                  └─ retired: takes no more contexts, and is closed after its last one that is still wanted

One task runs the socket: it opens, reads, and sends a ping in every heartbeat interval without a message.  That keeps
the connection open, and detects a half-open one before a clause does.  A slow consumer delays no other: audio is
queued, and bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from common.audio.g711 import BYTES_PER_MS
from workers.providers.interfaces import CharTimings, Down, ProviderError, Sound
from workers.providers.vendor_socket import SocketClosed, VendorSocket
from workers.providers.websocket import open_socket
from workers.tts.engines import elevenlabs_messages as messages

SEND_S_MAX = 1.0
POLICY_VIOLATION = 1008
"""The close code of a refusal; the close reason names it."""
AUDIO_BYTES_MAX = 120 * 1000 * BYTES_PER_MS
"""Most bytes of one clause that wait for the consumer; no clause is that long."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The number of sockets of one process for all voices, and when one is given up (seconds)."""

    sockets_max: int = 40
    beat_s: float = 10.0
    """After this time without a message a ping is sent, and the pong must come within the same time."""
    idle_s: float = messages.INACTIVITY_S - 20.0
    """A socket without a clause for this long is closed: the vendor's own close could coincide with a new clause."""
    drain_s: float = 10.0
    """A context that was left and is not final by then is taken to be lost."""


class ClauseContext:
    """One clause in progress.  The consumer calls `next`, the socket calls the other methods."""

    def __init__(self, context_id: str, text: str, *, fresh: bool) -> None:
        """`fresh`: its socket is being opened for it."""
        self.context_id = context_id
        self.fresh = fresh
        self.timings = messages.ClauseTimings(text)
        self.answered = False
        """True if the vendor sent anything for it."""
        self.sent = self.sent_whole = self.closing = False
        """True if the context was opened, if all its text was sent, and if its close was sent to the vendor."""
        self.left_at: float | None = None
        """Loop time at which the consumer left it; None before."""
        self.ended = False
        self._error: ProviderError | None = None
        self._chunks: deque[Sound] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()

    async def next(self, seconds: float) -> Sound | None:
        """Return the next audio or timings; None at the end.  Raises `ProviderError`; TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):  # in total: messages without audio do not extend it
            while not self._chunks:
                if self._error is not None:
                    raise self._error
                if self.ended:
                    return None
                self._changed.clear()
                await self._changed.wait()
        chunk = self._chunks.popleft()
        self._bytes -= len(chunk) if isinstance(chunk, bytes) else 0
        return chunk

    def receive(self, message: messages.SocketMessage, name: str) -> None:
        """Take one message of the vendor about this context."""
        self.answered = True
        if self.left_at is None and not self.ended:
            if char_timings := self.timings.receive(message.audio, message.alignment):
                self._chunks.append(CharTimings(char_timings))
            if message.audio:
                self._chunks.append(message.audio)
                self._bytes += len(message.audio)
            if self._bytes > AUDIO_BYTES_MAX:
                self.end(Down(f"{name} does not come to an end"))
            elif self.timings.wrong_rate:
                self.end(Down(f"{name} sent audio of another sample rate"))
        if message.final:
            self.end()
        self._changed.set()

    def end(self, error: ProviderError | None = None) -> None:
        """End the context, with or without an error."""
        self.ended = True
        self._error = self._error or error
        self._changed.set()


class Socket:
    """See the module.  Run `run` as a task; it returns when the socket closes, and never raises `ProviderError`."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], connect_s: float, limits: SocketLimits) -> None:
        self.contexts: dict[str, ClauseContext] = {}
        """Every context that counts at the vendor, by id, including those that were left."""
        self.closed = False
        self.retired = False
        self.idle_since = asyncio.get_running_loop().time()
        self._name = name
        self._url = url
        self._headers = headers
        self._connect_s = connect_s
        self._limits = limits
        self._connection: VendorSocket | None = None
        self._ready = asyncio.Event()
        self._numbers = 0
        self._received_at = 0.0
        self._pinged = False  # and no answer yet

    def __repr__(self) -> str:
        state = "closed" if self.closed else "retired" if self.retired else "open" if self._connection else "opening"
        return f"<Socket {self._name}, {state}, {len(self.contexts)} contexts>"

    @property
    def free(self) -> bool:
        """True if another context may be opened."""
        return not self.closed and not self.retired and len(self.contexts) < messages.CONTEXTS_MAX

    @property
    def in_use(self) -> bool:
        """True if a consumer waits for any of the clauses."""
        return any(context.left_at is None for context in self.contexts.values())

    def add(self, text: str) -> ClauseContext:
        """Reserve a place for a clause.  Then call `speak`, and in any case `leave`."""
        assert self.free
        self._numbers += 1
        context = ClauseContext(str(self._numbers), text, fresh=self._connection is None)
        self.contexts[context.context_id] = context
        return context

    async def opened(self, seconds: float) -> None:
        """Wait until the socket is open, or has failed to open.  Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            await self._ready.wait()

    async def speak(self, context: ClauseContext, text: str, speed: float, seconds: float) -> None:
        """Send the clause, once the socket is open.  Raises TimeoutError after `seconds`; `next` reports errors."""
        async with asyncio.timeout(seconds):
            await self._ready.wait()
            if self._connection is None or context.ended:
                return
            context.sent = True
            try:
                self._connection.send(messages.opening(context.context_id, speed))
                await self._connection.send_within(messages.speaking(context.context_id, text), seconds)
                context.sent_whole = True  # the context is closed at its first audio
            except SocketClosed:
                return  # the reader detects it too, and ends the contexts

    def leave(self, context: ClauseContext) -> None:
        """Give the context up.  If it is not over, the vendor finishes it and its audio is dropped."""
        context.left_at = asyncio.get_running_loop().time()
        if not context.sent:
            self._free(context)
        elif not context.sent_whole:
            self.retire()  # it cannot be ended any more, and would occupy its place for ever
        if self.retired and not self.in_use:
            self._abort()

    def retire(self) -> None:
        """Take no further clause, because the socket has a fault; it ends after its last clause."""
        self.retired = True

    async def run(self) -> None:
        """Open the socket, read from it, and close it."""
        error: ProviderError = Down(f"{self._name} was closed")
        try:
            connection = await open_socket(self._name, self._url, self._headers, self._connect_s, "ELEVENLABS_API_KEY")
            try:
                self._connection = connection
                self._received_at = asyncio.get_running_loop().time()
                self._ready.set()
                error = await self._read(connection)
            finally:
                self._end(error)
                await connection.close()
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

    async def _read(self, connection: VendorSocket) -> ProviderError:
        """Read until the socket ends; return the reason."""
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
                if not self._heartbeat(connection, now()):
                    self._abort()  # a closing handshake would not be answered
                    return Down(f"{self._name} has gone silent")
                continue
            except SocketClosed as closed:
                if failure is None and closed.code == POLICY_VIOLATION:
                    failure = messages.provider_error(self._name, closed.reason)
                return failure or Down(f"{self._name} closed the socket ({closed.code})")
            self._received_at = now()
            try:
                message = messages.understood(raw)
            except ValueError:
                return Down(f"{self._name} sent a malformed message")
            if message.error:
                failure = messages.provider_error(self._name, message.error)
            context = self.contexts.get(message.context_id) if message.audio else None
            self._deliver(message, failure)
            if context is not None and not await self._close_context(connection, context):
                self._abort()
                return Down(f"{self._name} takes no messages")

    async def _close_context(self, connection: VendorSocket, context: ClauseContext) -> bool:
        """Send the close of a context that has audio: only then does the vendor report the end of its audio.

        Not sooner: a close that overtakes the text at the vendor ends the context without audio.  A context that was
        left is closed, too, or it would occupy its place.  Returns False if the socket does not take the message.
        """
        if context.closing or context.context_id not in self.contexts:
            return True
        context.closing = True
        try:
            await connection.send_within(messages.closing(context.context_id), SEND_S_MAX)
        except TimeoutError:
            return False
        except SocketClosed:
            return True  # the next read reports it
        return True

    def _deliver(self, message: messages.SocketMessage, failure: ProviderError | None) -> None:
        if failure is not None:
            self.retire()
        mine = self.contexts.get(message.context_id)
        concerned = [mine] if mine is not None else []
        if failure is not None and not message.context_id:
            concerned = list(self.contexts.values())
        for context in concerned:
            if failure is not None:
                context.end(failure)
            context.receive(message, self._name)
            if message.final or failure is not None:
                self._free(context)

    def _free(self, context: ClauseContext) -> None:
        self.contexts.pop(context.context_id, None)
        self.idle_since = asyncio.get_running_loop().time()

    def _worn_out(self, now: float) -> bool:
        """True if the socket is retired and no consumer waits; retires it if it was idle or has lost contexts."""
        given_up = [context.left_at for context in self.contexts.values() if context.left_at is not None]
        if given_up and now - min(given_up) > self._limits.drain_s:
            self.retire()
        if not self.contexts and now - self.idle_since > self._limits.idle_s:
            self.retire()
        return self.retired and not self.in_use

    def _heartbeat(self, connection: VendorSocket, now: float) -> bool:
        """Ping the vendor if it was silent; False if an earlier ping was not answered."""
        if now - self._received_at < self._limits.beat_s:
            return True
        if self._pinged:
            return False
        self._pinged = True
        try:
            connection.ping(self._ponged)
        except SocketClosed:
            return False
        return True

    def _ponged(self, answered: bool) -> None:
        self._pinged = not answered

    def _abort(self) -> None:
        """Abort the connection at once: the reader wakes and ends."""
        if self._connection is not None:
            self._connection.abort()
