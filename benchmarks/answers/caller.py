"""Simulates one caller at the carrier: a raw socket, prebuilt frames, and the buffer that plays the agent's audio.

Speech is a loud signal that begins with the caller's number, by which a stand-in identifies the caller
(`caller_number`); silence is mu-law silence.
"""

from __future__ import annotations

import json
from array import array
from binascii import a2b_base64
from collections import deque
from dataclasses import dataclass, field

from benchmarks.answers.plan import FRAME_NS, PAUSE, SPEECH
from benchmarks.bare_socket import FRAME_BYTES, BareSocket, media_frame

NS_PER_BYTE = 125_000
SILENCE = b"\xff"
_QUIET = b"\xff\x7f"
_MARK = bytes((0x1A, 0x9B, 0x1C, 0x9D, 0x1E, 0x9F))
"""Loud bytes; two more loud bytes follow, the number in base 16."""
CALLERS_MAX = 256


@dataclass(slots=True)
class CallerRecord:
    """The audio that caller `number` sent and received in one call; all times are `time.monotonic_ns`.

    `bursts`: first and last frame sent of each speech.  `frames`: arrival, bytes, and whether it is audible, of each
    message of audio.  `clears`: arrivals of `clearAudio`.
    `speaking_ns`: when a speech began that has not ended; 0: none.
    """

    number: int
    bursts: list[tuple[int, int]] = field(default_factory=list)
    arrived: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("l"))
    audible: array[int] = field(default_factory=lambda: array("b"))
    clears: array[int] = field(default_factory=lambda: array("q"))
    speaking_ns: int = 0


def speech_frame(number: int) -> bytes:
    """Return 20 ms of a loud 1 kHz signal of caller `number`."""
    tone = bytes((0x10, 0x10, 0x10, 0x10, 0x90, 0x90, 0x90, 0x90)) * (FRAME_BYTES // 8)
    head = _MARK + bytes((number // 16, number % 16))
    return head + tone[len(head) :]


def caller_number(mulaw: bytes) -> int:
    """Return the number of the caller whose audio this is; -1 if there is none in it."""
    at = mulaw.find(_MARK) + len(_MARK)
    return mulaw[at] * 16 + mulaw[at + 1] if len(_MARK) <= at < len(mulaw) - 1 else -1


class LoadCaller:
    """One caller: call `speak` every 20 ms, and `hear` whenever the socket can be read."""

    def __init__(self, socket: BareSocket, call_id: str, number: int, frames: tuple[str, ...], begin: int) -> None:
        """Speak on an open socket.  `frames` is the script, `begin` the number of this caller's first frame."""
        self.heard = CallerRecord(number)
        self._call_id = call_id
        self._frames, self._at = frames, begin
        self._media = [media_frame(self._call_id, mulaw) for mulaw in (SILENCE * FRAME_BYTES, speech_frame(number))]
        self._spoke = False
        self._dry_ns = 0  # time at which the buffer will be empty
        self._marks: deque[tuple[int, str]] = deque()
        self.socket = socket

    def speak(self, now: int) -> None:
        """Send the next 20 ms of the script, and `playedStream` for checkpoints that were passed."""
        kind = self._frames[self._at]
        self._at = (self._at + 1) % len(self._frames)
        speaks = kind in (SPEECH, PAUSE)
        if speaks and not self._spoke:
            self.heard.speaking_ns = now
        elif self._spoke and not speaks and self.heard.speaking_ns:
            self.heard.bursts.append((self.heard.speaking_ns, now - FRAME_NS))
            self.heard.speaking_ns = 0
        self._spoke = speaks
        self.socket.send(self._media[kind == SPEECH])
        while self._marks and self._marks[0][0] <= now:
            self.socket.say({"event": "playedStream", "streamId": self._call_id, "name": self._marks.popleft()[1]})

    def hear(self, now: int) -> None:
        """Read and record the received messages."""
        for text in self.socket.texts():
            self._take(text, now)

    def _take(self, text: bytes, now: int) -> None:
        begin = text.find(b'"payload":"')
        if begin >= 0:
            mulaw = a2b_base64(text[begin + 11 : text.index(b'"', begin + 11)])
            self.heard.arrived.append(now)
            self.heard.sizes.append(len(mulaw))
            self.heard.audible.append(bool(mulaw.strip(_QUIET)))
            self._dry_ns = max(self._dry_ns, now) + len(mulaw) * NS_PER_BYTE
            return
        message = json.loads(text)
        if message["event"] == "checkpoint":
            self._marks.append((max(self._dry_ns, now), message["name"]))
        elif message["event"] == "clearAudio":
            self.heard.clears.append(now)
            self._dry_ns = now
            self._marks.clear()
            self.socket.say({"event": "clearedAudio", "streamId": self._call_id})
