"""Providers and a carrier for calls on a virtual clock.

Speech is text that can be heard: each character is 60 ms of frames filled with its code, so what an ear understands
and what a caller heard can be read off the audio itself, to the frame.
"""

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from workers.providers.interfaces import (
    CharTimings,
    ChatMessage,
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    Piece,
    Sound,
    SpeechEnd,
    SpeechStart,
    SttEvent,
    ToolCall,
    VoiceOptions,
    after,
)

FRAMES_PER_CHARACTER = 3
SILENCE = b"\xff" * 160


def spoken(text: str) -> list[bytes]:
    """The text as 20 ms frames."""
    return [bytes([ord(character)]) * 160 for character in text for _ in range(FRAMES_PER_CHARACTER)]


def understood(frames: Sequence[bytes]) -> str:
    """The text in the frames; a character counts once its last frame is there.  Music is no text."""
    text = "".join(chr(frame[0]) for frame in frames if frame[0] != 0xFF and frame.count(frame[0]) == len(frame))
    return text[FRAMES_PER_CHARACTER - 1 :: FRAMES_PER_CHARACTER]


class TextEars:
    """Understands spoken text by its audio alone, hence the same after a takeover."""

    def __init__(self, late_seconds: float = 0.0) -> None:
        """`late_seconds`: how long after the end of a turn its words are there, as with a slow transcriber."""
        self.open = 0
        self.late_seconds = late_seconds
        self.ears: list[_TextEar] = []
        self.corrections: dict[str, str] = {}
        """What was likely -> what it turns out to be at the end of the turn."""
        self.refuses = False
        self.goodbye_seconds = 0.0
        """How long an ear takes to leave."""
        self.goodbye_fails = False
        """The vendor is gone when it is left."""

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator["_TextEar"]:
        if self.refuses:
            raise Down("no ears today")
        self.open += 1
        ear = _TextEar(options, self.late_seconds, self.corrections)
        self.ears.append(ear)
        try:
            yield ear
        finally:
            if self.goodbye_seconds:
                await asyncio.shield(asyncio.sleep(self.goodbye_seconds))
            self.open -= 1
            if self.goodbye_fails:
                raise Down("gone before goodbye was said")


class _TextEar:
    OFFSET_MS = 200

    def __init__(self, options: ListenOptions, late_seconds: float, corrections: dict[str, str]) -> None:
        self._corrections = corrections
        self._options = options
        self._late_seconds = late_seconds
        self._error: Exception | None = None
        self._frames: list[bytes] = []
        self._start_ms = self._end_ms = 0
        self._onset = self._offset = False
        self._heard: deque[SttEvent] = deque()
        self._news = asyncio.Event()

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        if mulaw[0] != 0xFF:
            if not self._frames:
                self._start_ms = position_ms
            self._frames.append(mulaw)
            self._end_ms = position_ms + 20
            if self._offset or not self._onset:
                if not self._onset and self._end_ms - self._start_ms < self._options.min_interruption_ms:
                    return
                self._onset, self._offset = True, False
                self._tell(SpeechStart(self._start_ms))
            return
        silence_ms = position_ms + 20 - self._end_ms
        if self._onset and not self._offset and silence_ms >= self.OFFSET_MS:
            self._offset = True
            self._tell(SpeechEnd(self._end_ms))
            if self._options.eager_endpointing_ms and (text := understood(self._frames).strip("~ ")):
                self._tell(EagerEndOfTurn(text, self._start_ms, self._end_ms))
        if self._frames and silence_ms >= self._options.endpointing_ms:
            if self._onset and (text := understood(self._frames).strip("~ ")):  # "~" is a cough
                text = self._corrections.get(text, text)
                utterance = EndOfTurn(text, self._start_ms, self._end_ms, position_ms)
                asyncio.get_running_loop().call_later(self._late_seconds, self._tell, utterance)
            self._frames, self._onset, self._offset = [], False, False

    async def __aiter__(self) -> AsyncIterator[SttEvent]:
        while True:
            while self._heard:
                yield self._heard.popleft()
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()

    def breaks(self) -> None:
        """The vendor's socket dies."""
        self._error = Down("the ear is gone")
        self._news.set()

    def _tell(self, heard: SttEvent) -> None:
        self._heard.append(heard)
        self._news.set()


