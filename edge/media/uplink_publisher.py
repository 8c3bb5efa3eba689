"""Publishes the caller's audio to the bus, each frame with its position in the call's own time."""

from __future__ import annotations

from collections.abc import Callable

from common.audio.g711 import FRAME_BYTES, FRAME_MS, SILENCE
from common.bus import Bus
from common.process.clock import wall_ms
from common.protocol.fields import HeardPosition
from common.protocol.messages import (
    AudioEnded,
    AudioIn,
    AudioStarted,
)
from common.protocol.redis_keys import call_audio
from common.store import CallRecord
from common.telemetry import metrics

_SILENCE = SILENCE * FRAME_BYTES
_FRAMES_IN = metrics.FRAMES.labels("in")
_FRAMES_FILLED = metrics.FRAMES.labels("filled")


class UplinkPublisher:
    """Publisher of one connection, whose audio begins at `position_ms` of the call."""

    def __init__(
        self, bus: Bus, record: CallRecord, position_ms: int, heard: Callable[[float], HeardPosition] = lambda now: ()
    ) -> None:
        """`heard(now)` returns how much of the agent's reply the caller has heard by `now`."""
        self._bus = bus
        self._edge = record.edge
        self._epoch = record.epoch
        self._stream = call_audio(record.call_id)
        self._ask_heard: Callable[[float], HeardPosition] | None = heard
        self.heard: HeardPosition = ()
        """How much of the agent's reply the caller has certainly heard."""
        self.frames = position_ms // FRAME_MS
        """20 ms frames of the call so far, filled-in ones included."""
        bus.publish(self._stream, AudioStarted(self._epoch, self._edge))

    @property
    def position_ms(self) -> int:
        """End of the call's audio so far, in ms."""
        return self.frames * FRAME_MS

    def proven(self, now: float) -> None:
        """The connection has given a sign of life: update `heard`, which after `close` stays as it is."""
        if self._ask_heard is not None:
            self.heard = self._ask_heard(now)

    def close(self) -> None:
        """The call is over: drop the reference to it, so that it is freed without the garbage collector."""
        self._ask_heard = None

    def feed(self, frames: list[bytes]) -> None:
        """Publish 20 ms frames received from the carrier."""
        for frame in frames:
            self._publish(frame)
        _FRAMES_IN.inc(len(frames))

    def fill(self) -> None:
        """Publish 20 ms of silence, for lack of media (silence_fill.py) or of a connection (reconnect_silence.py)."""
        self._publish(_SILENCE)
        _FRAMES_FILLED.inc()

    def continue_as(self, epoch: int) -> None:
        """Publish under another epoch from now on, on the same connection."""
        self._epoch = epoch
        self._bus.publish(self._stream, AudioStarted(epoch, self._edge))

    def end(self) -> None:
        """Publish that no more audio follows."""
        self._bus.publish(self._stream, AudioEnded(self._epoch))

    def _publish(self, frame: bytes) -> None:
        self._bus.publish(self._stream, AudioIn(self._epoch, self.position_ms, wall_ms(), frame, self.heard))
        self.frames += 1
