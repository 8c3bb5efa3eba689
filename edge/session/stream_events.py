"""Delivers the messages of one media socket to its call: parses, counts them against the rate limits, keeps early ones.

    socket ──_text()──▶ parse ──▶ StreamPace ──▶ _dispatch() ──▶ Call.receive()

Media may arrive before the call is set up; they are kept and delivered to it by `connect`.
"""

from __future__ import annotations

import asyncio
import logging

from common.audio.g711 import FRAME_MS
from common.telemetry import metrics
from edge.media.stream_pace import StreamPace, TooFast
from edge.media.ticker import Ticker
from edge.media.websocket import MediaSocketProtocol
from edge.session.call import Call
from edge.vobiz import stream_protocol

log = logging.getLogger(__name__)

EARLY_EVENTS_MAX = 250
"""Events kept until the call is set up: 5 s of media."""


class StreamEvents:
    """Callbacks of one socket.  An error of the call ends that call and goes no further."""

    def __init__(self, socket: MediaSocketProtocol, pace: StreamPace, ticker: Ticker) -> None:
        self.socket, self.pace, self._ticker = socket, pace, ticker
        self.started: asyncio.Future[stream_protocol.Start | None] = asyncio.get_running_loop().create_future()
        """The `start` event; None if the socket ended before it.  Raises BadFrame for an unusable format."""
        self._early: list[stream_protocol.Event] = []
        self._call: Call | None = None
        self._closed = False
        self._clean: bool | None = False
        socket.attach(self._text, self._binary, self._close)

    def connect(self, call: Call) -> None:
        """The call is set up: deliver the early events, and all later ones."""
        self._call = call
        for event in self._early:
            if not self.socket.close_sent:
                self._dispatch(event)
        self._early.clear()
        if self._closed:
            self._hang_up(call)

    def refuse(self, reason: str, what: str = "") -> None:
        """Count and log the refusal, and close the socket.  `what` is a detail for the log."""
        metrics.CALLS_REFUSED.labels(reason).inc()
        log.warning(f"a stream was refused: {what}" if what else "a stream was refused", extra={"reason": reason})
        self.socket.end(1008)

    def _text(self, text: bytes) -> None:
        try:
            event = stream_protocol.parse(text)
            if not isinstance(event, stream_protocol.Media):
                self._count(event)
        except TooFast as error:
            self.socket.too_fast(error.reason)
            return
        except stream_protocol.BadFrame as error:
            self._bad(error.kind)
            if not self.started.done() and error.kind == "bad format":
                self.started.set_exception(error)
            return
        if self._call is not None:
            self._dispatch(event)
        elif isinstance(event, stream_protocol.Start) and not self.started.done():
            self.started.set_result(event)
        elif len(self._early) < EARLY_EVENTS_MAX:
            self._early.append(event)
        else:
            metrics.FRAMES_DROPPED.labels("too early").inc()

    def _count(self, event: stream_protocol.Event) -> None:
        """Count an event against the stream's rate limits.  Raises TooFast.  uplink.py counts audio, whose length it
        knows.
        """
        now = self._ticker.now_ms()
        match event:
            case stream_protocol.Unknown(other_track=True):
                self.pace.other_track(FRAME_MS, now)
            case stream_protocol.Start() if not self.started.done():
                pass  # a last connection that used up its events must not keep the carrier out
            case stream_protocol.DtmfMessage():
                pass  # `Call` drops keys that are too many, and counts those
            case _:
                self.pace.events(1, now)

    def _dispatch(self, event: stream_protocol.Event) -> None:
        assert self._call is not None
        try:
            self._call.receive(event)
        except TooFast as error:
            self.socket.too_fast(error.reason)
        except stream_protocol.BadFrame as error:
            metrics.BAD_INPUT.labels(error.kind).inc()
        except Exception:
            log.exception("an error ended a call", extra={"call_id": self._call.call_id})
            metrics.SESSION_ERRORS.labels("edge").inc()
            self._call.end("error")

    def _bad(self, kind: str) -> None:
        """Count a message that is not understood; it counts as an event."""
        metrics.BAD_INPUT.labels(kind).inc()
        try:
            self.pace.events(1, self._ticker.now_ms())
        except TooFast as error:
            self.socket.too_fast(error.reason)

    def _binary(self) -> None:
        self._bad("binary message")

    def _close(self, clean: bool | None) -> None:
        if self._closed:
            return
        self._closed, self._clean = True, clean
        if self._call is not None:
            self._hang_up(self._call)
        elif not self.started.done():
            self.started.set_result(None)

    def _hang_up(self, call: Call) -> None:
        if self._clean is None:
            call.closed()
        else:
            call.disconnected(self._clean)
