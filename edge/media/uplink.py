"""Publishes the caller's audio of one connection, and silence where the carrier sends none.

`alive_ms` and `began` refer only to what the carrier really sent, not to filled-in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from common.audio.g711 import FRAME_MS
from common.telemetry import metrics
from edge.media.decoder import UplinkDecoder
from edge.media.silence_fill import SilenceFill
from edge.media.stream_pace import StreamPace
from edge.media.ticker import Ticker
from edge.media.uplink_publisher import UplinkPublisher

log = logging.getLogger(__name__)

STOOD_STILL_MS = 60
"""A wake this late means that our event loop stalled, not the carrier: media of the meantime wait in the socket."""


class Uplink:
    """Uplink of one connection: report `media`, `close` it at the end.  One timer checks for gaps about six times a
    second.
    """

    def __init__(
        self,
        audio: UplinkDecoder,
        publisher: UplinkPublisher,
        ticker: Ticker,
        began: Callable[[float], None] = lambda now: None,
        pace: StreamPace | None = None,
    ) -> None:
        """`began(now)` is called once, with the first media; `pace` None: the carrier's rate is not limited."""
        self._pace = pace
        self._audio = audio
        self._publisher = publisher
        self._ticker = ticker
        self.alive_ms = ticker.now_ms()
        """When the carrier last sent anything, or the connection began, in ms of the ticker's clock."""
        self._began: Callable[[float], None] | None = began
        self._fill = SilenceFill(self.alive_ms)
        self._excused = False
        self._timer = self._at(self._fill.next_due(self.alive_ms))

    def alive(self, now: float) -> None:
        """Report any message of the carrier: the connection lives, so what was played until now was heard."""
        self.alive_ms = now
        self._publisher.proven(now)

    def media(self, payload: bytes, now: float) -> None:
        """Publish a payload of any length.  Raises TooFast, and then publishes nothing of it."""
        if self._began is not None:
            self._began(now)
            self._began = None
        if other := self._audio.corrected(payload):
            metrics.BAD_INPUT.labels("another format").inc()
            log.warning("the carrier sends %s at %s Hz, but declared another format", other.encoding, other.sample_rate)
        frames = self._fill.media(self._audio.feed(payload), now)
        if self._pace is not None:
            self._pace.audio(len(frames) * FRAME_MS, now)
        self._publisher.feed(frames)

    def close(self) -> None:
        """The connection is closed: publish no more silence, and drop the references to the call."""
        self._timer.cancel()
        self._began = None
        self._publisher.close()

    def _at(self, due_ms: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_at(due_ms / 1000, self._wake, due_ms)

    def _wake(self, due_ms: float) -> None:
        now = self._ticker.now_ms()
        self._excused = now - due_ms > STOOD_STILL_MS and not self._excused
        if self._excused:
            self._timer = self._at(now + 1)
            return
        for _ in range(self._fill.due(now)):
            self._publisher.fill()
        self._timer = self._at(self._fill.next_due(now))
