"""An ear whose vendor leaves the turns to us, or tells them without positions: the core hears the audio, too.

    feed -> Hearing.feed -> batches of audio --writer--> vendor --reader--> Hearing.receive -> what was heard

(`vendor_ear` is for vendors that answer all the time and give positions.  These say nothing while nobody speaks, so
that silence proves nothing.)  Two tasks an ear, none a frame; 20 ms frames are joined into larger messages.  A socket
that is half dead is found by a ping that is not answered: pings go with the audio, and audio always flows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from common.audio import g711
from common.process.tasks import cancel
from common.telemetry import metrics
from workers.providers.interfaces import Down, ProviderError, SttEvent
from workers.providers.websocket import close_socket
from workers.stt.stream.event_queue import EventQueue
from workers.stt.stream.socket_stream import closed_error

GAP_MS_MAX = 30_000
"""Audio missing for up to this long counts as silence; after more, the ear goes on at the new position."""
FILL_MS_MAX = 1_000
"""Of a gap so much is sent to the vendor as silence: enough for it to notice a pause."""
BACKLOG_MS_MAX = 60_000
"""Audio that waits for the vendor; beyond it the oldest is dropped.  A replay after a takeover is half of that."""
IDLE_S = 5.0
"""Without audio for so long (the edge is gone), an open turn is over: cores end it in `wake`."""


@dataclass(frozen=True, slots=True)
class SttDeadlines:
    """How long an ear waits for its vendor, in seconds."""

    connect_s: float = 3.0
    send_s: float = 5.0
    """For one message to leave."""
    final_s: float = 4.0
    """For the words of a turn that is over."""
    ping_s: float = 5.0
    pong_s: float = 3.0
    """Pause between two pings, and how long one may stay unanswered."""
    deaf_s: float = 4.0
    """Loud audio without any message: for vendors that detect speech themselves, and could say nothing for ever."""


DEADLINES = SttDeadlines()


class SttCore(Protocol):
    """What is said to one vendor and what its answers mean; no I/O, time is an argument in seconds.

    `orders` are texts to be sent after the audio fed so far; whoever calls takes them.  `wake` is due at `deadline`.
    `receive` and `wake` raise a ProviderError when listening cannot go on; `UnresponsiveVendor` if events came before.
    """

    orders: list[str]

    @property
    def deadline(self) -> float | None: ...

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> list[SttEvent]: ...

    def encode(self, mulaw: bytes) -> bytes | str: ...

    def receive(self, message: str | bytes, now: float) -> list[SttEvent]: ...

    def wake(self, now: float) -> list[SttEvent]: ...


class UnresponsiveVendor(Down):
    """The final words did not come; `heard` is what is known without them."""

    def __init__(self, text: str, heard: tuple[SttEvent, ...] = ()) -> None:
        super().__init__(text)
        self.heard = heard


class BatchedSttStream:
    """Listens to one call (see `workers.providers.interfaces.Ear`).  Made by `open_stream`."""

    def __init__(
        self, name: str, connection: ClientConnection, core: SttCore, deadlines: SttDeadlines, batch_ms: int
    ) -> None:
        self._name = name
        self._connection = connection
        self._core = core
        self._deadlines = deadlines
        self._batch_bytes = batch_ms * g711.BYTES_PER_MS
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._end_ms = -1  # of the audio fed; -1: none yet
        self._audio = bytearray()  # not yet a whole batch
        self._outgoing: deque[tuple[int, bytes | str]] = deque()  # (bytes of audio in it, message)
        self._outgoing_bytes = 0
        self._work = asyncio.Event()
        self._heard = EventQueue()
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the next audio (see `Ear`).  What was fed before is skipped; a gap counts as silence."""
        if self._heard.over:
            return
        gap_ms = position_ms - self._end_ms if self._end_ms >= 0 else 0
        if gap_ms < 0:
            mulaw = mulaw[-gap_ms * g711.BYTES_PER_MS :]
            position_ms -= gap_ms
        elif 0 < gap_ms <= GAP_MS_MAX:
            self._audio += g711.SILENCE * (min(gap_ms, FILL_MS_MAX) * g711.BYTES_PER_MS)
        if not mulaw:
            return
        self._end_ms = position_ms + len(mulaw) // g711.BYTES_PER_MS
        self._audio += mulaw
        self._tell(partial(self._core.feed, position_ms, mulaw))
        if len(self._audio) >= self._batch_bytes:
            self._post_audio()

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """What is heard (see `Ear`).  One reader at a time."""
        return aiter(self._heard)

    def close(self) -> None:
        """Hear no more."""
        self._heard.close()
        self._outgoing.clear()
        self._audio.clear()
        self._stop_timer()

    def ended(self, task: asyncio.Task[None]) -> None:
        """One of the two tasks is over.  What it raised comes out on leaving; the reader must not wait for it."""
        if not task.cancelled() and task.exception() is not None:
            self._fail(Down(f"{self._name}: the ear broke"))

    async def write(self) -> None:
        """Send what is to be sent, and look after the pings, until cancelled or broken."""
        pinged_at = self._now()
        pong: asyncio.Future[float] | None = None
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._outgoing:
                    size, message = self._outgoing.popleft()
                    self._outgoing_bytes -= size
                    async with asyncio.timeout(self._deadlines.send_s):
                        await self._connection.send(message)
                now = self._now()
                if pong is not None and pong.done():
                    pong = None
                if pong is not None and now - pinged_at > self._deadlines.pong_s:
                    self._fail(Down(f"{self._name} does not answer"))
                elif pong is None and now - pinged_at > self._deadlines.ping_s:
                    pinged_at = now
                    async with asyncio.timeout(self._deadlines.send_s):
                        pong = asyncio.ensure_future(await self._connection.ping())
        except TimeoutError:
            self._fail(Down(f"{self._name} takes no more audio"))
        except ConnectionClosed:
            self._fail(closed_error(self._name, self._connection.close_code))

    async def read(self) -> None:
        """Take what the vendor says, until cancelled or broken."""
        try:
            while True:
                self._tell(partial(self._core.receive, await self._connection.recv()))
        except ConnectionClosed:
            self._fail(closed_error(self._name, self._connection.close_code))

    # --- around the core ---

    def _tell(self, stimulus: Callable[[float], list[SttEvent]]) -> None:
        """Give the core a stimulus, and do what it then wants."""
        if self._heard.over:
            return
        try:
            self._hear(stimulus(self._now()))
        except UnresponsiveVendor as error:
            self._hear(error.heard)
            self._fail(error)
            return
        except ProviderError as error:
            self._fail(error)
            return
        if self._core.orders:
            self._post_audio()  # an order is about all the audio before it
            self._outgoing += [(0, order) for order in self._core.orders]
            self._core.orders.clear()
            self._work.set()
        self._arm()

    def _arm(self) -> None:
        due = self._core.deadline
        # A timer that is early only asks again: `due` moves with every frame while a turn is open.
        if self._timer is not None and (due is None or self._timer.when() > due):
            self._stop_timer()
        if self._timer is None and due is not None and not self._heard.over:
            self._timer = asyncio.get_running_loop().call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._tell(self._core.wake)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _post_audio(self) -> None:
        if not self._audio:
            return
        size = len(self._audio)
        self._outgoing.append((size, self._core.encode(bytes(self._audio))))
        self._outgoing_bytes += size
        self._audio.clear()
        while self._outgoing_bytes > BACKLOG_MS_MAX * g711.BYTES_PER_MS:
            dropped, _ = self._outgoing.popleft()
            self._outgoing_bytes -= dropped
            metrics.FRAMES_DROPPED.labels("ear backlog").inc(dropped // g711.FRAME_BYTES)
        self._work.set()

    def _hear(self, heard: list[SttEvent] | tuple[SttEvent, ...]) -> None:
        if not all(self._heard.add(one) for one in heard):
            self._fail(Down("nobody reads what this ear hears"))

    def _fail(self, error: ProviderError) -> None:
        """Listening cannot go on."""
        if self._heard.fail(error):
            self._stop_timer()
            self._outgoing.clear()


@asynccontextmanager
async def open_stream(
    name: str, connection: ClientConnection, core: SttCore, deadlines: SttDeadlines, batch_ms: int
) -> AsyncIterator[BatchedSttStream]:
    """An ear on an open socket, which is closed at the end.  `batch_ms`: audio is sent in messages of this length."""
    stream = BatchedSttStream(name, connection, core, deadlines, batch_ms)
    tasks = [asyncio.create_task(part(), name=f"ear {name}") for part in (stream.write, stream.read)]
    for task in tasks:
        task.add_done_callback(stream.ended)
    try:
        yield stream
    finally:
        stream.close()
        for task in tasks:
            task.cancel()
        try:
            await close_socket(connection)
        finally:
            for task in tasks:
                await cancel(task)
