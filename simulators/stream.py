"""Runs one call's media stream around the pure parts.  Three loops share a socket and one time line.

    send      each 20 ms, on absolute deadlines: sends the caller's next frame, speech or silence
    receive   puts the server's audio into the playback queue
    clockwork sends an acknowledgement of the queue when it falls due: playedStream, clearedAudio

A socket that breaks is opened again as often as `maxRetries` allows, with a new streamId and a new `start`; the call,
its time line and its recording continue.  A server that closes with 1000 has ended the stream on purpose.
"""

import asyncio
import time
import uuid
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidState, InvalidURI
from websockets.typing import Subprotocol

from simulators.answer import Stream
from simulators.line import CallerLine, frame_due_ms
from simulators.playback import Cleared, Playback, Played
from simulators.sound import FRAME_SAMPLES, Samples, silence, to_l16, to_mulaw
from simulators.stream_messages import (
    MESSAGE_BYTES_MAX,
    Checkpoint,
    ClearAudio,
    Command,
    PlayAudio,
    Spelling,
    Stop,
    Writer,
    read_message,
)
from simulators.uplink import Disturbance, Uplink

OPEN_DEADLINE_S = 10.0
SEND_DEADLINE_S = 5.0
WRITE_BUFFER_BYTES = 32_768
CLOSE_DEADLINE_S = 2.0
VIOLATIONS_MAX = 100
PHANTOM_S = 1.0
PHANTOM_FRAMES = 5
DROPPED = "connection disconnected with the remote service"


@dataclass(frozen=True, slots=True)
class WireOptions:
    """The carrier's behaviour where documents and captures differ."""

    spelling: Spelling = field(default_factory=Spelling)
    media_before_start: int = 0  # frames sent before `start`, as seen on inbound calls
    clear_delay_ms: float = 20.0
    send_stop: bool = False  # send `stop` before closing, as older carriers did
    subprotocol: str | None = None
    disturbance: Disturbance = field(default_factory=Disturbance)
    break_after_ms: tuple[float, ...] = ()
    """Times at which the carrier loses the socket (1006) and reconnects as the same call with a new streamId."""
    retry_pause_ms: float = 500.0
    """Pause before a new socket; Vobiz's back-off is unknown."""
    abort_close: bool = False
    """End without a closing handshake: the server sees 1006."""
    phantom_after_ms: float | None = None
    """Time after the call's end at which the carrier connects once more (`MediaStream.haunt`)."""
    light: bool = False
    """Keep no samples: nothing is recorded, everything else is measured, and hundreds of calls fit a process."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The party that ended the stream, and how."""

    by: Literal["caller", "agent", "carrier"]
    how: str


@dataclass(slots=True)
class Drop:
    """A socket that broke; `resumed_ms` is None if no new one could be opened."""

    at_ms: float
    code: int
    resumed_ms: float | None = None


OnStatus: TypeAlias = Callable[[str, dict[str, str]], None]


class StreamRefused(Exception):
    """The socket could not be opened."""


