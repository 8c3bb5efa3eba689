"""Disturbs the caller's media on the way to the server.  Pure: no clock, no socket.

Each 20 ms the sender passes one encoded frame to `Uplink.take` and sends the returned messages in order.
"""

import random
from dataclasses import dataclass
from itertools import cycle
from typing import Literal, TypeAlias

ODD_SHARES = (0.5, 1.3, 0.05, 2.0, 1.15)
"""Sizes of odd frames, as shares of a whole one; their mean is one."""
HELD_MAX = 500


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Disturbances of the caller's media; the numbers count frames of 20 ms, 0 means never."""

    odd_frames: bool = False
    """Cut the audio into pieces of other sizes than 20 ms."""
    jitter_ms: float = 0.0
    """Maximum of a random delay of each frame."""
    burst_frames: int = 0
    """Hold this many frames back, then send them at once."""
    gap_every: int = 0
    """Interval at which ..."""
    gap_frames: int = 10
    """... this many frames are dropped."""
    duplicate_every: int = 0
    """Interval at which a frame is sent twice."""
    unknown_every: int = 0
    """Interval at which an undocumented event is sent."""
    second_start_after: int = 0
    """Number of frames after which `start` is sent again on the same socket."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Out:
    """One message to send: media with its payload, a second start, or an unknown event."""

    kind: Literal["media", "start", "unknown"]
    payload: bytes = b""


Due: TypeAlias = tuple[float, list[Out]]
"""A delay in ms, and the messages to send after it."""


class Uplink:
    """The disturbed uplink of one stream."""

    def __init__(self, disturbance: Disturbance) -> None:
        self._is = disturbance
        self._calm = disturbance == Disturbance(gap_frames=disturbance.gap_frames, seed=disturbance.seed)
        self._random = random.Random(disturbance.seed)
        self._shares = cycle(ODD_SHARES)
        self._share = next(self._shares)
        self._rest = b""
        self._held: list[Out] = []
        self._frames = 0

    def take(self, payload: bytes) -> Due:
        """Take the caller's next frame and return what to send."""
        if self._calm:
            return 0.0, [Out("media", payload)]
        self._frames += 1
        if not self._in_gap():
            self._held += self._pieces(payload)
            if self._due(self._is.duplicate_every) and self._held:
                self._held.append(self._held[-1])
        if self._due(self._is.unknown_every):
            self._held.append(Out("unknown"))
        if self._frames == self._is.second_start_after:
            self._held.append(Out("start"))
        if self._is.burst_frames and self._frames % self._is.burst_frames and len(self._held) < HELD_MAX:
            return 0.0, []
        out, self._held = self._held, []
        return self._random.uniform(0, self._is.jitter_ms), out

    def _in_gap(self) -> bool:
        every = self._is.gap_every
        return bool(every) and self._frames > every and (self._frames - 1) % every < self._is.gap_frames

    def _due(self, every: int) -> bool:
        return bool(every) and self._frames % every == 0

    def _pieces(self, payload: bytes) -> list[Out]:
        if not self._is.odd_frames:
            return [Out("media", payload)]
        self._rest += payload
        pieces: list[Out] = []
        while True:
            size = max(2, int(len(payload) * self._share)) // 2 * 2  # whole samples of L16
            if size > len(self._rest):
                return pieces
            pieces.append(Out("media", self._rest[:size]))
            self._rest = self._rest[size:]
            self._share = next(self._shares)