class Mind:
    """Answers by a table; `asked` holds every request as the model saw it.

    An answer may end with calls of tools: `Let me see. <order_status {"id": "7"}>`.  The key of the table is the last
    message that the model sees: what the caller said, or the result of a tool.
    """

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[list[ChatMessage]] = []
        self.offered: list[list[str]] = []
        """The names of the tools in each request."""
        self.open = 0
        self.word_seconds = 0.02
        self.fails = 0
        self.breaks_after_words = 0
        self.said: list[str] = []
        """How the replies began that it was asked to go on with."""

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict] = (), said: str = ""
    ) -> AsyncIterator[Piece]:
        self.asked.append(list(dialogue))
        self.open += 1
        try:
            if self.fails:
                self.fails -= 1
                raise Down("the model is away")
            text = self._answer(dialogue[-1]["content"])
            if said:
                self.said.append(said)
            self.offered.append([tool["function"]["name"] for tool in tools])
            text, *calls = re.split(r"(?=<\w+(?: |>))", text)
            for number, word in enumerate(after(said, text.strip()).split(" ")):
                if 0 < self.breaks_after_words <= number:
                    raise Down("the model broke off")
                await asyncio.sleep(self.word_seconds)
                if word:
                    yield f"{word} "
            for number, call in enumerate(calls):
                name, _, arguments = call.strip()[1:-1].partition(" ")
                yield ToolCall(f"call_{number}", name, arguments or "{}")
        finally:
            self.open -= 1

    def _answer(self, last: str) -> str:
        """The answer to the last message; without one, to what the caller said behind the notes in brackets."""
        spoken_words = re.sub(r"^(?:\[[^\]]*\] ?)+", "", last)
        return self.answers.get(last) or self.answers.get(spoken_words, "I do not know.")


class Mouth:
    """Speaks text as audio that can be read; `said` holds every clause it was given, `cut` those it did not finish."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.cut: list[str] = []
        self.first_chunk_seconds = 0.05
        self.chunk_seconds = 0.005
        self.fails = 0
        self.empty = 0
        """So many clauses end in order and without audio."""
        self.breaks_after_ms = 0
        self.spells = False

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        self.said.append(text)
        try:
            async for sound in self._sounds(text):
                yield sound
        except (asyncio.CancelledError, GeneratorExit):
            self.cut.append(text)
            raise

    async def _sounds(self, text: str) -> AsyncIterator[Sound]:
        await asyncio.sleep(self.first_chunk_seconds)
        if self.fails:
            self.fails -= 1
            raise Down("the voice is away")
        if self.empty:
            self.empty -= 1
            return
        audio = b"".join(spoken(text))
        if self.spells:
            yield CharTimings(tuple((index, index * 60) for index in range(len(text))))
        if self.breaks_after_ms:
            yield audio[: self.breaks_after_ms * 8]
            raise Down("the voice broke off")
        for at in range(0, len(audio), 7000):  # not a whole number of frames
            yield audio[at : at + 7000]
            await asyncio.sleep(self.chunk_seconds)


class CarrierLine:
    """A `MediaSocket` (edge/session) to a carrier that plays in real time and answers checkpoints and clears."""

    CLEAR_SECONDS = 0.02

    def __init__(self, deliver: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._deliver = deliver
        self._queue: list[tuple[float, bytes]] = []  # (start of play, frame), in order
        self._marks: list[tuple[asyncio.TimerHandle, str]] = []
        self._dry_at = 0.0
        self._clearing = False
        self.clears: list[float] = []
        self.stopped = False
        self.answers_marks = True
        self.unsent_bytes = 0
        self.listeners: list[Callable[[bytes], None]] = []
        """Called with each frame as it is sent, heard or not."""

    def send_texts(self, messages: list[bytes]) -> None:
        for message in messages:
            self._take(json.loads(message))

    def heard(self) -> str:
        """What the caller has heard so far, to the character."""
        return understood([frame for start, frame in self._queue if start < self._loop.time()])

    @property
    def quiet(self) -> bool:
        return self._dry_at <= self._loop.time()

    def _take(self, message: dict) -> None:
        now = self._loop.time()
        match message["event"]:
            case "playAudio":
                frame = b64decode(message["media"]["payload"])
                assert len(frame) == 160, "whole 20 ms frames only"
                for listener in self.listeners:
                    listener(frame)
                if self._clearing:
                    raise AssertionError("audio before clearedAudio: the carrier may drop it")
                start = max(self._dry_at, now)
                self._queue.append((start, frame))
                self._dry_at = start + 0.02
            case "checkpoint":
                handle = self._loop.call_at(max(self._dry_at, now), self._played, message["name"])
                self._marks.append((handle, message["name"]))
            case "clearAudio":
                self.clears.append(now)
                self._queue = [item for item in self._queue if item[0] < now]
                self._dry_at = now
                for handle, _ in self._marks:
                    handle.cancel()
                self._marks.clear()
                self._clearing = True
                self._loop.call_later(self.CLEAR_SECONDS, self._cleared)
            case "stop":
                self.stopped = True

    def _played(self, name: str) -> None:
        if self.answers_marks:
            self._deliver(json.dumps({"event": "playedStream", "name": name}))

    def _cleared(self) -> None:
        self._clearing = False
        self._deliver('{"event":"clearedAudio"}')


def media(frame: bytes) -> str:
    return json.dumps({"event": "media", "media": {"track": "inbound", "payload": b64encode(frame).decode()}})
