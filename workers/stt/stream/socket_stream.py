"""Runs a vendor's pure core (`stt_core.py`) on its WebSocket: the only STT code that does socket I/O.

    feed -> AudioFeed -> one writer -> vendor -> one reader -> SttCore.receive -> events for the session

Nothing is started or awaited per frame.  One timer per stream is set to the earliest deadline of the core, of the
`Liveness` watch, and of audio that waits for the rest of its message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from common.audio.g711 import BYTES_PER_MS
from common.process.tasks import cancel
from common.telemetry import metrics
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected, SttEvent
from workers.providers.websocket import close_socket, open_socket
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.event_queue import EventQueue
from workers.stt.stream.liveness import Liveness
from workers.stt.stream.stt_core import PING, Effect, SocketProfile, SttCore, SttStreamOptions, UnresponsiveVendor

PARTIAL_SECONDS = 0.15
"""Audio that is less than a message waits this long for the rest."""
GOODBYE_SECONDS = 0.2
"""How long leaving waits for the last message to get into the socket."""
MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)


class SttSocketStream:
    """One call's stream (see `workers.providers.interfaces.SttStream`).  Made by `open_stream`."""

    def __init__(
        self,
        connection: ClientConnection,
        profile: SocketProfile,
        feed: AudioFeed,
        core: SttCore,
        options: SttStreamOptions,
    ) -> None:
        self._connection = connection
        self._profile = profile
        self._feed = feed
        self._core = core
        self._send_s = None if profile.answer_ms else options.send_s
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._liveness = Liveness(profile, feed, options, self._now())
        self._events = EventQueue()
        self._work = asyncio.Event()
        self._flush_at: float | None = None  # when audio that is less than a message is sent
        self._flush = False
        self._pong: asyncio.Future[float] | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # when it is due: uvloop gives no `when` to a timer that is due now
        self._arm()

    @property
    def failed(self) -> bool:
        """True once a ProviderError was passed to the reader."""
        return self._events.failure is not None

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the next audio (see `SttStream`); audio that was fed before is skipped."""
        if self._events.over:
            return
        position_ms, mulaw = self._feed.unseen(position_ms, mulaw)
        if not mulaw:
            return
        now = self._now()
        if dropped := self._feed.put(position_ms, mulaw):
            metrics.FRAMES_DROPPED.labels("stt backlog").inc(dropped)
        self._liveness.fed(position_ms, mulaw, now)
        if self._feed.waiting_bytes >= self._profile.message_ms * BYTES_PER_MS:
            self._work.set()
        elif self._flush_at is None:
            self._flush_at = now + PARTIAL_SECONDS
        self._run(partial(self._core.feed, position_ms, mulaw))

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """The events (see `SttStream`).  One reader at a time."""
        return aiter(self._events)

    def close(self) -> None:
        """End the stream; nothing is sent any more."""
        self._events.close()
        self._stop()

    def ended(self, task: asyncio.Task[None]) -> None:
        """Fail the stream if one of its two tasks raised.  The exception itself is raised on leaving."""
        if not task.cancelled() and task.exception() is not None:
            self._fail(Down(f"{self._profile.name}: the stream broke"))

    # --- the two tasks ---

    async def read(self) -> None:
        """Pass the vendor's messages to the core until the socket closes."""
        try:
            async for message in self._connection:
                self._liveness.received(self._now())
                self._run(partial(self._receive, message))
        except ConnectionClosed:
            pass  # reported below, as a regular close is
        self._fail(closed_error(self._profile.name, self._connection.close_code))

    async def write(self) -> None:
        """Send audio and texts as they come."""
        message_max = self._profile.message_ms_max * BYTES_PER_MS
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                message_min = 0 if self._flush else self._profile.message_ms * BYTES_PER_MS
                self._flush = False
                while message := self._feed.take(message_max, message_min):
                    async with asyncio.timeout(self._send_s):
                        await self._send(message)
                self._flush_at = self._now() + PARTIAL_SECONDS if self._feed.waiting_bytes else None
                self._run(self._core.wake)
        except TimeoutError:
            self._fail(Down(f"{self._profile.name} takes no more audio"))
        except ConnectionClosed:
            pass  # the reader reports it

    async def _send(self, message: bytes | str) -> None:
        if message == PING:
            self._pong = asyncio.ensure_future(await self._connection.ping())
            self._pong.add_done_callback(self._ponged)
        elif isinstance(message, str):
            await self._connection.send(message)
        else:
            self._liveness.sending(self._now())
            await self._connection.send(self._profile.encode(message))

    # --- around the core ---

    def _run(self, stimulus: Callable[[float], Iterable[Effect]]) -> None:
        """Give the core a stimulus and carry out its effects."""
        if self._events.over:
            return
        try:
            for effect in stimulus(self._now()):
                self._apply(effect)
        except UnresponsiveVendor as error:
            for event in error.events:
                self._apply(event)
            self._fail(error)
        except ProviderError as error:
            self._fail(error)
        self._arm()

    def _apply(self, effect: Effect) -> None:
        if isinstance(effect, str):
            self._liveness.asked()
            self._post(effect)
            return
        self._liveness.event(effect)
        if not self._events.over and not self._events.add(effect):
            self._fail(Down(f"{self._profile.name}: the events are not read"))

    def _receive(self, message: str | bytes, now: float) -> Iterable[Effect]:
        try:
            yield from self._core.receive(message, now)
        except MALFORMED as error:
            raise Down(f"{self._profile.name} sent a malformed message ({type(error).__name__})") from None

    def _post(self, text: str) -> None:
        if self._feed.put_text(text):
            self._work.set()

    def _ponged(self, pong: asyncio.Future[float]) -> None:
        if pong is self._pong:
            self._pong = None
        if not pong.cancelled() and pong.exception() is None:
            self._liveness.ponged(self._now())
            self._arm()

    # --- the timer ---

    def _arm(self) -> None:
        due = self._flush_at
        for other in (
            self._core.deadline,
            self._liveness.deadline,
        ):  # runs twice for each frame: no `min` of a generator
            if other is not None and (due is None or other < due):
                due = other
        # A timer that is early only asks again: deadlines move with every frame.
        if self._timer is not None and (due is None or self._timer_at > due):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None and not self._events.over:
            self._timer = asyncio.get_running_loop().call_at(due, self._wake)
            self._timer_at = due

    def _wake(self) -> None:
        self._timer = None
        if self._flush_at is not None and self._now() >= self._flush_at:
            self._flush_at, self._flush = None, True
            self._work.set()
        if self._pong is not None and self._pong.done():
            self._ponged(self._pong)  # the event loop was held up, and its callback comes after this one
        self._run(self._look)

    def _look(self, now: float) -> Iterable[Effect]:
        for text in self._liveness.check(now):
            self._post(text)
        return self._core.wake(now)

    def _fail(self, error: ProviderError) -> None:
        if self._events.fail(error):
            self._stop()

    def _stop(self) -> None:
        self._feed.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# --- opening and closing --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """How a vendor's socket is opened.  `key_variable` is for the error about a key that is refused."""

    name: str
    url: str
    headers: Mapping[str, str]
    key_variable: str

    async def open(self, connect_s: float) -> ClientConnection:
        """Open the socket.  Raises a ProviderError (see `open_socket`)."""
        return await open_socket(self.name, self.url, self.headers, connect_s, self.key_variable)


