"""The carrier and its callers' phones: sockets that break and come back, and an ear that counts every frame.

A phone speaks whether it is connected or not, as people do; what is said into a broken connection is lost.  A frame
is heard once its playing has begun.
"""

from __future__ import annotations

import asyncio
import json
from binascii import b2a_base64
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import msgspec

from edge.media.websocket import EXTENSION
from tests.simulation.processes import OUTSIDE, ProcessLoop
from tests.simulation.providers import FRAME_BYTES, SILENCE, saying_of, word_ended

FRAME_S = 0.02
CLEAR_SECONDS = 0.02
CONNECTS_MAX = 6
UNOPENED = 0.15
"""How likely the stream of a caller who comes back cannot be opened at all."""
NO_EDGE_SECONDS = 0.3
"""Pause of the carrier when there is no edge to connect to."""


class _Body(msgspec.Struct):
    payload: bytes


class _Play(msgspec.Struct):
    media: _Body


_decode_play = msgspec.json.Decoder(_Play).decode
_PLAY = b'{"event":"playAudio"'


class Listener(Protocol):
    """Is told what goes over the line."""

    def note(self, text: str) -> None: ...

    def begun(self, connection: Connection) -> None: ...

    def severed(self, connection: Connection) -> None: ...

    def spoke(self, phone: Phone, word: int) -> None: ...

    def sent(self, connection: Connection, saying: int, frame: int) -> None: ...

    def heard(self, connection: Connection, saying: int, frame: int) -> None: ...

    def breach(self, text: str) -> None: ...


class EdgeNode(Protocol):
    """An edge, as the carrier sees it."""

    name: str

    def later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> None: ...

    def serve(self, connection: Connection, token: str) -> None: ...


@dataclass(frozen=True, slots=True)
class LineOptions:
    """How this carrier's line is."""

    latency_s: float = 0.0
    payload_frames: int = 5
    """20 ms frames in one media message."""
    lost_answers: float = 0.0
    """How likely a `playedStream` or `clearedAudio` never comes."""
    away_s: tuple[float, float] = (0.1, 1.5)
    """How long until the carrier connects again."""


