"""Encodes text as audio that can be read back exactly: one tone of 20 ms for each character.  Pure.

    START c h a r a c t e r s CHECK END        (each a frame of 160 mu-law bytes; 27 letters take 0.6 s)

Every tone has whole periods in a frame, so that a character is one constant frame and reading is a look-up.  That
suffices, since the platform must not change the audio: a frame that was changed, cut or mixed is `unreadable`, which
is a finding.  Silence between frames (a starved playout) does not change the text; a lost or repeated frame does, and
CHECK shows it.  A phrase that a broken connection tore may go on without a START, with a word or a letter of it; then
it is read as one.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

from common.audio.g711 import FRAME_BYTES, FRAME_MS, SAMPLE_RATE, SILENCE, encode

ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:;"
UNKNOWN = "?"
"""Stands for a character that has no tone."""
_FIRST_HZ, _STEP_HZ, _LOUDNESS = 400, 1000 // FRAME_MS, 8000
QUIET = SILENCE * FRAME_BYTES


def _tone(number: int) -> bytes:
    hz = _FIRST_HZ + number * _STEP_HZ
    wave = (round(_LOUDNESS * math.sin(2 * math.pi * hz * k / SAMPLE_RATE)) for k in range(FRAME_BYTES))
    return encode(array("h", wave).tobytes())


_FRAMES = [_tone(number) for number in range(len(ALPHABET) + 2)]
_START, _END = _FRAMES[-2:]
_NUMBER = {frame: number for number, frame in enumerate(_FRAMES)}


def spoken(text: str) -> bytes:
    """Return the text as mu-law audio in whole frames.  Capitals become small letters."""
    numbers = [ALPHABET.index(c if c in ALPHABET else UNKNOWN) for c in " ".join(text.lower().split())]
    check = sum((position + 1) * number for position, number in enumerate(numbers)) % len(ALPHABET)
    return b"".join([_START, *(_FRAMES[number] for number in [*numbers, check]), _END])


def is_quiet(frame: bytes) -> bool:
    """Return whether the frame is digital silence, of either sign."""
    return not frame.strip(b"\xff\x7f")


@dataclass(frozen=True, slots=True)
class Phrase:
    """The text read from START to END, or until a break (`whole` False)."""

    text: str
    began_ms: float
    ended_ms: float
    whole: bool


class Reader:
    """Reads the frames of one call in the order in which they are heard."""

    def __init__(self, may_go_on: bool = False) -> None:
        """With `may_go_on` the rest of a torn phrase may follow without another START."""
        self._may_go_on = may_go_on
        self._numbers: list[int] | None = None
        self._began_ms = self._ended_ms = 0.0
        self._before: list[int] = []  # the previous phrase, whose end may be repeated after a broken connection
        self._torn = self._goes_on = False
        self.unreadable = 0
        """Number of frames that are no known tone, or not expected where they are."""

    @property
    def inside(self) -> bool:
        """Whether a phrase is incomplete."""
        return self._numbers is not None

    @property
    def _has_before(self) -> bool:
        return self._may_go_on and (self._torn or bool(self._before))

    @property
    def so_far(self) -> str:
        """The characters of the incomplete phrase."""
        return _text(self._numbers or [])

    def feed(self, at_ms: float, frame: bytes) -> list[Phrase]:
        """Take the frame that is heard from `at_ms` on; return the phrases that it completes or tears."""
        if is_quiet(frame):
            return []
        number = _NUMBER.get(frame)
        if number is None or (self._numbers is None and number != len(ALPHABET) and not self._has_before):
            self.unreadable += 1
            return []
        if number == len(ALPHABET):
            torn = self.torn()
            self._numbers, self._began_ms, self._ended_ms = [], at_ms, at_ms + FRAME_MS
            self._goes_on = False
            return torn
        if self._numbers is None:
            self._numbers, self._began_ms, self._goes_on = [], at_ms, True
        self._ended_ms = at_ms + FRAME_MS
        if number > len(ALPHABET):
            return self._finished()
        assert self._numbers is not None
        self._numbers.append(number)
        return []

    def torn(self) -> list[Phrase]:
        """Return the incomplete phrase at the end of a call or connection."""
        numbers, self._numbers = self._numbers, None
        if numbers is None:
            return []
        self._before, self._torn = _joined(self._before, numbers) if self._goes_on else numbers, True
        return [Phrase(_text(numbers), self._began_ms, self._ended_ms, whole=False)]

    def _finished(self) -> list[Phrase]:
        numbers, self._numbers = self._numbers, None
        assert numbers is not None
        if self._goes_on:
            numbers = _joined(self._before, numbers)
            if not self._torn:
                return []  # the repeated end of a complete phrase, since the platform did not know that it was heard
        self._before, self._torn = numbers, False
        *body, check = numbers or [-1]
        right = check == sum((position + 1) * number for position, number in enumerate(body)) % len(ALPHABET)
        return [Phrase(_text(body if right else numbers), self._began_ms, self._ended_ms, whole=right)]


def _joined(before: list[int], rest: list[int]) -> list[int]:
    """Join a torn phrase and its rest, and remove the overlap."""
    overlap = next(size for size in range(len(before), -1, -1) if before[len(before) - size :] == rest[:size])
    return before + rest[overlap:]


def _text(numbers: list[int]) -> str:
    return "".join(ALPHABET[number] for number in numbers if number >= 0)