async def try_key(address: SocketAddress, connect_s: float) -> None:
    """Open a socket and close it.  Raises Rejected if the key is refused.

    A vendor that is busy or down now is no reason to stop: calls find out, and use another provider.
    """
    try:
        connection = await address.open(connect_s)
    except Rejected:
        raise
    except ProviderError:
        return
    await close_socket(connection)


@asynccontextmanager
async def open_stream(
    address: SocketAddress, profile: SocketProfile, feed: AudioFeed, core: SttCore, options: SttStreamOptions
) -> AsyncIterator[SttSocketStream]:
    """Open a stream.  On leaving, the socket is closed: at once if the stream has failed, else with a goodbye."""
    connection = await address.open(options.connect_s)
    stream = SttSocketStream(connection, profile, feed, core, options)
    tasks = [asyncio.create_task(part(), name=f"stt stream {profile.name}") for part in (stream.read, stream.write)]
    for task in tasks:
        task.add_done_callback(stream.ended)
    try:
        yield stream
    finally:
        stream.close()
        try:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                await cancel(task)
            if not stream.failed:
                await _say_goodbye(connection, profile.goodbye)
                await close_socket(connection)
        finally:
            connection.transport.abort()


async def _say_goodbye(connection: ClientConnection, text: str) -> None:
    with contextlib.suppress(ConnectionClosed, TimeoutError):  # it is closed next in any case
        async with asyncio.timeout(GOODBYE_SECONDS):
            if text:
                await connection.send(text)


def closed_error(name: str, code: int | None) -> ProviderError:
    """The error that a close code of the vendor means."""
    if code == 1013:
        return Busy(f"{name} is at its limit (closed with 1013)")
    if code in (1003, 1007, 1008, 1009):
        return Rejected(f"{name} refused what we sent (closed with {code})")
    return Down(f"{name} closed the socket ({code or 'without a code'})")
