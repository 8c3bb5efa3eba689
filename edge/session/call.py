"""Carries one call at its edge: the caller's frames to the bus, the agent's frames to the caller, and the turns.

    socket ──receive()──▶ Uplink ──▶ call:<id>:audio
    edge:<eid>:audio ──▶ play() ──▶ Downlink ──wake()──▶ socket
    edge:<eid>:priority ──▶ speech_started() ──▶ Downlink ──▶ clearAudio

`Call` only connects: what is played and interrupted is decided in downlink.py, when the call is over in lifecycle.py
and call_limits.py.  All methods but `reaches` are plain callbacks of the event loop; none waits.
"""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from common.bus import Bus
from common.call.end_reasons import EndReason
from common.process.clock import wall_ms
from common.protocol.messages import (
    AudioOut,
    CallEnded,
    CallStarted,
    DtmfReceived,
    OfConnection,
    PlaybackStarted,
    ReplyReleased,
    ReplyResumed,
    ReplySynthesized,
    SpeechEnded,
    SpeechStarted,
    WordsDetected,
)
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.telemetry import metrics
from edge.media.decoder import UplinkDecoder
from edge.media.ticker import SLOT_MS, Ticker
from edge.media.uplink import Uplink
from edge.media.uplink_publisher import UplinkPublisher
from edge.session.call_limits import CallLimits, is_unreachable
from edge.session.call_options import CallOptions
from edge.session.downlink import (
    Arrived,
    Began,
    ClearAudio,
    Downlink,
    Dropped,
    Output,
    Publish,
    ReplyOver,
    Send,
    StopCall,
)
from edge.session.fences import Fences
from edge.session.late_speech import LateSpeechFilter
from edge.session.latency import TurnLatency
from edge.session.lifecycle import Lifecycle, State
from edge.session.media_socket import MediaSocket
from edge.session.secret_keys import SecretKeys
from edge.session.turn import Turn, Wake
from edge.vobiz import stream_protocol

STOP_SECONDS = 5.0
"""How long the carrier may take to close the stream that we stopped; then the call ends anyway."""

_FRAMES_OUT = metrics.FRAMES.labels("out")


