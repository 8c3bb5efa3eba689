"""Runs many calls that send a stamped `media` message every 20 ms and record the arrival of the agent's frames.

The frames are masked with zeros (bare_socket.py), so the stamp in the audio (the first 9 bytes, 12 characters of
base64) is patched in place.
"""

from __future__ import annotations

import struct
import time
from array import array
from base64 import b64encode
from binascii import b2a_base64
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.bare_socket import FRAME_BYTES, BareSocket, media_frame, talk
from benchmarks.children import receive

STAMP = struct.Struct(">qx")
"""9 bytes, which are whole characters of base64."""
STAMP_CHARS = 12
START_SECONDS = 60.0
TAIL_NS = 200_000_000
"""Time for which media continues after the window, so that its last second has full load."""


@dataclass(frozen=True, slots=True)
class LinesPlan:
    """The port and the calls; `call_ids` are also the stream ids."""

    port: int
    call_ids: tuple[str, ...]


@dataclass(slots=True)
class LinesResult:
    """`lateness`: of each media message sent, in ns.  `arrivals`: per call, of each frame."""

    lateness: array[int] = field(default_factory=lambda: array("q"))
    arrivals: list[array[int]] = field(default_factory=list)
    cpu_s: float = 0.0


class _Line:
    """One call, whose frames carry their send time."""

    def __init__(self, port: int, call_id: str) -> None:
        self.socket = BareSocket(port, call_id)
        silence = bytes(FRAME_BYTES)
        self._media = bytearray(media_frame(call_id, silence))
        self._stamp_at = self._media.index(b64encode(silence))
        self.arrivals = array("q")

    def speak(self, now: int) -> None:
        """Send 20 ms of audio, stamped `now`."""
        stamp = b2a_base64(STAMP.pack(now), newline=False)
        self._media[self._stamp_at : self._stamp_at + STAMP_CHARS] = stamp
        self.socket.send(self._media)

    def hear(self, now: int) -> None:
        """Record the arrival of each message."""
        self.arrivals.extend(now for _ in self.socket.texts())


def lines_main(plan: LinesPlan, pipe: Connection) -> None:
    """Connect and confirm; speak and listen between the given times; send the result."""
    lines = [_Line(plan.port, call_id) for call_id in plan.call_ids]
    pipe.send("connected")
    start_ns, end_ns = receive(pipe, START_SECONDS)
    result = LinesResult()
    before = time.process_time()
    talk(lines, start_ns, end_ns + TAIL_NS, result.lateness)
    result.cpu_s = time.process_time() - before
    result.arrivals = [line.arrivals for line in lines]
    for line in lines:
        line.socket.hang_up()
    for line in lines:
        line.socket.close()
    pipe.send(result)
