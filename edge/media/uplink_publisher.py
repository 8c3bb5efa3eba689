"""The caller's audio on its way to the ears: every frame with its place in the call's own time."""

from __future__ import annotations

from collections.abc import Callable

from common.audio.g711 import FRAME_BYTES, FRAME_MS, SILENCE
from common.bus import Bus
from common.process.clock import wall_ms
from common.protocol.messages import AudioEnded, AudioIn, AudioStarted, HeardPosition
from common.protocol.redis_keys import call_audio
from common.store import CallRecord
from common.telemetry import metrics

_SILENCE = SILENCE * FRAME_BYTES
_FRAMES_IN = metrics.FRAMES.labels("in")
_FRAMES_FILLED = metrics.FRAMES.labels("filled")


class UplinkPublisher:
    """One connection's.  Its audio begins at `position_ms` of the call."""

    def __init__(
        self, bus: Bus, record: CallRecord, position_ms: int, heard: Callable[[], HeardPosition] = lambda: ()
    ) -> None:
        """`heard()`: how far the caller has heard the agent by now."""
        self._bus = bus
        self._edge = record.edge
        self._epoch = record.epoch
        self._stream = call_audio(record.call_id)
        self._ask_heard = heard
        self.heard: HeardPosition = ()
        """How far the caller has certainly heard the agent."""
        self.frames = position_ms // FRAME_MS
        """20 ms frames of the call so far."""
        bus.publish(self._stream, AudioStarted(self._epoch, self._edge))

    @property
    def position_ms(self) -> int:
        """Where the call's audio is by now."""
        return self.frames * FRAME_MS

    def proven(self) -> None:
        """The line lives, up to now."""
        self.heard = self._ask_heard()

    def feed(self, frames: list[bytes]) -> None:
        """20 ms frames of the carrier's."""
        for frame in frames:
            self._publish(frame)
            _FRAMES_IN.inc()

    def fill(self) -> None:
        """20 ms without a sound, for want of media (silence_fill.py) or of a connection (bridge.py)."""
        self._publish(_SILENCE)
        _FRAMES_FILLED.inc()

    def continue_as(self, epoch: int) -> None:
        """The same connection counts as another one from now on."""
        self._epoch = epoch
        self._bus.publish(self._stream, AudioStarted(epoch, self._edge))

    def end(self) -> None:
        """There will be no more."""
        self._bus.publish(self._stream, AudioEnded(self._epoch))

    def _publish(self, frame: bytes) -> None:
        self._bus.publish(self._stream, AudioIn(self._epoch, self.position_ms, wall_ms(), frame, self.heard))
        self.frames += 1
