"""Ears, mind and mouth of the simulation.  Every word is its own name, so that what is lost or repeated shows.

A caller's frame says which word it is of; an ear understands a word once it has heard its last frame.  The mind
answers with words named for the last word that it was asked, whichever worker asks, and however often.  A frame of a
mouth says which saying (`Saying`) it is of, and its number in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from struct import pack, unpack_from
from typing import Any

from common.protocol.messages import AudioOut
from workers.providers.interfaces import (
    Busy,
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

FRAME_BYTES = 160
SILENCE = b"\xff" * FRAME_BYTES
SILENT, WORD, NOISE = 0xFF, 1, 2
FRAMES_PER_WORD = 12
FRAMES_PER_CHARACTER = 3
OFFSET_MS = 200
LAST_WORD = "bye"
"""A caller's word that begins so makes the agent hang up."""
ENDING = "Goodbye"
MUMBLING = "mumbling"
"""A word that is not understood yet."""


def syllables(number: int) -> str:
    """A number as a word."""
    return "".join("bdfgklmnpr"[int(digit)] + "aeiou"[int(digit) % 5] for digit in str(number))


def word_frames(number: int) -> list[bytes]:
    """A caller's word as 20 ms frames."""
    return [pack(">BHB", WORD, number, index).ljust(FRAME_BYTES, b"\0") for index in range(FRAMES_PER_WORD)]


def noise_frames(count: int) -> list[bytes]:
    """A cough."""
    return [pack(">B", NOISE).ljust(FRAME_BYTES, b"\0")] * count


def word_ended(frame: bytes) -> int | None:
    """The word whose last frame this is."""
    if frame[0] != WORD:
        return None
    _, number, index = unpack_from(">BHB", frame)
    return int(number) if index == FRAMES_PER_WORD - 1 else None


@dataclass(frozen=True, slots=True)
class Faults:
    """How often the vendors fail, and how slow they are."""

    ear_late_s: float = 0.0
    ear_breaks: float = 0.0
    """How likely an ear breaks at the start of a speech."""
    likely_wrong: float = 0.0
    """How likely the last word of what was likely said is not yet understood."""
    token_s: float = 0.02
    mind_fails: float = 0.0
    """How likely each request and each word fails."""
    first_sound_s: float = 0.05
    chunk_bytes: int = 7000
    """A voice's piece of audio: not a whole number of frames."""
    chunk_s: float = 0.005
    """Its pause after each."""
    mouth_fails: float = 0.0
    spells: bool = False
    """Does the voice say when each character is heard?"""


@dataclass(frozen=True, slots=True)
class Vendors:
    """What all workers of all pools share: the outside world."""

    faults: Faults
    random: Random
    wrong: Callable[[str], None]
    """Told of what must not be."""
    vocabulary: dict[int, str] = field(default_factory=dict)
    """The callers' words by number."""
    sayings: dict[int, Saying] = field(default_factory=dict)
    open: Counter[str] = field(default_factory=Counter)
    """Ears, requests and sayings that are under way."""


@dataclass(slots=True)
class Saying:
    """A mouth says one text.  What it is a part of is learned when its first frame is published."""

    number: int
    text: str
    failed_at: int = -1
    """Frame before which the voice failed; -1: it did not."""
    about: AudioOut | None = None
    epochs: set[int] = field(default_factory=set)
    """Connections of the call that it was sent to: a lost one's sound is sent to the next again."""
    first_seq: int = 0
    """Which frame of its clause its first one is: not 0 if another voice broke off."""

    @property
    def frames(self) -> int:
        return len(self.text) * FRAMES_PER_CHARACTER

    def place(self, audio: AudioOut) -> None:
        """This was sent of it."""
        self.epochs.add(audio.epoch)
        if self.about is None:
            self.about = audio
            self.first_seq = audio.seq - saying_of(audio.mulaw)[1]


def saying_of(frame: bytes) -> tuple[int, int]:
    """(number of the saying, number of the frame in it)."""
    number, index = unpack_from(">II", frame)
    return int(number), int(index)


@dataclass(frozen=True, slots=True)
class Ears:
    """See `workers.providers.interfaces.SpeechToText`."""

    vendors: Vendors

    @contextlib.asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[Ear]:
        vendors = self.vendors
        if vendors.random.random() < vendors.faults.ear_breaks:
            raise Busy("no ear is free")
        vendors.open["ear"] += 1
        try:
            yield Ear(options, vendors)
        finally:
            vendors.open["ear"] -= 1

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


