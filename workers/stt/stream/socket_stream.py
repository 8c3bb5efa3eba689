"""Runs a vendor's pure core (`stt_core.py`) on its WebSocket: the only STT code that does socket I/O.

    feed -> SttCore.feed, AudioFeed -> VendorSocket.send -> vendor -> SttCore.receive -> events for the session

Everything happens in callbacks: a frame is sent in the call of `feed`, a message is given to the core as it comes.  No
task belongs to a stream.  Audio waits in the `AudioFeed` while the socket is not writable, while it is less than a
message, and while more of the same burst may come.  One timer per stream is set to the earliest deadline of the core,
of the `Liveness` watch, of such audio, and of a vendor that takes none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from common.audio.g711 import BYTES_PER_MS
from common.telemetry import metrics
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected, SttEvent
from workers.providers.vendor_socket import SocketClosed, VendorSocket
from workers.providers.websocket import open_socket
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.event_queue import EventQueue
from workers.stt.stream.liveness import Liveness
from workers.stt.stream.stt_core import PING, Effect, SocketProfile, SttCore, SttStreamOptions, UnresponsiveVendor

PARTIAL_SECONDS = 0.15
"""Audio that is less than a message waits this long for the rest."""
BURST_SECONDS = 0.005
"""Audio this soon after the last that was sent is not live: it waits for the rest of its burst, and is joined."""
MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)


class SttSocketStream:
    """One call's stream (see `workers.providers.interfaces.SttStream`).  Made by `open_stream`."""

    def __init__(
        self, socket: VendorSocket, profile: SocketProfile, feed: AudioFeed, core: SttCore, options: SttStreamOptions
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now: Callable[[], float] = self._loop.time
        self._socket = socket
        self._profile = profile
        self._feed = feed
        self._core = core
        self._send_s = None if profile.answer_ms else options.send_s
        self._liveness = Liveness(profile, feed, options, self._now())
        self._events = EventQueue()
        self.broken: Exception | None = None
        """An error of ours that ended the stream; raised on leaving."""
        self._sent_at = 0.0  # audio was sent
        self._burst: asyncio.Handle | None = None  # sends what the burst brought
        self._flush_at: float | None = None  # when audio that is less than a message is sent
        self._stuck_at: float | None = None  # the vendor takes no more audio since then
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # when it is due: uvloop gives no `when` to a timer that is due now
        self._arm()
        socket.listen(self._receive, self._closed, self._writable)

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
        self._apply(partial(self._core.feed, position_ms, mulaw), now)
        if self._burst is None and now - self._sent_at < BURST_SECONDS:
            self._burst = self._loop.call_soon(self._end_burst)
        if self._burst is None:
            self._send_waiting(now)
        self._arm()

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """The events (see `SttStream`).  One reader at a time."""
        return aiter(self._events)

    def close(self) -> None:
        """End the stream; nothing is sent any more."""
        self._events.close()
        self._stop()

    # --- to the vendor ---

    def _send_waiting(self, now: float) -> None:
        """Send all that waits and is due, as far as the socket takes it, and tell the core."""
        partial_is_due = self._flush_at is not None and now >= self._flush_at
        message_min = 0 if partial_is_due else self._profile.message_ms * BYTES_PER_MS
        sent = False
        while self._send_messages(message_min, now):
            sent = True
            self._apply(self._core.wake, now)  # which may have a text to send
        if not self._feed.waiting_bytes or not self._socket.writable:
            self._flush_at = None
        elif self._flush_at is None or sent or partial_is_due:
            self._flush_at = now + PARTIAL_SECONDS

    def _send_messages(self, message_min: int, now: float) -> bool:
        """True if anything was sent.  What the socket does not take any more stays in the feed, which is bounded."""
        sent = False
        try:
            while self._socket.writable and not self._events.over:
                message = self._feed.take(self._profile.message_ms_max * BYTES_PER_MS, message_min)
                if not message:
                    break
                sent = True
                self._send(message, now)
        except SocketClosed:
            return False  # `_closed` reports it
        if self._stuck_at is None and not self._socket.writable:
            self._stuck_at = now
        return sent

    def _send(self, message: bytes | str, now: float) -> None:
        if message == PING:
            self._socket.ping(self._ponged)
        elif isinstance(message, str):
            self._socket.send(message)
        else:
            self._sent_at = now
            self._liveness.sending(now)
            self._socket.send(self._profile.encode(message))

    def _end_burst(self) -> None:
        self._burst = None
        self._look(())

    # --- from the vendor ---

    def _receive(self, message: str | bytes) -> None:
        self._liveness.received(self._now())
        self._look((partial(self._understand, message),))

    def _understand(self, message: str | bytes, now: float) -> Iterable[Effect]:
        try:
            yield from self._core.receive(message, now)
        except MALFORMED as error:
            raise Down(f"{self._profile.name} sent a malformed message ({type(error).__name__})") from None

    def _ponged(self, answered: bool) -> None:
        if answered:
            self._liveness.ponged(self._now())
            self._arm()

    def _writable(self) -> None:
        self._stuck_at = None
        self._look(())

    def _closed(self, closed: SocketClosed) -> None:
        self._fail(closed_error(self._profile.name, closed.code))

    # --- around the core ---

    def _look(self, stimuli: Iterable[Callable[[float], Iterable[Effect]]]) -> None:
        """Give the core the stimuli, send what is due, and set the timer."""
        now = self._now()
        for stimulus in stimuli:
            self._apply(stimulus, now)
        if not self._events.over:
            self._send_waiting(now)
            self._arm()

    def _apply(self, stimulus: Callable[[float], Iterable[Effect]], now: float) -> None:
        """Give the core a stimulus and carry out its effects; texts wait in the feed."""
        if self._events.over:
            return
        try:
            for effect in stimulus(now):
                self._carry_out(effect)
        except UnresponsiveVendor as error:
            for event in error.events:
                self._carry_out(event)
            self._fail(error)
        except ProviderError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - in a callback nobody else would hear of it
            self.broken = error
            self._fail(Down(f"{self._profile.name}: the stream broke"))

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, str):
            self._liveness.asked()
            self._feed.put_text(effect)
            return
        self._liveness.event(effect)
        if not self._events.over and not self._events.add(effect):
            self._fail(Down(f"{self._profile.name}: the events are not read"))

    # --- the timer ---

    def _arm(self) -> None:
        due = self._flush_at
        if self._stuck_at is not None and self._send_s is not None:
            stuck_due = self._stuck_at + self._send_s
            due = stuck_due if due is None or stuck_due < due else due
        for other in (self._core.deadline, self._liveness.deadline):  # for each frame: no `min` of a generator
            if other is not None and (due is None or other < due):
                due = other
        # A timer that is early only asks again: deadlines move with every frame.
        if self._timer is not None and (due is None or self._timer_at > due):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None and not self._events.over:
            self._timer = self._loop.call_at(due, self._wake)
            self._timer_at = due

    def _wake(self) -> None:
        self._timer = None
        if self._stuck_at is not None and self._send_s is not None and self._now() >= self._stuck_at + self._send_s:
            self._fail(Down(f"{self._profile.name} takes no more audio"))
            return
        self._look((self._check, self._core.wake))

    def _check(self, now: float) -> Iterable[Effect]:
        for text in self._liveness.check(now):
            self._feed.put_text(text)
        return ()

    def _fail(self, error: ProviderError) -> None:
        if self._events.fail(error):
            self._stop()

    def _stop(self) -> None:
        self._feed.clear()
        for handle in (self._timer, self._burst):
            if handle is not None:
                handle.cancel()
        self._timer = self._burst = None


