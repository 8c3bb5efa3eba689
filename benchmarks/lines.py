"""The carrier's side of many calls, as light as can be: raw sockets, one epoll loop, frames built beforehand.

Each call sends a `media` message every 20 ms, the calls spread over the 20 ms on an absolute clock, and notes when each
frame of the agent's audio arrives.  The frames are masked with zeros, which the protocol allows and which costs the
server what any mask costs; so the stamp in the audio (the first 9 bytes, 12 characters of base64) is patched in place.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import time
from array import array
from base64 import b64encode
from binascii import b2a_base64
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.children import receive

FRAME_NS = 20_000_000
FRAME_BYTES = 160
STAMP = struct.Struct(">qx")
"""9 bytes, so that they are whole characters of base64."""
STAMP_CHARS = 12
CONNECT_SECONDS = 10.0
START_SECONDS = 60.0
HEAD_BYTES_MAX = 8192
READ_BYTES = 65536
TAIL_NS = 200_000_000
"""How long media goes on after the window: nobody's last second is a quiet one."""
TEXT, PING = 0x81, 0x89
CLOSE = b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big")
"""A close frame with code 1000, masked with zeros."""


@dataclass(frozen=True, slots=True)
class LinesPlan:
    """Who calls whom.  `call_ids` also name the streams."""

    port: int
    call_ids: tuple[str, ...]


@dataclass(slots=True)
class LinesResult:
    """`lateness`: of each media message sent, in ns.  `arrivals`: per call, when each frame came, by the clock."""

    lateness: array[int] = field(default_factory=lambda: array("q"))
    arrivals: list[array[int]] = field(default_factory=list)
    cpu_s: float = 0.0


class LineBroken(Exception):
    """The server closed a socket, or does not read it any more."""


class _Line:
    """One socket: connected, upgraded, and told about the call."""

    def __init__(self, port: int, call_id: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = self._upgrade()
        self._media, self._stamp_at = _media_frame(call_id)
        self.arrivals = array("q")
        started = {
            "callId": call_id,
            "streamId": call_id,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        }
        self._send(masked(json.dumps({"event": "start", "start": started}).encode()))
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
        """Send 20 ms of audio, stamped `now`."""
        stamp = b2a_base64(STAMP.pack(now), newline=False)
        self._media[self._stamp_at : self._stamp_at + STAMP_CHARS] = stamp
        self._send(self._media)

    def hear(self, now: int) -> None:
        """Read what is there; note each text frame, answer each ping."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise LineBroken("the server closed a socket")
        data = self._rest + data
        at = 0
        while len(data) - at >= 4:
            length, body = data[at + 1], at + 2
            if length == 126:
                length, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < body + length:
                break
            if data[at] == TEXT:
                self.arrivals.append(now)
            elif data[at] == PING:
                self._send(bytes([0x8A, 0x80 | length]) + bytes(4) + data[body : body + length])
            at = body + length
        self._rest = data[at:]

    def hang_up(self) -> None:
        """Say goodbye as the carrier does: a mere loss would keep the call waiting for its return."""
        self._send(CLOSE)

    def close(self) -> None:
        """Take the server's goodbye, then let go."""
        self.socket.settimeout(CONNECT_SECONDS)
        with contextlib.suppress(OSError):
            while self.socket.recv(READ_BYTES):
                pass
        self.socket.close()

    def _send(self, frame: bytes | bytearray) -> None:
        """Whole, or not at all: a server that is so far behind has failed the run."""
        try:
            whole = self.socket.send(frame) == len(frame)
        except BlockingIOError:
            whole = False
        if not whole:
            raise LineBroken("the server does not read its socket any more")


def masked(text: bytes) -> bytes:
    """A client's text frame, masked with zeros."""
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return bytes([TEXT]) + size + bytes(4) + text


def _media_frame(call_id: str) -> tuple[bytearray, int]:
    """A `media` message in the carrier's spelling, and where its payload begins."""
    payload = b64encode(bytes(FRAME_BYTES)).decode()
    media = {"track": "inbound", "timestamp": "1700000000000", "chunk": 1000, "payload": payload}
    message = {"sequenceNumber": 1000, "streamId": call_id, "event": "media", "media": media, "extra_headers": "{}"}
    frame = masked(json.dumps(message, separators=(",", ":")).encode())
    return bytearray(frame), frame.index(payload.encode())


def lines_main(plan: LinesPlan, pipe: Connection) -> None:
    """Connect; say so; from the moment we are given on, speak and listen until the end; tell what was seen."""
    lines = [_Line(plan.port, call_id) for call_id in plan.call_ids]
    pipe.send("connected")
    start_ns, end_ns = receive(pipe, START_SECONDS)
    result = LinesResult()
    before = time.process_time()
    _talk(lines, start_ns, end_ns + TAIL_NS, result.lateness)
    result.cpu_s = time.process_time() - before
    result.arrivals = [line.arrivals for line in lines]
    for line in lines:
        line.hang_up()
    for line in lines:
        line.close()
    pipe.send(result)


def _talk(lines: list[_Line], start_ns: int, end_ns: int, lateness: array[int]) -> None:
    by_fd = {line.socket.fileno(): line for line in lines}
    sent = 0
    due = start_ns
    with select.epoll() as poll:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        while (now := time.monotonic_ns()) < end_ns:
            while due <= now:
                moment = time.monotonic_ns()
                lines[sent % len(lines)].speak(moment)
                lateness.append(moment - due)
                sent += 1
                due = start_ns + sent * FRAME_NS // len(lines)
            for fd, _ in poll.poll(max(0, due - time.monotonic_ns()) / 1e9):
                by_fd[fd].hear(time.monotonic_ns())
