"""Carries one call at its edge: the caller's frames to the bus, the agent's frames to the caller, and the turns.

    socket ──receive()──▶ Uplink ──▶ call:<id>:audio
    edge:<eid>:audio ──▶ play() ──▶ Playout ──wake()──▶ socket
    edge:<eid>:priority ──▶ speech_started() ──▶ Turn ──▶ clearAudio

All methods are plain callbacks of the event loop; none waits.  Decisions are in turn.py and playout.py.
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
    ClausePlayed,
    DtmfReceived,
    HeardPosition,
    Interrupted,
    OfConnection,
    PlaybackStarted,
    ReplyPlayed,
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
from edge.media.checkpoints import checkpoint_of, name_of
from edge.media.decoder import UplinkDecoder
from edge.media.playout import FRAME_BYTES, Begin, Checkpoint, PlayFrame, Playout
from edge.media.ticker import SLOT_MS, Ticker
from edge.media.uplink import Uplink
from edge.media.uplink_publisher import UplinkPublisher
from edge.session.call_limits import CallLimits, is_unreachable
from edge.session.call_options import CallOptions
from edge.session.fences import Fences
from edge.session.held_reply import HeldReply, Part
from edge.session.late_speech import LateSpeechFilter
from edge.session.latency import TurnLatency
from edge.session.media_socket import MediaSocket
from edge.session.turn import (
    DiscardReply,
    Effect,
    Finish,
    Interrupt,
    PauseOutput,
    ResumeOutput,
    ResumeReply,
    Turn,
    Wake,
)
from edge.vobiz import stream_protocol

STOP_SECONDS = 5.0
"""How long the carrier may take to close the stream that we stopped; then the call ends anyway."""
REPLACED = "replaced"
"""Result of `Call.ended` when another socket continues the call; it is no end reason."""
HANDED_OVER = "handed over"
"""Result of `Call.ended` when another edge will continue the call; it is no end reason."""

_FRAMES_OUT = metrics.FRAMES.labels("out")
_FRAMES_REFUSED = metrics.FRAMES_DROPPED.labels("duplicate or no room")


class Call:
    """One connection of a call, from the carrier's `start` to the end.

    Three futures, each resolved once, tell its state.  `stopping`: we want the call to end, with the reason.  `broken`:
    the connection is gone without word that the call is over, so it may come back; True if it was closed cleanly.
    `ended`: the call is over at this edge, with the end reason, or with REPLACED or HANDED_OVER.
    """

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
        self.record = record
        self.call_id = record.call_id
        self.epoch = record.epoch
        """Number of the call's connection, from 1; it also rises when Redis had lost the call."""
        self.stopping: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.broken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._socket = socket
        self._bus = bus
        self._ticker = ticker
        self._commands = stream_protocol.Commands(start.stream_id)
        self._publisher = UplinkPublisher(bus, record, options.position_ms, self._heard_so_far)
        audio = UplinkDecoder(start.media_format or stream_protocol.MediaFormat())
        self._uplink = Uplink(audio, self._publisher, ticker, self._media_began, options.pace)
        self.ended.add_done_callback(lambda ended: self._uplink.close())
        self.turn = Turn(options.interruptible)
        """State of the turns; others may only read it."""
        self._playout, self._held = Playout(options.lead_ms), HeldReply()
        self._late_speech = LateSpeechFilter(self._caller_speaks)
        self.ended.add_done_callback(lambda ended: self._late_speech.close())
        self._latency = TurnLatency(record)
        self._events = call_events(record.call_id)
        self.fences = Fences(self._late_speech.forget)
        self._slot = -1  # the ticker's slot of the next wake; -1: none
        now = self.began_ms = ticker.now_ms()
        self.limits = CallLimits(options, now)
        self._options = options
        self._playout.not_before_ms = options.plays_from_ms(now, record.epoch)
        self._disconnected_ms, self._clears = float("inf"), 0  # the caller hears nothing after the disconnection
        self._interruption = Interrupted(0, 0, 0)  # the newest
        bus.publish(self._events, CallStarted(self.epoch, record.edge, wall_ms(), options.heard))

    def __repr__(self) -> str:
        return f"<Call {self.call_id} epoch {self.epoch} turn {self.turn.turn} held {self._playout.held_frames}>"

    # --- from the carrier: the caller's audio, and what happened to ours -----------------------------------------

    def receive(self, event: stream_protocol.Event) -> None:
        """Take one event of the stream.  Raises TooFast and BadFrame."""
        self._uplink.alive()
        match event:
            case stream_protocol.Media(payload):
                self._uplink.media(payload)
            case stream_protocol.PlayedStream(name):
                self._played(name)
            case stream_protocol.ClearedAudio():
                self._playout.cleared()
                self._schedule()
            case stream_protocol.DtmfMessage(digits):
                self.limits.active(self._ticker.now_ms())
                for digit in digits:
                    self._publish(DtmfReceived(digit, wall_ms()))
            case stream_protocol.Stop():
                self.closed()
            case stream_protocol.Start():
                metrics.BAD_INPUT.labels("second start").inc()
            case stream_protocol.Unknown():
                metrics.BAD_INPUT.labels("unknown event").inc()

    def _media_began(self, now: float) -> None:
        self._playout.not_before_ms = min(self._playout.not_before_ms, now + self._options.greeting_after_ms)
        self._schedule()

    def _played(self, name: str) -> None:
        if (checkpoint := checkpoint_of(name, range(self.record.epoch, self.epoch + 1))) is None:
            return
        self._playout.played(checkpoint)
        self._publish(ClausePlayed(checkpoint.turn, checkpoint.clause))
        self._perform(self.turn.clause_heard(checkpoint.turn, checkpoint.clause))

    def feed_silence(self) -> None:
        """Publish 20 ms of silence, for lack of a connection (reconnect_silence.py)."""
        self._publisher.fill()

    def closed(self) -> None:
        """The carrier reports the end of the stream: we stopped it, or the caller hung up."""
        self.end(self.stopping.result() if self.stopping.done() else "caller hung up")

    def disconnected(self, clean: bool) -> None:
        """The socket is gone, with a closing handshake (`clean`) or without.

        That does not end the call: proxies close sockets, too, and the carrier may connect again.
        """
        if self.stopping.done():
            self.end(self.stopping.result())
        elif not self.ended.done() and not self.broken.done():
            self._uplink.close()
            self._disconnected_ms = self._ticker.now_ms()
            self.broken.set_result(clean)

    # --- from the bus: the agent's audio, until it leaves for the caller -----------------------------------------

    def play(self, audio: AudioOut) -> None:
        """Take frames of a reply from a TTS worker."""
        if not self._admits(audio):
            metrics.FRAMES_DROPPED.labels("stale").inc(len(audio.mulaw) // FRAME_BYTES)
            return
        if (parts := self._held.admit(audio)) is None:
            _FRAMES_REFUSED.inc(len(audio.mulaw) // FRAME_BYTES)
        self._play_parts(parts or [])

    def reply_synthesized(self, reply: ReplySynthesized) -> None:
        """A TTS worker has sent all audio of a reply."""
        if self._admits(reply):
            self._play_parts(self._held.admit(reply) or [])

    def release(self, release: ReplyReleased) -> None:
        """The caller's turn is over, and the reply that was held is its answer: play it."""
        self._held.release(release.turn)
        self._latency.released(release.turn, release.stage_ms)
        self._play_parts(self._held.take(release.turn))

    def _admits(self, message: AudioOut | ReplySynthesized) -> bool:
        """Whether it is of this epoch, of the newest TTS worker, and of a reply that may still be heard."""
        known = message.epoch == self.epoch and self.turn.admits(message.turn)
        return known and self.fences.admits("tts", message.token)

    def _play_parts(self, parts: list[Part]) -> None:
        for part in parts:
            self._play(part) if isinstance(part, AudioOut) else self._complete(part)

    def _play(self, audio: AudioOut) -> None:
        self._perform(self.turn.audio_arrived(audio.turn, audio.answers_utterance))
        self._latency.arrived(audio.turn, audio.stage_ms)
        refused = self._playout.push(audio.turn, audio.clause, audio.seq, audio.mulaw, audio.last)
        _FRAMES_REFUSED.inc(refused)
        self._schedule()

    def _complete(self, reply: ReplySynthesized) -> None:
        newest_turn, newest_clause = self._playout.newest_clause
        last_clause = newest_clause if newest_turn == reply.turn else -1
        self._perform(self.turn.reply_complete(reply.turn, last_clause, reply.then))

    def _schedule(self) -> None:
        if (due := self._playout.next_due()) is not None and (self._slot < 0 or due < (self._slot - 1) * SLOT_MS):
            self._slot = self._ticker.at(due, self.wake)

    def wake(self, now: float) -> None:
        """Send the frames that are due at `now` (ms of the ticker's clock)."""
        if now < (self._slot - 1) * SLOT_MS or self.ended.done() or self.broken.done():
            return  # an older wake, while the valid one is still to come; or the connection is gone
        self._slot = -1
        messages: list[bytes] = []
        frames = 0
        for out in self._playout.due(now):
            match out:
                case PlayFrame(mulaw):
                    frames += 1
                    messages.append(self._commands.play(mulaw))
                case Checkpoint():
                    messages.append(self._commands.checkpoint(name_of(out, self.epoch)))
                case Begin(turn):
                    self._begin(turn)
        if messages:
            self.limits.active(now)
            self._socket.send_texts(messages)
            _FRAMES_OUT.inc(frames)
        self._schedule()

    def _begin(self, turn: int) -> None:
        at_ms = wall_ms()
        self._publish(PlaybackStarted(turn, at_ms, self._latency.started(turn, self.turn.answers, at_ms)))

    # --- from the bus: the caller's speech, which may interrupt the agent ----------------------------------------

    def speech_started(self, speech: SpeechStarted) -> None:
        """The caller began to speak: the agent stops now, unless the report is late and that speech is over."""
        self._late_speech.started(speech, self._publisher.position_ms)

    def _caller_speaks(self, speech: SpeechStarted) -> None:
        if self.ended.done():
            return
        now = self._ticker.now_ms()
        self.limits.active(now)
        self._playout.not_before_ms = 0  # the caller is listening
        clears = self._clears
        self._perform(self.turn.caller_speaks(speech.utterance, self._playout.started_turn, now))
        if self._clears > clears and speech.at_ms:
            metrics.CLEAR_SECONDS.observe(max(0, wall_ms() - speech.at_ms) / 1000)

    def speech_ended(self, speech: SpeechEnded) -> None:
        """The caller fell silent: audio that waited may play."""
        now = self._ticker.now_ms()
        self.limits.active(now)
        self._late_speech.ended(speech)
        self._perform(self.turn.caller_silent(speech.utterance, now))

    def words_detected(self, speech: WordsDetected) -> None:
        """The caller's speech contains words: it is an interruption, not a cough."""
        self._perform(self.turn.words_detected(speech.utterance))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Interrupt(utterance):
                    self._interrupt(utterance)
                case DiscardReply():
                    self._end_reply()
                case ResumeReply(turn, utterance):
                    metrics.REPLIES_RESUMED.inc()
                    self._publish(ReplyResumed(turn, utterance))
                case Wake(at_ms):
                    self._ticker.at(at_ms, self._wake_turn)
                case PauseOutput():
                    self._playout.paused = True
                case ResumeOutput():
                    self._playout.paused = False
                    self._schedule()
                case Finish(turn, then):
                    self._latency.ended("heard", wall_ms())
                    self._publish(ReplyPlayed(turn))
                    if then == "hangup":
                        self.stop("agent hung up")

    def _interrupt(self, utterance: int) -> None:
        """Clear the carrier's queue first, then publish.  Unheard audio is kept while `utterance` may be a cough."""
        cut = self._playout.cut(min(self._ticker.now_ms(), self._disconnected_ms))
        if cut.at_carrier:
            self._socket.send_texts([self._commands.clear()])
            self._clears += 1
        self._interruption = Interrupted(cut.turn, cut.clause, cut.heard_ms, utterance)
        self._publish(self._interruption) if utterance else self._end_reply()

    def _end_reply(self) -> None:
        """It was an interruption; the event log records it, since a "mm-hm" after which no reply resumes needs one."""
        self._playout.drop()
        self._latency.ended("interrupted", wall_ms())
        self._publish(replace(self._interruption, utterance=0))

    def _wake_turn(self, now: float) -> None:
        if not self.ended.done():
            self._perform(self.turn.wake(now))

    # --- limits, and the end ------------------------------------------------------------------------------------

    def housekeep(self, now: float) -> None:
        """Check limits and overdue checkpoints; `Calls` calls it about once a second."""
        for checkpoint in self._playout.overdue(now, self._uplink.alive_ms):
            self._perform(self.turn.clause_heard(checkpoint.turn, checkpoint.clause))
        self._wake_turn(now)
        if is_unreachable(now, self._uplink.alive_ms, self._socket.unsent_bytes):
            self.end("carrier")
        elif not self.broken.done() and (limit := self.limits.passed(now)):
            self.stop(limit)

    def stop(self, reason: str) -> None:
        """Ask for the end of the call: MediaStreams informs the carrier.  After STOP_SECONDS the call ends anyway."""
        if self.stopping.done() or self.ended.done():
            return
        self.stopping.set_result(EndReason.of(reason).value)
        asyncio.get_running_loop().call_later(STOP_SECONDS, self.end, reason)

    def stop_stream(self) -> None:
        """Ask the carrier to close the stream; it continues with the XML that follows the stream."""
        self._socket.send_texts([self._commands.stop()])

    def replaced(self) -> None:
        """Another connection continues the call: publish nothing more."""
        if not self.ended.done():
            self.ended.set_result(REPLACED)

    def hand_over(self) -> None:
        """Give the call up because this edge stops: the carrier connects to another edge.  The bus has all state."""
        if not self.ended.done() and not self.stopping.done():
            self._playout.drop()
            self.ended.set_result(HANDED_OVER)

    def continue_as(self, epoch: int) -> None:
        """Redis had lost the call and has it again under `epoch`.  Messages of the epoch before are stale."""
        self.epoch = epoch
        self.fences.forget()
        self._late_speech.forget()
        self._publisher.continue_as(epoch)

    def end(self, reason: str) -> None:
        """End the call at this edge; only the first reason counts."""
        if self.ended.done():
            return
        reason = EndReason.of(reason).value
        self._latency.closed("call over", wall_ms())
        self._publisher.end()
        self._bus.publish(self._events, CallEnded(self.epoch, reason, wall_ms(), self._publisher.heard))
        self._playout.drop()
        self.ended.set_result(reason)

    @property
    def handed_over(self) -> bool:
        """Whether this edge gave the call up for another one."""
        return self.ended.done() and self.ended.result() == HANDED_OVER

    @property
    def frames_in(self) -> int:
        """20 ms frames of the caller's audio that were published, silence included."""
        return self._publisher.frames

    @property
    def turns(self) -> int:
        """Number of the newest reply that began to play."""
        return self._playout.started_turn

    def _heard_so_far(self) -> HeardPosition:
        cut = self._playout.position(min(self._ticker.now_ms(), self._disconnected_ms))
        return (cut.turn, cut.clause, cut.heard_ms) if self.turn.unfinished else ()

    def _publish(self, message: OfConnection) -> None:
        self._bus.publish(self._events, replace(message, epoch=self.epoch))