class Call:
    """One connection of a call, from the carrier's `start` to the end."""

    def __init__(
        self,
        record: CallRecord,
        start: stream_protocol.Start,
        socket: MediaSocket,
        bus: Bus,
        ticker: Ticker,
        options: CallOptions,
    ) -> None:
        """Raises BadFrame if the stream's audio format cannot be used."""
        now = self.began_ms = ticker.now_ms()
        self.record = record
        self.call_id = record.call_id
        self.epoch = record.epoch
        """Number of the call's connection, from 1; it also rises when Redis had lost the call."""
        self.lifecycle = Lifecycle()
        """State of the call; others may only read it."""
        self._entered = asyncio.Event()  # replaced by a new one with each change of the state
        self._socket = socket
        self._bus = bus
        self._ticker = ticker
        self._late_speech = LateSpeechFilter(self._caller_speaks)
        self.fences = Fences(self._late_speech.forget)
        self._downlink = Downlink(start.stream_id, record.epoch, options, self.fences, now)
        self._publisher = UplinkPublisher(bus, record, options.position_ms, self._downlink.heard)
        audio = UplinkDecoder(start.media_format or stream_protocol.MediaFormat())
        self._uplink = Uplink(audio, self._publisher, ticker, self._media_began, options.pace)
        self._latency = TurnLatency(record)
        self._events = call_events(record.call_id)
        self.secret_keys = SecretKeys(record.call_id, self._key_entered)
        """The keys of the caller's telephone; `Calls` gives it its store."""
        self._key_ms = 0  # when the newest key was recorded, wall clock
        self._slot = -1  # the ticker's slot of the next wake; -1: none
        self.limits = CallLimits(options, now)
        bus.publish(self._events, CallStarted(self.epoch, record.edge, wall_ms(), options.heard))

    def __repr__(self) -> str:
        return f"<Call {self.call_id} epoch {self.epoch} turn {self.turn.turn} held {self._downlink.held_frames}>"

    # --- from the carrier: the caller's audio, and what happened to ours -----------------------------------------

    def receive(self, event: stream_protocol.Event) -> None:
        """Take one event of the stream.  Raises TooFast and BadFrame."""
        now = self._ticker.now_ms()
        self._uplink.alive(now)
        match event:
            case stream_protocol.Media(payload):
                self._uplink.media(payload, now)
            case stream_protocol.PlayedStream(name):
                self._perform(self._downlink.played(name, now))
            case stream_protocol.ClearedAudio():
                self._downlink.cleared()
                self._send_due()
            case stream_protocol.DtmfMessage(digits):
                self._keys_pressed(digits, now)
            case stream_protocol.Stop():
                self.closed()
            case stream_protocol.Start():
                metrics.BAD_INPUT.labels("second start").inc()
            case stream_protocol.Unknown():
                metrics.BAD_INPUT.labels("unknown event").inc()

    def _keys_pressed(self, keys: str, now: float) -> None:
        """The agent stops first; then the keys are recorded, as many as a finger can press.

        Those beyond are dropped, and count as events of the stream.  Raises TooFast.
        """
        self.limits.active(now)
        self._perform(self._downlink.key_pressed(now))
        pace = self.limits.pace
        for key in keys:
            if pace is None or pace.key(now):
                self.secret_keys.press(key, self.epoch)
            else:
                metrics.BAD_INPUT.labels("too many keys").inc()
                pace.events(1, now)

    def _key_entered(self, digit: str) -> None:
        """Record a key; no two keys of a connection have one time, so that a repeated message counts once."""
        self._key_ms = max(wall_ms(), self._key_ms + 1)
        self._publish(DtmfReceived(digit, self._key_ms))

    def _media_began(self, now: float) -> None:
        self._downlink.media_began(now)
        self._send_due()

    def feed_silence(self) -> None:
        """Publish 20 ms of silence, for lack of a connection (reconnect_silence.py)."""
        self._publisher.fill()

    def closed(self) -> None:
        """The carrier reports the end of the stream: we stopped it, or the caller hung up."""
        self.end(self.lifecycle.reason or EndReason.CALLER_HUNG_UP)

    def disconnected(self, clean: bool) -> None:
        """The socket is gone, with a closing handshake (`clean`) or without.

        That does not end the call: proxies close sockets, too, and the carrier may connect again.
        """
        if self._enter(self.lifecycle.disconnect(clean)):
            self._uplink.close()
            self._downlink.disconnected(self._ticker.now_ms())
        elif self.lifecycle.state is State.STOPPING:
            self.end(self.lifecycle.reason)

    # --- from the bus: the agent's audio, until it leaves for the caller -----------------------------------------

    def play(self, audio: AudioOut) -> None:
        """Take frames of a reply from a TTS worker."""
        self._perform(self._downlink.play(audio, self._ticker.now_ms()))

    def reply_synthesized(self, reply: ReplySynthesized) -> None:
        """A TTS worker has sent all audio of a reply."""
        self._perform(self._downlink.reply_synthesized(reply, self._ticker.now_ms()))

    def release(self, release: ReplyReleased) -> None:
        """The caller's turn is over, and the reply that was held is its answer: play it."""
        self._latency.released(release.turn, release.stage_ms)
        self._perform(self._downlink.release(release, self._ticker.now_ms()))

    def _send_due(self) -> None:
        """Send what is due already, such as the first frames of a reply; the ticker wakes the call for the rest."""
        due = self._downlink.next_due()
        if due is None or self.lifecycle.over or self.lifecycle.disconnected:
            return
        if due <= (now := self._ticker.now_ms()):
            self._perform(self._downlink.wake(now))
        elif self._slot < 0 or due < (self._slot - 1) * SLOT_MS:
            self._slot = self._ticker.at(due, self.wake)

    def wake(self, now: float) -> None:
        """Send the frames that are due at `now` (ms of the ticker's clock)."""
        if now < (self._slot - 1) * SLOT_MS or self.lifecycle.over or self.lifecycle.disconnected:
            return  # an older wake, while the valid one is still to come; or the connection is gone
        self._slot = -1
        self._perform(self._downlink.wake(now))

    # --- from the bus: the caller's speech, which may interrupt the agent ----------------------------------------

    def speech_started(self, speech: SpeechStarted) -> None:
        """The caller began to speak: the agent stops now, unless the report is late and that speech is over."""
        self._late_speech.started(speech, self._publisher.position_ms)

    def _caller_speaks(self, speech: SpeechStarted) -> None:
        if self.lifecycle.over:
            return
        now = self._ticker.now_ms()
        self.limits.active(now)
        outputs = self._downlink.caller_speaks(speech.utterance, now)
        self._perform(outputs)
        if speech.at_ms and any(isinstance(output, ClearAudio) for output in outputs):
            metrics.CLEAR_SECONDS.observe(max(0, wall_ms() - speech.at_ms) / 1000)

    def speech_ended(self, speech: SpeechEnded) -> None:
        """The caller fell silent: audio that waited may play."""
        now = self._ticker.now_ms()
        self.limits.active(now)
        self._late_speech.ended(speech)
        self._perform(self._downlink.caller_silent(speech.utterance, now))

    def words_detected(self, speech: WordsDetected) -> None:
        """The caller's speech contains words: it is an interruption, not a cough."""
        self._perform(self._downlink.words_detected(speech.utterance, self._ticker.now_ms()))

    def _wake_turn(self, now: float) -> None:
        if not self.lifecycle.over:
            self._perform(self._downlink.wake_turn(now))

    # --- what the downlink wants done -----------------------------------------------------------------------------

    def _perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Send(messages, frames):
                    self.limits.active(self._ticker.now_ms())
                    self._socket.send_texts(messages)
                    _FRAMES_OUT.inc(frames)
                case ClearAudio(message):
                    self._socket.send_texts([message])
                case Publish(message):
                    metrics.REPLIES_RESUMED.inc(isinstance(message, ReplyResumed))
                    self._publish(message)
                case Dropped(frames, reason):
                    metrics.FRAMES_DROPPED.labels(reason).inc(frames)
                case Arrived(turn, stage_ms):
                    self._latency.arrived(turn, stage_ms)
                case Began(turn, utterance):
                    at_ms = wall_ms()
                    self._publish(PlaybackStarted(turn, at_ms, self._latency.started(turn, utterance, at_ms)))
                case ReplyOver(outcome):
                    self._latency.ended(outcome, wall_ms())
                case Wake(at_ms):
                    self._ticker.at(at_ms, self._wake_turn)
                case StopCall(reason):
                    self.stop(reason)
        self._send_due()

    # --- limits, and the end ------------------------------------------------------------------------------------

    def housekeep(self, now: float) -> None:
        """Check limits and overdue checkpoints; `Calls` calls it about once a second."""
        if not self.lifecycle.over:
            self._perform(self._downlink.housekeep(now, self._uplink.alive_ms))
        if is_unreachable(now, self._uplink.alive_ms, self._socket.unsent_bytes):
            self.end(EndReason.CARRIER)
        elif not self.lifecycle.disconnected and (limit := self.limits.passed(now)):
            self.stop(limit)

    def stop(self, reason: str) -> None:
        """Ask for the end of the call: MediaStreams informs the carrier.  After STOP_SECONDS the call ends anyway."""
        if self._enter(self.lifecycle.stop(reason)):
            asyncio.get_running_loop().call_later(STOP_SECONDS, self.end, reason)

    def stop_stream(self) -> None:
        """Ask the carrier to close the stream; it continues with the XML that follows the stream."""
        self._socket.send_texts([self._downlink.commands.stop()])

    def replaced(self) -> None:
        """Another connection continues the call: publish nothing more."""
        self._enter(self.lifecycle.replace())

    def hand_over(self) -> None:
        """Give the call up because this edge stops: the carrier connects to another edge.  The bus has all state."""
        if self._enter(self.lifecycle.hand_over()):
            self._downlink.drop()

    def continue_as(self, epoch: int) -> None:
        """Redis had lost the call and has it again under `epoch`.  Messages of the epoch before are stale."""
        self.epoch = epoch
        self.fences.forget()
        self._late_speech.forget()
        self._downlink.continue_as(epoch)
        self._publisher.continue_as(epoch)

    def end(self, reason: str) -> None:
        """End the call at this edge; only the first reason counts."""
        if not self._enter(self.lifecycle.end(reason)):
            return
        self._latency.closed("call over", wall_ms())
        self._publisher.end()
        ended = CallEnded(self.epoch, self.lifecycle.reason, wall_ms(), self._publisher.heard)
        self._bus.publish(self._events, ended)
        self._downlink.drop()

    def _enter(self, changed: bool) -> bool:
        """Wake those who wait for a state, if it has changed; returns `changed`."""
        if changed:
            self._entered.set()
            self._entered = asyncio.Event()
            if self.lifecycle.over:
                self._uplink.close()
                self._late_speech.close()
                self.secret_keys.close()
        return changed

    async def reaches(self, *states: State) -> State:
        """Wait until the call is in one of these states, or is over at this edge; returns its state."""
        while self.lifecycle.state not in states and not self.lifecycle.over:
            await self._entered.wait()
        return self.lifecycle.state

    # --- what others read -----------------------------------------------------------------------------------------

    @property
    def turn(self) -> Turn:
        """State of the turns; others may only read it."""
        return self._downlink.turn

    @property
    def frames_in(self) -> int:
        """20 ms frames of the caller's audio that were published, silence included."""
        return self._publisher.frames

    @property
    def turns(self) -> int:
        """Number of the newest reply that began to play."""
        return self._downlink.started_turn

    def _publish(self, message: OfConnection) -> None:
        self._bus.publish(self._events, replace(message, epoch=self.epoch))
