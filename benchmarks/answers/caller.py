"""One caller at the carrier: a raw socket, frames built beforehand, and the buffer that plays what the agent sends.

Speech is a loud signal that begins with the caller's number, so that a stand-in can say whose audio it hears
(`caller_number`); silence is mu-law silence.
"""

from __future__ import annotations

import contextlib
import json
import socket
from array import array
from base64 import b64encode
from binascii import a2b_base64
from collections import deque
from dataclasses import dataclass, field

from benchmarks.answers.plan import FRAME_NS
from benchmarks.lines import CLOSE, CONNECT_SECONDS, HEAD_BYTES_MAX, PING, READ_BYTES, TEXT, LineBroken, masked

FRAME_BYTES = 160
NS_PER_BYTE = 125_000
SILENCE = b"\xff"
_QUIET = b"\xff\x7f"
_MARK = bytes((0x1A, 0x9B, 0x1C, 0x9D, 0x1E, 0x9F))
"""All loud; two more loud bytes follow, the number in base 16."""
CALLERS_MAX = 256


@dataclass(slots=True)
class Heard:
    """What one caller did and heard; all times are `time.monotonic_ns`.

    `bursts`: first and last frame sent of each speech.  `frames`: arrival, bytes, and whether it is audible, of each
    message of audio.  `clears`: arrivals of `clearAudio`.
    """

    bursts: list[tuple[int, int]] = field(default_factory=list)
    arrived: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("l"))
    audible: array[int] = field(default_factory=lambda: array("b"))
    clears: array[int] = field(default_factory=lambda: array("q"))


def speech_frame(number: int) -> bytes:
    """20 ms of a loud 1 kHz signal of caller `number`."""
    tone = bytes((0x10, 0x10, 0x10, 0x10, 0x90, 0x90, 0x90, 0x90)) * (FRAME_BYTES // 8)
    head = _MARK + bytes((number // 16, number % 16))
    return head + tone[len(head) :]


def caller_number(mulaw: bytes) -> int:
    """Whose audio it is; -1 if that cannot be heard."""
    at = mulaw.find(_MARK) + len(_MARK)
    return mulaw[at] * 16 + mulaw[at + 1] if len(_MARK) <= at < len(mulaw) - 1 else -1


class Caller:
    """See the module.  `speak` every 20 ms, `hear` whenever the socket can be read."""

    def __init__(self, port: int, number: int, frames: tuple[bool, ...], begin: int) -> None:
        """Connects at once.  `frames` is the script, `begin` the frame with which this caller begins."""
        self.heard = Heard()
        self._call_id = f"bench-{number:04d}"
        self._frames, self._at = frames, begin
        self._media = [_media_frame(self._call_id, mulaw) for mulaw in (SILENCE * FRAME_BYTES, speech_frame(number))]
        self._spoke = False
        self._first_ns = 0
        self._dry_ns = 0  # when the buffer will be empty
        self._marks: deque[tuple[int, str]] = deque()
        self.socket = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = self._upgrade()
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
        start = {"callId": self._call_id, "streamId": self._call_id, "mediaFormat": media_format}
        self._say({"event": "start", "start": start})
        self.socket.setblocking(False)

    def _upgrade(self) -> bytes:
        """The WebSocket handshake; returns what came behind it."""
        self.socket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
            data = self.socket.recv(READ_BYTES)
            if not data:
                break
            head += data
        if not head.startswith(b"HTTP/1.1 101 "):
            raise LineBroken(f"expected an upgrade, got {head[:20]!r}")
        return head.partition(b"\r\n\r\n")[2]

    def speak(self, now: int) -> None:
        """Send the next 20 ms of the script, and word of what the buffer has played."""
        speaks = self._frames[self._at]
        self._at = (self._at + 1) % len(self._frames)
        if speaks and not self._spoke:
            self._first_ns = now
        elif self._spoke and not speaks and self._first_ns:
            self.heard.bursts.append((self._first_ns, now - FRAME_NS))
        self._spoke = speaks
        self._send(self._media[speaks])
        while self._marks and self._marks[0][0] <= now:
            self._say({"event": "playedStream", "streamId": self._call_id, "name": self._marks.popleft()[1]})

    def hear(self, now: int) -> None:
        """Read what is there."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise LineBroken("the server closed a socket")
        data = self._rest + data
        at = 0
        while len(data) - at >= 4:
            length, body = data[at + 1], at + 2
            if length == 126:
                length, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < body + length:
                break
            if data[at] == TEXT:
                self._take(data[body : body + length], now)
            elif data[at] == PING:
                self._send(bytes([0x8A, 0x80 | length]) + bytes(4) + data[body : body + length])
            at = body + length
        self._rest = data[at:]

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
            self._say({"event": "clearedAudio", "streamId": self._call_id})

    def hang_up(self) -> None:
        """Say goodbye as the carrier does: a mere loss would keep the call waiting for its return."""
        with contextlib.suppress(OSError, LineBroken):
            self._send(CLOSE)

    def close(self) -> None:
        """Take the server's goodbye, then let go."""
        self.socket.settimeout(CONNECT_SECONDS)
        with contextlib.suppress(OSError):
            while self.socket.recv(READ_BYTES):
                pass
        self.socket.close()

    def _say(self, message: dict[str, object]) -> None:
        self._send(masked(json.dumps(message).encode()))

    def _send(self, frame: bytes) -> None:
        """Whole, or not at all: a server that is so far behind has failed the run."""
        try:
            whole = self.socket.send(frame) == len(frame)
        except BlockingIOError:
            whole = False
        if not whole:
            raise LineBroken("the server does not read its socket any more")


def _media_frame(call_id: str, mulaw: bytes) -> bytes:
    """A `media` message in the carrier's spelling."""
    media = {"track": "inbound", "timestamp": "1700000000000", "chunk": 1000, "payload": b64encode(mulaw).decode()}
    message = {"sequenceNumber": 1000, "streamId": call_id, "event": "media", "media": media, "extra_headers": "{}"}
    return masked(json.dumps(message, separators=(",", ":")).encode())