class Ear:
    """See `workers.providers.interfaces.Ear`."""

    def __init__(self, options: ListenOptions, vendors: Vendors) -> None:
        self._options = options
        self._vendors = vendors
        self._error: Exception | None = None
        self._words: list[str] = []
        self._next_ms = 0
        self._confused = False
        self._start_ms = self._end_ms = -1
        self._onset = self._offset = self._likely = False
        self._heard: deque[SttEvent] = deque()
        self._news = asyncio.Event()

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        if position_ms < self._next_ms and not self._confused:
            self._confused = True
            self._vendors.wrong(f"an ear is fed {position_ms} ms again, it has heard {self._next_ms} ms")
        self._next_ms = position_ms + 20
        if mulaw[0] == SILENT:
            if self._start_ms >= 0:
                self._silence(position_ms + 20)
            return
        if self._start_ms < 0:
            self._start_ms = position_ms
            if self._vendors.random.random() < self._vendors.faults.ear_breaks:
                self._error = Down("the ear is gone")
                self._news.set()
        self._end_ms = position_ms + 20
        self._likely = False
        if (word := word_ended(mulaw)) is not None:
            self._words.append(self._vendors.vocabulary[word])
        if not self._onset:
            if self._end_ms - self._start_ms >= self._options.min_interruption_ms:
                self._begin(self._start_ms)
        elif self._offset:
            self._begin(position_ms)

    def _begin(self, position_ms: int) -> None:
        self._onset, self._offset = True, False
        self._tell(SpeechStart(position_ms))

    def _silence(self, now_ms: int) -> None:
        silence_ms = now_ms - self._end_ms
        if self._onset and not self._offset and silence_ms >= OFFSET_MS:
            self._offset = True
            self._tell(SpeechEnd(self._end_ms))
        eager_endpointing_ms = self._options.eager_endpointing_ms
        if (
            self._words
            and self._offset
            and not self._likely
            and eager_endpointing_ms
            and silence_ms >= eager_endpointing_ms
        ):
            self._likely = True
            wrong = self._vendors.random.random() < self._vendors.faults.likely_wrong
            words = [*self._words[:-1], MUMBLING] if wrong else self._words
            self._tell(EagerEndOfTurn(" ".join(words), self._start_ms, self._end_ms))
        if silence_ms >= self._options.endpointing_ms:
            if self._words:
                if not self._onset:  # a scrap of speech between two connections
                    self._tell(SpeechStart(self._start_ms))
                    self._tell(SpeechEnd(self._end_ms))
                utterance = EndOfTurn(" ".join(self._words), self._start_ms, self._end_ms, now_ms)
                late_s = self._vendors.faults.ear_late_s
                if late_s:
                    asyncio.get_running_loop().call_later(late_s, self._tell, utterance)
                else:
                    self._tell(utterance)
            self._words = []
            self._start_ms = -1
            self._onset = self._offset = self._likely = False

    async def __aiter__(self) -> AsyncIterator[SttEvent]:
        while True:
            while self._heard:
                yield self._heard.popleft()
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()

    def _tell(self, heard: SttEvent) -> None:
        self._heard.append(heard)
        self._news.set()


@dataclass(frozen=True, slots=True)
class Mind:
    """See `workers.providers.interfaces.LanguageModel`."""

    vendors: Vendors

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), said: str = ""
    ) -> AsyncIterator[Piece]:
        vendors = self.vendors
        self._check(dialogue)
        asked = dialogue[-1]["content"].split(" ")[-1]
        text = answer(asked)
        if after(said, text) == text and said:
            vendors.wrong(f"the mind is told that it said {said!r}, but it says {text!r}")
        vendors.open["mind"] += 1
        try:
            for word in after(said, text).split(" "):
                await asyncio.sleep(vendors.faults.token_s)
                if vendors.random.random() < vendors.faults.mind_fails:
                    raise Down("the model is away")
                if word:
                    yield f"{word} "
            if asked.startswith(LAST_WORD):
                yield ToolCall("call_1", "end_call", "{}")
        finally:
            vendors.open["mind"] -= 1

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...

    def _check(self, dialogue: Sequence[ChatMessage]) -> None:
        roles = [message["role"] for message in dialogue]
        expected = ["system", *(["assistant", "user"] * len(roles))]
        if roles[1:2] == ["user"]:
            expected = ["system", *(["user", "assistant"] * len(roles))]
        if roles != expected[: len(roles)] or roles[-1] != "user":
            self.vendors.wrong(f"a model is asked with {roles}")
        words = Counter(" ".join(message["content"] for message in dialogue if message["role"] == "user").split())
        if twice := [word for word, count in words.items() if count > 1 and word != MUMBLING]:
            self.vendors.wrong(f"a model is told twice of {twice}")


def answer(asked: str) -> str:
    """The whole answer to a caller whose last word was `asked`: one to three sentences of words found nowhere else.

    Letters only: a number would be spoken in other words than it is written.
    """
    count = 1 + sum(map(ord, asked)) % 3
    sentences = [" ".join(f"{asked}{first}{second}" for second in "aei") + "." for first in "xyz"[:count]]
    if asked.startswith(LAST_WORD):
        sentences.append(f"{ENDING} then {asked}.")
    return " ".join(sentences)


def new_saying(vendors: Vendors, text: str) -> Saying:
    """Something is said, or a sound is played that is as long."""
    saying = Saying(len(vendors.sayings) + 1, text)
    vendors.sayings[saying.number] = saying
    return saying


def saying_audio(saying: Saying) -> bytes:
    """All frames of it."""
    return b"".join(pack(">II", saying.number, index).ljust(FRAME_BYTES, b"\0") for index in range(saying.frames))


@dataclass(frozen=True, slots=True)
class Mouth:
    """See `workers.providers.interfaces.TextToSpeech`."""

    vendors: Vendors

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        vendors = self.vendors
        saying = new_saying(vendors, text)
        vendors.open["mouth"] += 1
        try:
            await asyncio.sleep(vendors.faults.first_sound_s)
            if vendors.faults.spells:
                yield CharTimings(tuple((at, at * FRAMES_PER_CHARACTER * 20) for at in range(len(text))))
            audio = saying_audio(saying)
            at = 0
            while at < len(audio):
                if vendors.random.random() < vendors.faults.mouth_fails:
                    if odd := -at % FRAME_BYTES:
                        yield audio[at : at + odd]
                    saying.failed_at = (at + odd) // FRAME_BYTES
                    raise Down("the voice is away")
                yield audio[at : at + vendors.faults.chunk_bytes]
                at += vendors.faults.chunk_bytes
                await asyncio.sleep(vendors.faults.chunk_s)
        finally:
            vendors.open["mouth"] -= 1

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...
