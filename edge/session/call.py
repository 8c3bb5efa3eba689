"""One call at its edge: the caller's frames to the bus, the agent's frames to the caller, and whose turn it is.

    socket ──heard()──▶ Uplink ──▶ call:<id>:audio
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
from edge.session.held_reply import HeldReply
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
"""How long the carrier may take to close the stream that we stopped."""
REPLACED = "replaced"
"""Not a reason to end: another socket carries the call on."""
HANDED_OVER = "handed over"
"""Not a reason to end either: another edge will carry the call on."""

_FRAMES_OUT = metrics.FRAMES.labels("out")
_FRAMES_REFUSED = metrics.FRAMES_DROPPED.labels("duplicate or no room")


class Call:
    """From the carrier's `start` to the end.

    `stopping` is set when we want the call to end, `ended` when it has, each once and with the reason; `broken` when
    the connection is gone and nobody said that the call is over (true: after a goodbye): it may come back.
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
        """Raises BadFrame if the stream's audio cannot be used."""
        self.record = record
        self.call_id = record.call_id
        self.stopping: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.broken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._epoch = record.epoch
        self._socket = socket
        self._bus = bus
        self._ticker = ticker
        self._commands = stream_protocol.Commands(start.stream_id)
        self._publisher = UplinkPublisher(bus, record, options.position_ms, self._heard_so_far)
        audio = UplinkDecoder(start.media_format or stream_protocol.MediaFormat())
        self._uplink = Uplink(audio, self._publisher, ticker, self._media_began, options.pace)
        self.ended.add_done_callback(lambda ended: self._uplink.close())
        self.turn = Turn(options.interruptible)
        """Whose turn it is; for others to read only."""
        self._playout = Playout(options.lead_ms)
        self._held = HeldReply()
        self._late_speech = LateSpeechFilter(self._caller_speaks)
        self._latency = TurnLatency(record)
        self._events = call_events(record.call_id)
        self.fences = Fences(self._late_speech.forget)
        self._slot = -1  # the ticker's slot in which we are woken next
        now = self.began_ms = ticker.now_ms()
        self.limits = CallLimits(options, now)
        self._options = options
        self._playout.not_before_ms = options.plays_from_ms(now, record.epoch)
        self._disconnected_ms, self._clears = float("inf"), 0  # when the connection went: nothing is heard after it
        self._interruption = Interrupted(0, 0, 0)  # the newest
        bus.publish(self._events, CallStarted(self._epoch, record.edge, wall_ms(), True, options.heard))

    def __repr__(self) -> str:
        return f"<Call {self.call_id} epoch {self._epoch} turn {self.turn.turn} held {self._playout.held_frames}>"

    # --- from the carrier ---------------------------------------------------------------------------------------

    def receive(self, event: stream_protocol.Event) -> None:
        """One event from the socket."""
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

    def feed_silence(self) -> None:
        """20 ms of silence, for want of a connection (bridge.py)."""
        self._publisher.fill()

    def closed(self) -> None:
        """The carrier says that the stream is over: we stopped it, or the caller hung up."""
        self.end(self.stopping.result() if self.stopping.done() else "caller hung up")

    def disconnected(self, clean: bool) -> None:
        """The socket is gone, with a goodbye (`clean`) or without.

        That is no end of the call: a proxy closes sockets, too, and the carrier may come back.
        """
        if self.stopping.done():
            self.end(self.stopping.result())
        elif not self.ended.done() and not self.broken.done():
            self._uplink.close()
            self._disconnected_ms = self._ticker.now_ms()
            self.broken.set_result(clean)

    def _played(self, name: str) -> None:
        if (checkpoint := checkpoint_of(name, range(self.record.epoch, self._epoch + 1))) is None:
            return
        self._playout.played(checkpoint)
        self._publish(ClausePlayed(checkpoint.turn, checkpoint.clause))
        self._perform(self.turn.clause_heard(checkpoint.turn, checkpoint.clause))

    # --- from the bus -------------------------------------------------------------------------------------------

    def play(self, audio: AudioOut) -> None:
        """Frames from a mouth."""
        if not self._admits(audio):
            metrics.FRAMES_DROPPED.labels("stale").inc(len(audio.mulaw) // FRAME_BYTES)
            return
        if audio.held and not self._held.released(audio.turn):
            if not self._held.keep(audio):
                _FRAMES_REFUSED.inc(len(audio.mulaw) // FRAME_BYTES)
            return
        self._play_held(audio.turn)
        self._play(audio)

    def release(self, release: ReplyReleased) -> None:
        """The caller is done, and what was prepared is the answer."""
        self._held.release(release.turn)
        self._latency.released(release.turn, release.stage_ms)
        self._play_held(release.turn)

    def _play_held(self, turn: int) -> None:
        """Play what was kept of this reply."""
        for message in self._held.take(turn):
            self._play(message) if isinstance(message, AudioOut) else self._complete(message)

    def _play(self, audio: AudioOut) -> None:
        self._perform(self.turn.audio_arrived(audio.turn, audio.answers))
        self._latency.arrived(audio.turn, audio.stage_ms)
        refused = self._playout.push(audio.turn, audio.clause, audio.seq, audio.mulaw, audio.last)
        _FRAMES_REFUSED.inc(refused)
        self._schedule()

    def reply_synthesized(self, reply: ReplySynthesized) -> None:
        """A mouth has sent all of a reply."""
        if not self._admits(reply):
            return
        if reply.held and not self._held.released(reply.turn):
            self._held.keep(reply)
            return
        self._play_held(reply.turn)
        self._complete(reply)

    def _complete(self, reply: ReplySynthesized) -> None:
        newest_turn, newest_clause = self._playout.newest_clause
        last_clause = newest_clause if newest_turn == reply.turn else -1
        self._perform(self.turn.reply_complete(reply.turn, last_clause, reply.then))

    def speech_started(self, speech: SpeechStarted) -> None:
        """The ears hear the caller: the agent stops now, unless that is old news."""
        self._late_speech.started(speech, self._publisher.position_ms)

    def _caller_speaks(self, speech: SpeechStarted) -> None:
        if self.ended.done():
            return
        now = self._ticker.now_ms()
        self.limits.active(now)
        self._playout.not_before_ms = 0  # they are there
        clears = self._clears
        self._perform(self.turn.caller_speaks(speech.utterance, self._playout.started_turn, now, speech.words))
        if self._clears > clears and speech.at_ms:
            metrics.CLEAR_SECONDS.observe(max(0, wall_ms() - speech.at_ms) / 1000)

    def speech_ended(self, speech: SpeechEnded) -> None:
        """The ears hear the caller no more: what was held may play."""
        now = self._ticker.now_ms()
        self.limits.active(now)
        self._late_speech.ended(speech)
        self._perform(self.turn.caller_silent(speech.utterance, now))

    def words_detected(self, speech: WordsDetected) -> None:
        """What the ears hear has words."""
        self._perform(self.turn.words_detected(speech.utterance))

    def _admits(self, message: AudioOut | ReplySynthesized) -> bool:
        """Is it of this epoch, of the newest mouth, and of a reply that may still be heard?"""
        known = message.epoch == self._epoch and self.turn.admits(message.turn)
        return known and self.fences.admits("tts", message.token)

    # --- time ---------------------------------------------------------------------------------------------------

    def wake(self, now: float) -> None:
        """Send what is due."""
        if now < (self._slot - 1) * SLOT_MS or self.ended.done() or self.broken.done():
            return  # an older order, and the one that counts is still to come; or nobody is there any more
        self._slot = -1
        messages: list[bytes] = []
        frames = 0
        for out in self._playout.due(now):
            match out:
                case PlayFrame(mulaw):
                    frames += 1
                    messages.append(self._commands.play(mulaw))
                case Checkpoint():
                    messages.append(self._commands.checkpoint(name_of(out, self._epoch)))
                case Begin(turn):
                    self._begin(turn)
        if messages:
            self.limits.active(now)
            self._socket.send_texts(messages)
            _FRAMES_OUT.inc(frames)
        self._schedule()

    def housekeep(self, now: float) -> None:
        """About once a second: limits, and answers that never came."""
        for checkpoint in self._playout.overdue(now, self._uplink.alive_ms):
            self._perform(self.turn.clause_heard(checkpoint.turn, checkpoint.clause))
        self._wake_turn(now)
        if is_unreachable(now, self._uplink.alive_ms, self._socket.unsent_bytes):
            self.end("carrier")
        elif not self.broken.done() and (limit := self.limits.passed(now)):
            self.stop(limit)

    def _wake_turn(self, now: float) -> None:
        if not self.ended.done():
            self._perform(self.turn.wake(now))

    def stop(self, reason: str) -> None:
        """We want the call to end: whoever waits for `stopping` tells the carrier; without an answer it ends anyway."""
        if self.stopping.done() or self.ended.done():
            return
        self.stopping.set_result(EndReason.of(reason).value)
        asyncio.get_running_loop().call_later(STOP_SECONDS, self.end, reason)

    def stop_stream(self) -> None:
        """Tell the carrier to close the stream; it goes on with the XML after it."""
        self._socket.send_texts([self._commands.stop()])

    def replaced(self) -> None:
        """The carrier has come back on another socket: this one says no more."""
        if not self.ended.done():
            self.ended.set_result(REPLACED)

    def hand_over(self) -> None:
        """This edge goes: the carrier shall come back to another one.  All that matters is on the bus."""
        if not self.ended.done() and not self.stopping.done():
            self._playout.drop()
            self.ended.set_result(HANDED_OVER)

    def continue_as(self, epoch: int) -> None:
        """Redis had lost the call, and has it again under its next epoch.  What comes under the last one is stale."""
        self._epoch = epoch
        self.fences.forget()
        self._late_speech.forget()
        self._publisher.continue_as(epoch)

    def end(self, reason: str) -> None:
        """The call is over; only the first reason counts."""
        if self.ended.done():
            return
        reason = EndReason.of(reason).value
        self._latency.closed("call over", wall_ms())
        self._publisher.end()
        self._bus.publish(self._events, CallEnded(self._epoch, reason, wall_ms(), self._publisher.heard))
        self._playout.drop()
        self.ended.set_result(reason)

    @property
    def handed_over(self) -> bool:
        """Has this edge let go of it, for another one?"""
        return self.ended.done() and self.ended.result() == HANDED_OVER

    @property
    def epoch(self) -> int:
        """Which connection of the call this is, from 1; it rises when Redis had lost the call."""
        return self._epoch

    @property
    def frames_in(self) -> int:
        """20 ms frames received from the caller."""
        return self._publisher.frames

    @property
    def turns(self) -> int:
        """Replies that began to play."""
        return self._playout.started_turn

    def _schedule(self) -> None:
        if (due := self._playout.next_due()) is not None and (self._slot < 0 or due < (self._slot - 1) * SLOT_MS):
            self._slot = self._ticker.at(due, self.wake)

    def _begin(self, turn: int) -> None:
        at_ms = wall_ms()
        self._publish(PlaybackStarted(turn, at_ms, self._latency.started(turn, self.turn.answers, at_ms)))

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
        """The caller's ear first, the story second.  What is unheard is kept if the `utterance` may be a cough."""
        cut = self._playout.cut(min(self._ticker.now_ms(), self._disconnected_ms))
        if cut.at_carrier:
            self._socket.send_texts([self._commands.clear()])
            self._clears += 1
        self._interruption = Interrupted(cut.turn, cut.clause, cut.heard_ms, utterance)
        self._publish(self._interruption) if utterance else self._end_reply()

    def _end_reply(self) -> None:
        """It was an interruption.  The story must know: a "mm-hm" that no reply goes on after wants an answer."""
        self._playout.drop()
        self._latency.ended("interrupted", wall_ms())
        self._publish(replace(self._interruption, utterance=0))

    def _heard_so_far(self) -> HeardPosition:
        cut = self._playout.position(min(self._ticker.now_ms(), self._disconnected_ms))
        return (cut.turn, cut.clause, cut.heard_ms) if self.turn.unfinished else ()

    def _publish(self, message: OfConnection) -> None:
        self._bus.publish(self._events, replace(message, epoch=self._epoch))
