"""Simulates one caller: phones in through /answer, follows the XML, and talks until `quit`, whatever breaks.

It is the carrier's side of the connection, too: it reopens a lost connection as `maxRetries` allows, with the same URL
and callId and a new streamId; the audio in the queue is lost.  Retries are counted anew for each loss (Vobiz's
documents leave this open).  A close with 1000, or `stop`, means that the agent ended the call, or that it transfers the
caller: with a `Switchboard` the caller finds out.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidState

from benchmarks.chaos.line import Microphone, Receiver
from benchmarks.chaos.sentences import NUMBER_MAX, POISON, question
from benchmarks.chaos.switchboard import Switchboard
from benchmarks.chaos.tones import Reader, is_quiet, spoken
from benchmarks.chaos.transfers import person_for
from benchmarks.chaos.turns import ANSWER_MS_MAX, IN_FLIGHT_MS, AwayTime, Lived, Turn
from common.audio.g711 import FRAME_MS
from simulators.answer import CallDropped, Stream
from simulators.stream_messages import Checkpoint, ClearAudio, PlayAudio, Spelling, Stop, Writer, read_message
from simulators.webhooks import Hangup, Party, fetch_answer, report_hangup

FROM, TO = "+911234567890", "+911234567891"
ANSWER_S, OPEN_S, CLOSE_S = 5.0, 5.0, 1.0
RETRY_S = 0.5
"""Pause before the carrier reconnects; its back-off is unknown."""
SETTLED_MS = 1200.0
"""Pause of a caller after a reconnection; longer than any endpointing."""
GREETING_MS_MAX = 6000.0
PAUSE_MS = (300.0, 700.0)
"""Pause between an answer and the next sentence."""


@dataclass(slots=True)
class Connection:
    """One media stream of the call."""

    socket: ClientConnection
    stream_id: str
    writer: Writer


class Caller:
    """One caller: `run` it; `quit` lets it finish its turn and hang up.  `lived` is the record of the call."""

    def __init__(
        self, url: str, number: int, seed: int, starts_in_s: float = 0.0, switchboard: Switchboard | None = None
    ) -> None:
        self.lived = Lived(number, f"chaos-{uuid4()}")
        self.lateness_ms: list[float] = []
        self._url = url
        self._switchboard = switchboard
        self._starts_in_s = starts_in_s
        self._random = random.Random(seed * 1000 + number)
        self._party = Party(self.lived.call_id, FROM, TO, datetime.now(UTC))
        self._microphone, self._receiver, self._reader = Microphone(), Receiver(), Reader(may_go_on=True)
        self._connection: Connection | None = None
        self._back_ms = self._sounded_ms = self._voiced_ms = 0.0
        self._next_ms = 0.0
        self._quit = self._over = False
        self._poisoned = False

    def poison(self) -> None:
        """From now on say the word that kills a worker."""
        self._poisoned = True

    def quit(self) -> None:
        """Stop asking; hang up when the last answer is over."""
        self._quit = True

    def vanish(self) -> None:
        """Disappear: reset the connection, send no `stop` and no webhook, and do not reconnect."""
        self._die("vanished")
        if self._connection is not None:
            self._connection.socket.transport.abort()

    async def run(self) -> None:
        """Run the whole call."""
        await asyncio.sleep(self._starts_in_s)
        began = _now_ms()
        try:
            answered = await fetch_answer(f"{self._url}/answer", self._party, ANSWER_S)
            self._connection = await self._connect(answered.stream)
        except (CallDropped, OSError, TimeoutError, InvalidHandshake) as error:
            self._die(f"never began: {type(error).__name__}")
            return
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(answered.stream), name=f"ear {self.lived.caller}")
            await self._talk()
            self._over = True
            if self._connection is not None:
                await _close(self._connection.socket)
            listening.cancel()
        self.lived.unreadable = self._reader.unreadable
        self._keep(*self._receiver.heard(_now_ms()))
        for phrase in self._reader.torn():
            self.lived.hears(phrase)
        if not self.lived.died:
            hangup = Hangup(4000, "Normal Hangup", "Caller")
            await report_hangup(f"{self._url}/hangup", self._party, (_now_ms() - began) / 1000, hangup)

    # --- sending, and the clock ---

    async def _talk(self) -> None:
        """Every 20 ms until the end, send a frame and play a frame."""
        loop = asyncio.get_running_loop()
        zero, frame = loop.time(), 0
        wall = _now_ms()
        self._next_ms = wall + GREETING_MS_MAX
        while not self._over:
            frame += 1
            due = zero + frame * FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.lateness_ms.append((loop.time() - due) * 1000)
            now = wall + (loop.time() - zero) * 1000
            self._keep(*self._receiver.heard(now))
            self._decide(now)
            self._say(now)

    def _say(self, now: float) -> None:
        speaking = self._microphone.speaking
        sound = self._microphone.frame()
        turn = self.lived.turns[-1] if self.lived.turns else None
        if speaking and turn is not None:
            self._voiced_ms = now
            turn.cut = turn.cut or self._connection is None
            if not self._microphone.speaking:
                turn.asked_ms = now
        if self._connection is not None:
            self._send(self._connection.writer.media(sound, round(now)))

    def _decide(self, now: float) -> None:
        """Say the next sentence or end the call, if it is time."""
        turn = self.lived.turns[-1] if self.lived.turns else None
        if self._microphone.speaking:
            return
        if turn is not None and not turn.cut and not turn.answered and now - turn.asked_ms < ANSWER_MS_MAX:
            self._next_ms = now + self._random.uniform(*PAUSE_MS)
            return
        if turn is None and self.lived.greeted:
            self._next_ms = min(self._next_ms, now + self._random.uniform(*PAUSE_MS))
        if self._quit:
            self._over = self._over or turn is None or now - self._sounded_ms > PAUSE_MS[0]
            return
        settled = self._connection is not None and now - self._back_ms >= SETTLED_MS
        if now < self._next_ms or not settled or now - self._sounded_ms < PAUSE_MS[0]:
            return
        if len(self.lived.turns) > NUMBER_MAX:
            self._over = True
            return
        self.lived.turns.append(Turn(len(self.lived.turns), now))
        asked = question(self.lived.caller, self.lived.turns[-1].number)
        self._microphone.say(spoken(f"{POISON} {asked}" if self._poisoned else asked))

    # --- receiving ---

    @property
    def _waits_for_a_person(self) -> bool:
        """Whether the next sound is the announcement of a transfer."""
        turn = self.lived.turns[-1] if self.lived.turns else None
        asked = turn is not None and bool(turn.asked_ms) and not turn.first_ms
        away = any(each.turn == turn.number for each in self.lived.aways) if turn is not None else True
        return asked and not away and bool(person_for(question(self.lived.caller, self.lived.turns[-1].number)))

    def _keep(self, frames: list[tuple[float, bytes]], marks: list[str]) -> None:
        for at_ms, frame in frames:
            if not is_quiet(frame):
                self._sounded_ms = at_ms
                if self._switchboard is not None and self._waits_for_a_person:
                    self._switchboard.reach("announced")
                self.lived.sounds(at_ms)
            for phrase in self._reader.feed(at_ms, frame):
                self.lived.hears(phrase)
        for name in marks:
            if self._connection is not None:
                self._send(self._connection.writer.played(name))

    async def _listen(self, stream: Stream) -> None:
        """Receive the server's messages; reconnect when the connection is lost."""
        while not self._over:
            assert self._connection is not None
            clean = await self._receive(self._connection)
            if self._over:
                return None
            if not clean:
                self._lose()
                self._connection = await self._again(stream)
                self.lived.breaks[-1] = (self.lived.breaks[-1][0], _now_ms())
            elif self._switchboard is None:
                return self._die(f"ended by the agent ({clean})")
            if self._switchboard is not None and (clean or self._connection is None):
                stream = await self._follow(self._switchboard, stream)
            if self._connection is None:
                return self._die(clean or f"the carrier gave up after {stream.max_retries} retries")
            self._back_ms = _now_ms()
        return None

    async def _follow(self, switchboard: Switchboard, stream: Stream) -> Stream:
        """Ask what follows the stream, and connect to the stream that does; without one there is no connection."""
        left, self._connection = self._connection, None
        if left is not None:
            self._drop_queue(_now_ms())
            await _close(left.socket)
        turn = self.lived.turns[-1] if self.lived.turns else Turn(-1, _now_ms())
        away = AwayTime(turn.number, _now_ms())
        self.lived.aways.append(away)

        def unanswered(at_ms: float) -> None:
            self.lived.aways[-1] = replace(away, unanswered_ms=at_ms)
            turn.asked_ms = at_ms  # the wait for the agent begins anew
            turn.first_ms = turn.last_ms = turn.silence_ms = 0.0

        found = await switchboard.follow(self._party, unanswered)
        if found is not None:
            self._connection = await self._open(found)
        return found or stream

    async def _open(self, stream: Stream) -> Connection | None:
        try:
            return await self._connect(stream)
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed):
            return await self._again(stream)

    async def _receive(self, connection: Connection) -> str:
        """Receive until the socket closes; return how the agent ended it, "" if it was lost."""
        while True:
            try:
                received = read_message(await connection.socket.recv(), connection.stream_id)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                return f"close {code}" if code in (1000, 1005) else ""
            now = _now_ms()
            match received.command:
                case PlayAudio(payload):
                    self._receiver.play(payload, now)
                case Checkpoint(name):
                    self._receiver.mark(name, now)
                case ClearAudio():
                    self._receiver.clear(now)
                    self._send(connection.writer.cleared())
                case Stop():
                    return "stop"

    def _lose(self) -> None:
        now = _now_ms()
        self._drop_queue(now)
        self._connection = None
        self.lived.breaks.append((now, 0.0))
        if self.lived.turns and now - self._voiced_ms < IN_FLIGHT_MS:
            self.lived.turns[-1].cut = True

    def _drop_queue(self, now: float) -> None:
        self._keep(*self._receiver.heard(now))
        self._receiver.clear(now)
        for phrase in self._reader.torn():  # the next edge may go on within it
            self.lived.hears(phrase)

    async def _again(self, stream: Stream) -> Connection | None:
        for _ in range(stream.max_retries):
            await asyncio.sleep(RETRY_S)
            try:
                return await self._connect(stream)
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed):
                continue
        return None

    async def _connect(self, stream: Stream) -> Connection:
        stream_id = str(uuid4())
        socket = await connect(
            stream.url, compression=None, user_agent_header=None, proxy=None, ping_interval=None,
            open_timeout=OPEN_S, close_timeout=CLOSE_S,
        )  # fmt: skip
        writer = Writer(self.lived.call_id, stream_id, stream.encoding, stream.rate_hz, Spelling())
        await socket.send(writer.start(FROM.lstrip("+"), TO.lstrip("+")))
        return Connection(socket, stream_id, writer)

    def _send(self, text: str) -> None:
        """Send without waiting; an error is left to the receiving loop, which sees the loss itself."""
        if self._connection is None or self._connection.socket.transport.is_closing():
            return
        socket = self._connection.socket
        try:
            socket.protocol.send_text(text.encode())
        except (InvalidState, ConnectionClosed):
            return
        socket.send_data()

    def _die(self, why: str) -> None:
        self.lived.died = why
        self._over = True


def _now_ms() -> float:
    return time.time() * 1000


async def _close(socket: ClientConnection) -> None:
    try:
        async with asyncio.timeout(2 * CLOSE_S):
            await socket.close(1000)
    except TimeoutError:
        socket.transport.abort()