# --- opening and closing --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """How a vendor's socket is opened.  `key_variable` is for the error about a key that is refused."""

    name: str
    url: str
    headers: Mapping[str, str]
    key_variable: str

    async def open(self, connect_s: float) -> VendorSocket:
        """Open the socket.  Raises a ProviderError (see `open_socket`)."""
        return await open_socket(self.name, self.url, self.headers, connect_s, self.key_variable)


async def try_key(address: SocketAddress, connect_s: float) -> None:
    """Open a socket and close it.  Raises Rejected if the key is refused.

    A vendor that is busy or down now is no reason to stop: calls find out, and use another provider.
    """
    try:
        socket = await address.open(connect_s)
    except Rejected:
        raise
    except ProviderError:
        return
    await socket.close()


@asynccontextmanager
async def open_stream(
    address: SocketAddress, profile: SocketProfile, feed: AudioFeed, core: SttCore, options: SttStreamOptions
) -> AsyncIterator[SttSocketStream]:
    """Open a stream.  On leaving, the socket is closed: at once if the stream has failed, else with a goodbye."""
    socket = await address.open(options.connect_s)
    try:
        stream = SttSocketStream(socket, profile, feed, core, options)
        try:
            yield stream
        finally:
            stream.close()
            if stream.broken is not None:
                raise stream.broken
            if not stream.failed:
                with contextlib.suppress(SocketClosed):  # it is closed next in any case
                    if profile.goodbye:
                        socket.send(profile.goodbye)
                await socket.close()
    finally:
        socket.abort()


def closed_error(name: str, code: int | None) -> ProviderError:
    """The error that a close code of the vendor means."""
    if code == 1013:
        return Busy(f"{name} is at its limit (closed with 1013)")
    if code in (1003, 1007, 1008, 1009):
        return Rejected(f"{name} refused what we sent (closed with {code})")
    return Down(f"{name} closed the socket ({code or 'without a code'})")
