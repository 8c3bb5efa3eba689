"""An ear at a vendor's WebSocket: the thin shell around a vendor's pure core (`Turns`).

    feed -> VendorFeed -> one writer -> the vendor -> one reader -> Turns -> what is heard

Nothing is started or awaited per frame.  One timer per ear looks at the clock: for a socket that is open and dead,
for a final that does not come, for an idle line that must be kept.

A vendor that says nothing has nothing to say: a silent socket is pinged, and one that answers lives.  That nobody
listens behind it is known only by a turn that it began and does not finish, or by speech that it does not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from common.audio.g711 import BYTES_PER_MS
from common.process.tasks import cancel
from common.telemetry import metrics
from workers.providers.interfaces import (
    Busy,
    Down,
    EndOfTurn,
    ProviderError,
    Rejected,
    SpeechEnd,
    SpeechStart,
    SttEvent,
)
from workers.providers.websocket import PONG_SECONDS, close_socket
from workers.stt.stream.audio_feed import VendorFeed
from workers.stt.stream.event_queue import EventQueue
from workers.stt.vad.energy import UnnoticedSpeech

TEXTS_MAX = 16
"""Control messages that wait to be sent."""
MESSAGE_MS_MAX = 200
"""A backlog is sent in messages of this length."""
TICKS = 5
"""How often the timer looks within the shortest deadline."""
STILL_SECONDS = 1.0
"""The line stood still for so long (Redis failed over): the vendor had nothing to answer, and is not mute."""
GOODBYE_SECONDS = 0.2
"""How long leaving waits for the last message to get into the socket."""


@dataclass(frozen=True, slots=True)
class SttStreamOptions:
    """The deadlines of an ear at a vendor's."""

    connect_s: float = 3.0
    """Name, TCP, TLS and upgrade together."""
    mute_s: float = 3.0
    """Audio went on and no message of any kind came for so long: the socket is pinged."""
    pong_s: float = PONG_SECONDS
    """How long it has to answer."""
    deaf_s: float = 6.0
    """So much speech, in at least as much time, without any message: the vendor does not listen."""
    final_s: float = 1.5
    """Words are known, nothing new comes, and the vendor does not say that they are final: it is asked to."""
    grace_s: float = 0.7
    """So much later the words are taken as they are."""
    keepalive_s: float = 4.0
    """Without audio for so long, the vendor is told that the line still lives."""
    backlog_ms_max: int = 40_000
    """Audio that waits to be sent; a replay brings up to 30 s at once."""


class Turns(Protocol):
    """A vendor's pure core: its messages in, what is heard out.  A `str` among it is a text to send to the vendor."""

    def receive(self, message: dict[str, Any], now_ms: int) -> Iterable[SttEvent | str]:
        """Take a message.  Raises ProviderError; any LookupError, TypeError, ValueError means: it is malformed."""

    def advance(self, now_ms: int) -> Iterable[SttEvent | str]:
        """Time passed, or audio was sent."""


@dataclass(frozen=True, slots=True)
class SocketProfile:
    """How a vendor wants to be spoken to."""

    name: str
    """"vendor/model", for errors and metrics."""
    message_ms: int = 20
    """Live audio goes out in messages at least this long."""
    answer_ms: int = 1500
    """Sent so much audio, the vendor has answered something, if it is alive."""
    keepalive: str = ""
    """The text that keeps an idle line; empty: a WebSocket ping."""
    goodbye: str = ""
    """The last text."""