class MediaStream:
    """One media stream: `open` it, then `run` it; meanwhile `line.say` and `hang_up` act on it."""

    def __init__(
        self,
        stream: Stream,
        call_id: str,
        numbers: tuple[str, str],
        options: WireOptions,
        on_status: OnStatus = lambda event, fields: None,
    ) -> None:
        """`numbers` are the caller's and the called; `on_status` gets the status callbacks."""
        self.playback = Playback(options.clear_delay_ms)
        self.line = CallerLine(keep_track=not options.light)
        self.lateness_ms = array("d")
        self.violations: Counter[str] = Counter()
        self.drops: list[Drop] = []
        self.ending: Ending | None = None
        self.stream_id = str(uuid.uuid4())
        """The streamId of the present socket; each new socket has its own."""
        self._on_status = on_status
        self._stream, self._call_id, self._numbers, self._options = stream, call_id, numbers, options
        self._socket: ClientConnection | None = None
        self._over = asyncio.Event()
        self._queue_changed = asyncio.Event()
        self._zero_s = self._zero_epoch_ms = 0.0
        self._uplink = Uplink(options.disturbance)
        self._silence = self._encode(silence(FRAME_SAMPLES))

    @property
    def now_ms(self) -> float:
        """Position on the call's time line, which begins when the first socket is open."""
        return (asyncio.get_running_loop().time() - self._zero_s) * 1000

    @property
    def over(self) -> bool:
        return self._over.is_set()

    async def open(self) -> None:
        """Connect.  Raises `StreamRefused`."""
        if self._zero_s:
            self.stream_id = str(uuid.uuid4())
        self._writer = Writer(
            self._call_id, self.stream_id, self._stream.encoding, self._stream.rate_hz, self._options.spelling
        )
        socket = await _connected(self._stream.url, self._options.subprotocol)
        if not self._zero_s:
            self._zero_s = asyncio.get_running_loop().time()
            self._zero_epoch_ms = time.time() * 1000
        self._frames_before_start = self._options.media_before_start
        if not self._frames_before_start:
            await self._send(self._writer.start(*self._numbers), socket)
        self._socket = socket
        self._on_status("StartStream", {})

    async def run(self) -> Ending:
        """Run the stream until it ends, then close the socket; return the ending."""
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(self._send_loop(), name="send audio"),
                    tasks.create_task(self._breaker(), name="breaker"),
                    tasks.create_task(self._receive_loop(), name="receive"),
                    tasks.create_task(self._clockwork(), name="clockwork"),
                ]
                await self._over.wait()
                for loop in loops:
                    loop.cancel()
        finally:
            await self._close()
        assert self.ending is not None
        return self.ending

    def end(self, ending: Ending) -> None:
        """End the stream: the first ending counts; drop queued audio and pending acknowledgements."""
        if self.ending is None:
            self.ending = ending
            self.playback.end(self.now_ms)
            self._over.set()

    async def wait_over(self, ms: float) -> bool:
        """Wait until the stream has ended, at most `ms`; return False if it has not."""
        try:
            async with asyncio.timeout(max(0.0, ms) / 1000):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def press(self, digit: str) -> None:
        await self._send(self._writer.digit(digit, self._epoch_ms(self.now_ms)), self._socket)

    async def _send_loop(self) -> None:
        frame = 0
        while True:
            due_ms = frame_due_ms(frame)
            if due_ms > self.now_ms:
                await asyncio.sleep((due_ms - self.now_ms) / 1000)
            payload = self._next_payload()
            if self._socket is not None:
                self.lateness_ms.append(self.now_ms - due_ms)
                await self._say(payload, due_ms)
            frame += 1

    def _next_payload(self) -> bytes:
        if self._options.light and self.line.silent:
            self.line.next_silence()
            return self._silence
        return self._encode(self.line.next_frame())

    async def _say(self, payload: bytes, due_ms: float) -> None:
        """Send one frame, subject to the disturbances of the uplink."""
        late_ms, messages = self._uplink.take(payload)
        if late_ms:
            await asyncio.sleep(late_ms / 1000)
        for message in messages:
            match message.kind:
                case "media":
                    text = self._writer.media(message.payload, self._epoch_ms(due_ms))
                case "start":
                    text = self._writer.start(*self._numbers)
                case "unknown":
                    text = self._writer.unknown()
            await self._send(text, self._socket)
        if self._frames_before_start:
            self._frames_before_start -= 1
            if not self._frames_before_start:
                await self._send(self._writer.start(*self._numbers), self._socket)

    async def _breaker(self) -> None:
        """Lose the socket at the configured times."""
        for at_ms in self._options.break_after_ms:
            await asyncio.sleep(max(0.0, at_ms - self.now_ms) / 1000)
            if self._socket is not None:
                self._socket.transport.abort()

    async def _receive_loop(self) -> None:
        for retry in range(self._stream.max_retries + len(self._options.break_after_ms) + 1):
            if retry:
                await asyncio.sleep(self._options.retry_pause_ms / 1000)
                try:
                    await self.open()
                except StreamRefused:
                    continue
                self.drops[-1].resumed_ms = self.now_ms
            code = await self._listen()
            self._on_status("DroppedStream", {"error": DROPPED})
            if code in (1000, 1005):
                return self.end(Ending("agent", f"close {code}"))
            self._socket = None
            self.playback.end(self.now_ms)
            self.drops.append(Drop(self.now_ms, code))
        return self.end(Ending("carrier", f"connection broken (code {self.drops[-1].code})"))

    async def _listen(self) -> int:
        """Process the server's messages until the socket closes; return the close code."""
        assert self._socket is not None
        while True:
            try:
                message = await self._socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006
            received = read_message(message, self.stream_id)
            for violation in received.violations:
                self._note(violation)
            if received.command is not None:
                self._obey(received.command)

    def _obey(self, command: Command) -> None:
        if not self._stream.bidirectional and not isinstance(command, Stop):
            return self._note(f"{type(command).__name__} on a one-way stream is ignored")
        match command:
            case PlayAudio() as audio if self._options.light:
                self.playback.play_unheard(audio.duration_ms, audio.loud, audio.wire_bytes, self.now_ms)
            case PlayAudio() as audio:
                self.playback.play(audio.samples, audio.wire_bytes, self.now_ms)
            case Checkpoint(name):
                self.playback.checkpoint(name, self.now_ms)
            case ClearAudio():
                self.playback.clear(self.now_ms)
            case Stop():
                self._on_status("StopStream", {})
                self.end(Ending("agent", "stop"))
        if not isinstance(command, PlayAudio):  # audio alone causes no acknowledgement
            self._queue_changed.set()
        return None

    async def _clockwork(self) -> None:
        while True:
            self._queue_changed.clear()
            for answer in self.playback.wake(self.now_ms):
                text = self._writer.cleared() if isinstance(answer, Cleared) else self._writer.played(answer.name)
                await self._send(text, self._socket)
                event, fields = _status(answer)
                self._on_status(event, fields)
            due_ms = self.playback.deadline_ms
            try:
                async with asyncio.timeout(None if due_ms is None else max(0.0, due_ms - self.now_ms) / 1000):
                    await self._queue_changed.wait()
            except TimeoutError:
                continue

    async def _send(self, text: str, socket: ClientConnection | None) -> None:
        """Send a message.  A closed socket is left to the receive loop; one that accepts nothing is broken."""
        if socket is None:
            return
        try:
            if self._options.light and socket.transport.get_write_buffer_size() < WRITE_BUFFER_BYTES:
                # As `send`, but without its locks and waits, which are half the cost of a light call.
                socket.protocol.send_text(text.encode())
                socket.send_data()
                return
            async with asyncio.timeout(SEND_DEADLINE_S):
                await socket.send(text)
        except (ConnectionClosed, InvalidState):
            return
        except TimeoutError:
            self.end(Ending("carrier", f"the server read nothing for {SEND_DEADLINE_S} s"))

    async def _close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is None:
            return
        try:
            async with asyncio.timeout(2 * CLOSE_DEADLINE_S):
                if self._options.abort_close:
                    socket.transport.abort()
                    return
                if self._options.send_stop and self.ending and self.ending.by != "agent":
                    await socket.send(self._writer.stop())
                await socket.close(1000)
        except (ConnectionClosed, TimeoutError):
            socket.transport.abort()

    async def haunt(self) -> str | None:
        """Connect after the call's end as if it continued; return the server's reaction, None if not configured."""
        if self._options.phantom_after_ms is None:
            return None
        await asyncio.sleep(self._options.phantom_after_ms / 1000)
        try:
            socket = await _connected(self._stream.url, self._options.subprotocol)
        except StreamRefused as refused:
            return f"refused: {refused}"
        writer = Writer(
            self._call_id, str(uuid.uuid4()), self._stream.encoding, self._stream.rate_hz, self._options.spelling
        )
        try:
            async with asyncio.timeout(PHANTOM_S):
                await socket.send(writer.start(*self._numbers))
                for _ in range(PHANTOM_FRAMES):
                    await socket.send(writer.media(self._silence, self._epoch_ms(self.now_ms)))
                while True:
                    await socket.recv()
        except ConnectionClosed as closed:
            return f"closed: {closed.rcvd.code if closed.rcvd else 1006}"
        except TimeoutError:
            return "kept open"
        finally:
            socket.transport.abort()

    def _note(self, violation: str) -> None:
        if violation in self.violations or len(self.violations) < VIOLATIONS_MAX:
            self.violations[violation] += 1

    def _epoch_ms(self, at_ms: float) -> int:
        return round(self._zero_epoch_ms + at_ms)

    def _encode(self, sound: Samples) -> bytes:
        if self._stream.encoding == "audio/x-mulaw":
            return to_mulaw(sound)
        return to_l16(sound, self._stream.rate_hz)


def _status(answer: Played | Cleared) -> tuple[str, dict[str, str]]:
    """Return the status callback for an acknowledgement of the playback queue."""
    return ("PlayedStream", {"name": answer.name}) if isinstance(answer, Played) else ("ClearedAudio", {})


async def _connected(url: str, subprotocol: str | None) -> ClientConnection:
    """Open the socket as the carrier does: no User-Agent, no credentials, no extension.  Raises `StreamRefused`."""
    try:
        return await connect(
            url,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            compression=None,
            user_agent_header=None,
            proxy=None,
            open_timeout=OPEN_DEADLINE_S,
            close_timeout=CLOSE_DEADLINE_S,
            ping_interval=None,
            max_size=MESSAGE_BYTES_MAX,
        )
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        # The text of the error may contain the URL, which contains a secret.
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise StreamRefused(f"HTTP status {status}" if status else type(error).__name__) from error