@dataclass(slots=True)
class Phone:
    """One caller's phone.  `run` it from the answer to the end of the call."""

    call_id: str
    token: str
    options: LineOptions
    loop: ProcessLoop
    listener: Listener
    random: Random
    edges: Callable[[], EdgeNode | None]
    """Whom the load balancer would choose now."""
    speech: deque[bytes] = field(default_factory=deque)
    connection: Connection | None = None
    connections: int = 0
    stops: int = 0
    """How often we told the carrier to end the call."""
    hung_up: bool = False
    spoke_s: float = 0.0
    """When the caller last made a sound."""
    ended: str = ""
    """Why the carrier has no call any more; empty while it has."""
    follow: Callable[[], Awaitable[str]] | None = None
    """Asks what follows when an edge has closed the stream: the token of the next one, or nothing."""
    away: bool = False
    """Is the caller with somebody else than the agent?"""
    hung: Callable[[], None] | None = None
    """Told when the caller hangs up."""

    async def run(self) -> None:
        """Connect, and again after a break; returns when the call is over for the carrier."""
        self._speak(self.loop.time())
        tries = 0
        unopened = 0
        while not self.hung_up and tries < CONNECTS_MAX:
            edge = self.edges()
            if edge is None:
                tries += 1
                await asyncio.sleep(NO_EDGE_SECONDS)
                continue
            self.connections += 1
            tries += 1
            connection = self.connection = Connection(self, edge, self.connections)
            self.listener.note(f"{self.call_id} connects to {edge.name}, connection {self.connections}")
            edge.serve(connection, self.token)
            how = await connection.over
            self.connection = None
            unopened = 0 if connection.epoch or not unopened else unopened + 1
            self.listener.note(f"{self.call_id} connection {connection.number} is {how}")
            if how == "closed":
                if not await self._is_back() or (self.random.random() < UNOPENED and not await self._is_back()):
                    break
                tries, unopened = 0, 1
                continue
            if unopened and (unopened > CONNECTS_MAX // 2 or self.random.random() < 0.3):
                if unopened > CONNECTS_MAX:
                    self.listener.breach(f"{self.call_id}: no edge takes the caller back")
                    break
                if not await self._is_back():  # the document goes on behind the stream that could not be opened
                    break
            await asyncio.sleep(self.random.uniform(*self.options.away_s))
        self.ended = "hung up" if self.hung_up else "closed" if tries < CONNECTS_MAX else "given up"

    async def _is_back(self) -> bool:
        """Does another stream follow?"""
        if self.follow is None or self.hung_up:
            return False
        self.away = True
        self.token = await self.follow()
        self.away = False
        self.stops = 0
        return bool(self.token) and not self.hung_up

    def hang_up(self) -> None:
        """The caller hangs up."""
        self.hung_up = True
        if self.hung is not None:
            self.hung()
        if self.connection is not None:
            self.connection.close()

    def press(self, key: str) -> bool:
        """Press a key; False: there is no stream that takes it."""
        if self.connection is None or not self.connection.press(key):
            return False
        self.spoke_s = self.loop.time()
        return True

    def leave_stream(self) -> None:
        """REST takes the caller off the stream."""
        if self.connection is not None:
            self.connection.close()

    @property
    def quiet(self) -> bool:
        """Is the agent silent, as far as the caller can hear?"""
        return self.connection is None or self.connection.dry_at <= self.loop.time()

    def _speak(self, due: float) -> None:
        if self.ended:
            return
        count = self.options.payload_frames
        if self.speech:
            self.spoke_s = self.loop.time()
        frames = [self.speech.popleft() if self.speech else SILENCE for _ in range(count)]
        for frame in frames:
            if frame is not SILENCE and (word := word_ended(frame)) is not None:
                self.listener.spoke(self, word)
        if self.connection is not None:
            self.connection.speak(b"".join(frames))
        due += count * FRAME_S
        self.loop.call_at(due, self._speak, due, context=OUTSIDE)


class Connection:
    """One media stream: the edge's `WebSocket` and `Line`, and the carrier at its other end."""

    def __init__(self, phone: Phone, edge: EdgeNode, number: int) -> None:
        self._phone = phone
        self._options = phone.options
        self._loop = phone.loop
        self._edge = edge
        self.number = number
        self.over: asyncio.Future[str] = self._loop.create_future()
        self.scope: dict[str, Any] = {"subprotocols": [], "extensions": {EXTENSION: self}}
        self._texts: Callable[[bytes], None] | None = None
        self._closes: Callable[[bool], None] | None = None
        self._open = self._severed = False
        self._queue: deque[tuple[float, int, int]] = deque()  # (start of play, saying, frame)
        self._marks: list[asyncio.TimerHandle] = []
        self._clearing = False
        self.close_sent = False
        self.dry_at = 0.0
        self.epoch = 0

    @property
    def call_id(self) -> str:
        return self._phone.call_id

    @property
    def latency_s(self) -> float:
        return self._options.latency_s

    def begun(self, epoch: int) -> None:
        """The edge has made a call of it, in this epoch."""
        self.epoch = epoch
        self._phone.listener.begun(self)

    # --- what the edge has of it ----------------------------------------------------------------------------------

    async def accept(self, subprotocol: str | None = None) -> None:
        self._at_carrier(self._accepted)

    async def send_denial_response(self, response: Any) -> None:
        self._at_carrier(self._finish, "refused")

    def attach(
        self, on_text: Callable[[bytes], None], on_binary: Callable[[], None], on_close: Callable[[bool], None]
    ) -> None:
        self._texts, self._closes = on_text, on_close

    def send_texts(self, messages: list[bytes]) -> None:
        for message in messages:
            if message.startswith(_PLAY):
                saying, frame = saying_of(_decode_play(message).media.payload)
                self._phone.listener.sent(self, saying, frame)
        if self._options.latency_s:
            self._at_carrier(self._take_all, messages)
        else:
            self._take_all(messages)

    def end(self, code: int = 1000) -> None:
        self.close_sent = True
        self._at_carrier(self._ended_by_edge, code)

    @property
    def unsent_bytes(self) -> int:
        return 0

    # --- the carrier ----------------------------------------------------------------------------------------------

    def speak(self, audio: bytes) -> None:
        """The caller's next frames."""
        if self._open:
            self._tell(_media(audio))

    def press(self, key: str) -> bool:
        """The caller presses a key."""
        if self._open and self.epoch:
            self._tell(json.dumps({"event": "dtmf", "dtmf": {"digit": key}}).encode())
        return self._open and self.epoch > 0

    def close(self) -> None:
        """The caller has hung up."""
        if not self.over.done():
            self._edge.later(self._options.latency_s, self._close_at_edge, True)
            self._finish("closed")

    def sever(self, edge_notices_s: float | None, carrier_notices_s: float) -> None:
        """Nothing gets through any more; each end notices in its own time (None: never)."""
        if self._severed or self.over.done():
            return
        self._settle()
        self._severed, self._open = True, False
        self._phone.listener.severed(self)
        if edge_notices_s is not None:
            self._edge.later(edge_notices_s, self._close_at_edge, False)
        self._loop.call_later(carrier_notices_s, self._finish, "broken", context=OUTSIDE)

    def _accepted(self) -> None:
        if self._severed or self.over.done():
            return
        self._open = True
        stream = f"{self._phone.call_id}-{self.number}"
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
        start = {"callId": self._phone.call_id, "streamId": stream, "mediaFormat": media_format}
        self._tell(json.dumps({"event": "start", "start": start}).encode())

    def _take_all(self, messages: list[bytes]) -> None:
        if self._severed or self.over.done():
            return
        for message in messages:
            if message.startswith(_PLAY):
                self._play(_decode_play(message).media.payload)
            else:
                self._take(json.loads(message))

    def _play(self, frame: bytes) -> None:
        if len(frame) != FRAME_BYTES:
            self._phone.listener.breach(f"{self.call_id}: a frame of {len(frame)} bytes")
        if self._clearing:
            self._phone.listener.breach(f"{self.call_id}: audio before clearedAudio")
        start = max(self.dry_at, self._loop.time())
        self._queue.append((start, *saying_of(frame)))
        self.dry_at = start + FRAME_S

    def _take(self, message: dict[str, Any]) -> None:
        now = self._loop.time()
        match message["event"]:
            case "checkpoint":
                due = max(self.dry_at, now)
                self._marks.append(self._loop.call_at(due, self._played, message["name"], context=OUTSIDE))
                if len(self._marks) > 20:
                    self._marks = [mark for mark in self._marks if mark.when() > now]
            case "clearAudio":
                self._settle()
                self._queue.clear()
                self.dry_at = now
                for mark in self._marks:
                    mark.cancel()
                self._marks.clear()
                self._clearing = True
                self._loop.call_later(CLEAR_SECONDS, self._cleared, context=OUTSIDE)
            case "stop":
                self._phone.stops += 1
                self._phone.listener.note(f"{self.call_id} the carrier is told to stop")
                self.close()

    def _played(self, name: str) -> None:
        if self._phone.random.random() >= self._options.lost_answers:
            self._tell(json.dumps({"event": "playedStream", "name": name}).encode())

    def _cleared(self) -> None:
        self._clearing = False
        if self._phone.random.random() >= self._options.lost_answers:
            self._tell(b'{"event":"clearedAudio"}')

    def _ended_by_edge(self, code: int) -> None:
        if self._severed or self.over.done():
            return
        self._edge.later(self._options.latency_s, self._close_at_edge, True)
        self._phone.listener.severed(self)
        self._finish("closed" if code == 1000 else "sent away" if self._open else "refused")

    def _finish(self, how: str) -> None:
        self._settle()
        self._queue.clear()
        self._open = False
        for mark in self._marks:
            mark.cancel()
        if not self.over.done():
            self.over.set_result(how)

    def _settle(self) -> None:
        """Tell what was heard so far."""
        now = self._loop.time()
        while self._queue and self._queue[0][0] < now:
            _, saying, frame = self._queue.popleft()
            self._phone.listener.heard(self, saying, frame)

    def hear(self) -> None:
        """Tell now what was heard so far."""
        if not self._severed:
            self._settle()

    # --- the wire -------------------------------------------------------------------------------------------------

    def _tell(self, text: bytes) -> None:
        if not self._severed:
            self._edge.later(self._options.latency_s, self._arrive, text)

    def _arrive(self, text: bytes) -> None:
        if not self._severed and self._texts is not None:
            self._texts(text)

    def _close_at_edge(self, clean: bool) -> None:
        if self._closes is not None:
            self._closes(clean)

    def _at_carrier(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._loop.call_later(self._options.latency_s, callback, *arguments, context=OUTSIDE)


def _media(audio: bytes) -> bytes:
    return b'{"event":"media","media":{"track":"inbound","payload":"%b"}}' % b2a_base64(audio, newline=False)