class SttSocketStream:
    """Listens to one call (see `Ear`).  Made by `socket_stream`."""

    def __init__(
        self,
        connection: ClientConnection,
        profile: SocketProfile,
        feed: VendorFeed,
        turns: Turns,
        options: SttStreamOptions,
    ) -> None:
        self._connection = connection
        self._profile = profile
        self._feed = feed
        self._turns = turns
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._texts: deque[str] = deque()
        self._heard = EventQueue()
        self._work = asyncio.Event()
        self._sent_at = self._loop.time()
        self._pinged_at: float | None = None  # and no answer yet
        self._asked = False  # for a final, and no message since
        self._turn_open = False  # speech began, by the vendor's word, and did not end
        self._unnoticed = UnnoticedSpeech(options.deaf_s)
        self._answered_ms = 0  # how much audio was sent when the vendor's last message came
        self._unanswered_at: float | None = None  # when the first audio after it was sent
        self._tick_s = min(options.mute_s, options.final_s, options.grace_s, options.keepalive_s) / TICKS
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    @property
    def failed(self) -> bool:
        return self._heard.failure is not None

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the next audio (see `Ear`).  What was fed before is skipped; a gap moves the positions after it."""
        if self._heard.over:
            return
        self._unnoticed.feed(position_ms, mulaw, self._loop.time())
        dropped = self._feed.put(position_ms, mulaw)
        if dropped:
            metrics.FRAMES_DROPPED.labels("ear backlog").inc(dropped)
        if self._feed.waiting_bytes >= self._profile.message_ms * BYTES_PER_MS:
            self._work.set()

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """What is heard (see `Ear`).  One reader at a time."""
        return aiter(self._heard)

    def close(self) -> None:
        """Hear no more."""
        self._heard.close()
        self._timer.cancel()

    def ended(self, task: asyncio.Task[None]) -> None:
        """One of the two tasks is over.  What it raised comes out on leaving; the reader must not wait for it."""
        if not task.cancelled() and task.exception() is not None:
            self._fail(Down(f"{self._profile.name}: the ear broke"))

    # --- the two tasks ---

    async def read(self) -> None:
        """Take the vendor's messages until the ear fails; how long they take is watched by the timer."""
        try:
            async for message in self._connection:
                self._answered_ms, self._unanswered_at = self._feed.taken_ms, None
                self._pinged_at, self._asked = None, False
                self._unnoticed.noticed(self._loop.time())
                self._take(message)
        except ConnectionClosed:
            pass  # told below, as a regular close is
        self._fail(closed_error(self._profile.name, self._connection.close_code))

    async def write(self) -> None:
        """Send audio and texts as they come; how long the socket takes is watched by the timer."""
        with contextlib.suppress(ConnectionClosed):  # the reader tells it
            while True:
                await self._work.wait()
                self._work.clear()
                while mulaw := self._feed.take(MESSAGE_MS_MAX * BYTES_PER_MS):
                    now = self._loop.time()
                    if self._unanswered_at is None or now - self._sent_at >= STILL_SECONDS:
                        self._unanswered_at = now
                    self._sent_at = now
                    await self._connection.send(mulaw)
                while self._texts:
                    text = self._texts.popleft()
                    if text == PING:
                        asyncio.ensure_future(await self._connection.ping()).add_done_callback(self._ponged)
                    else:
                        await self._connection.send(text)
                self._act(self._turns.advance(self._now_ms()))

    # --- decisions ---

    def _take(self, message: str | bytes) -> None:
        try:
            understood = json.loads(message)
            self._act(self._turns.receive(understood, self._now_ms()))
        except ProviderError as error:
            self._fail(error)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
            self._fail(Down(f"{self._profile.name} sent a malformed message ({type(error).__name__})"))

    def _act(self, effects: Iterable[SttEvent | str]) -> None:
        for effect in effects:
            if isinstance(effect, str):
                self._asked = True
                self._say(effect)
                continue
            self._turn_open = isinstance(effect, SpeechStart) or (
                self._turn_open and not isinstance(effect, SpeechEnd | EndOfTurn)
            )
            if not self._heard.over and not self._heard.add(effect):
                self._fail(Down(f"{self._profile.name}: nobody takes what is heard"))

    def _tick(self) -> None:
        now = self._loop.time()
        if fault := self._fault(now):
            self._fail(Down(f"{self._profile.name} {fault}"))
            return
        if self._pinged_at is None and self._is_silent(now):
            self._pinged_at = now
            self._say(PING)
        if now - self._sent_at >= self._options.keepalive_s:
            self._sent_at = now
            self._say(self._profile.keepalive or PING)
        if self._feed.waiting_bytes:
            self._work.set()  # less than a message: it has waited long enough
        self._act(self._turns.advance(self._now_ms()))
        if not self._heard.over:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def _is_silent(self, now: float) -> bool:
        """Would a vendor that hears this audio have said something by now?"""
        return (
            self._unanswered_at is not None
            and now - self._unanswered_at >= self._options.mute_s
            and bool(self._feed.taken_ms - self._answered_ms >= self._profile.answer_ms or self._feed.waiting_bytes)
        )

    def _fault(self, now: float) -> str:
        """What says that nobody is at the other end, or that nobody listens there; empty if nothing does."""
        options = self._options
        if self._pinged_at is not None and now - self._pinged_at >= options.pong_s:
            return "went mute"
        if not self._is_silent(now):
            return ""
        if self._asked or self._turn_open:
            return "does not finish a transcript"
        return "does not notice speech" if self._unnoticed.lasts(now) else ""

    def _ponged(self, pong: asyncio.Future[float]) -> None:
        """It lives; if it goes on saying nothing, it is asked again."""
        if pong.cancelled() or pong.exception() is not None:
            return
        self._pinged_at = None
        if self._unanswered_at is not None and not (self._asked or self._turn_open):
            self._unanswered_at = self._loop.time()

    def _say(self, text: str) -> None:
        if len(self._texts) < TEXTS_MAX:
            self._texts.append(text)
            self._work.set()

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def _fail(self, error: ProviderError) -> None:
        if self._heard.fail(error):
            self._timer.cancel()


PING = "\x00ping"
"""Stands for a WebSocket ping among the texts."""


@asynccontextmanager
async def socket_stream(
    connection: ClientConnection, profile: SocketProfile, feed: VendorFeed, turns: Turns, options: SttStreamOptions
) -> AsyncIterator[SttSocketStream]:
    """An ear on an open socket, which is closed on leaving: at once if the ear has failed, else politely."""
    stream = SttSocketStream(connection, profile, feed, turns, options)
    tasks = [asyncio.create_task(part(), name=f"ear {profile.name}") for part in (stream.read, stream.write)]
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
                await _goodbye(connection, profile.goodbye)
                await close_socket(connection)
        finally:
            connection.transport.abort()


async def _goodbye(connection: ClientConnection, text: str) -> None:
    with contextlib.suppress(ConnectionClosed, TimeoutError):  # it is closed next in any case
        async with asyncio.timeout(GOODBYE_SECONDS):
            if text:
                await connection.send(text)


def closed_error(name: str, code: int | None) -> ProviderError:
    """What it means that the vendor closed the socket."""
    if code == 1013:
        return Busy(f"{name} is at its limit (closed with 1013)")
    if code in (1003, 1007, 1008, 1009):
        return Rejected(f"{name} refused what we sent (closed with {code})")
    return Down(f"{name} closed the socket ({code or 'without a word'})")
