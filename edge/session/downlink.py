"""Turns the agent's audio and the caller's speech into what the carrier plays, for one connection.  Pure.

    play ──▶ admitted? ──▶ HeldReply, until its release ──▶ Turn ──▶ Playout ──wake──▶ Send
    caller_speaks ──▶ Turn ──▶ Playout.cut ──▶ ClearAudio, Publish(Interrupted)

Each method takes one event and returns what to do, in order.  After each of them, ask `next_due` when to call `wake`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from msgspec.structs import replace

from common.call.end_reasons import EndReason
from common.protocol.fields import HeardPosition, StageMs
from common.protocol.messages import (
    AudioOut,
    ClausePlayed,
    Interrupted,
    OfConnection,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
    ReplySynthesized,
)
from edge.media.checkpoints import checkpoint_of, name_of
from edge.media.playout import FRAME_BYTES, Checkpoint, Playout
from edge.session.call_options import CallOptions
from edge.session.fences import Fences
from edge.session.held_reply import HeldReply, Part
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
from edge.vobiz.stream_protocol import Commands


@dataclass(frozen=True, slots=True)
class Send:
    """Send these messages to the carrier, in one write; `frames` of them are 20 ms of audio."""

    messages: list[bytes]
    frames: int


@dataclass(frozen=True, slots=True)
class ClearAudio:
    """Send this `clearAudio` to the carrier, before anything is published."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this event of the connection; its epoch is to be filled in."""

    message: OfConnection


@dataclass(frozen=True, slots=True)
class Arrived:
    """The first audio of a reply that may be played arrived, with its stage times."""

    turn: int
    stage_ms: StageMs


@dataclass(frozen=True, slots=True)
class Began:
    """The first frame of reply `turn`, which answers `utterance`, is in the next `Send`."""

    turn: int
    utterance: int


@dataclass(frozen=True, slots=True)
class ReplyOver:
    """The reply is over: it was "heard" to its end, or "interrupted"."""

    outcome: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Frames were dropped, for this reason (a label of `voice_frames_dropped_total`)."""

    frames: int
    reason: str


@dataclass(frozen=True, slots=True)
class StopCall:
    """The reply was the agent's last: end the call."""

    reason: str


Output: TypeAlias = Send | ClearAudio | Publish | Arrived | Began | ReplyOver | Dropped | StopCall | Wake
REFUSED = "duplicate or no room"


class Downlink:
    """The downlink of one connection.  `now` is in ms of any one monotonic clock."""

    def __init__(self, stream_id: str, epoch: int, options: CallOptions, fences: Fences, now: float) -> None:
        self.commands = Commands(stream_id)
        self.turn = Turn(options.interruptible)
        """State of the turns; others may only read it."""
        self._epochs = range(epoch, epoch + 1)  # of this connection; more than one after Redis has lost the call
        self._fences = fences
        self._greeting_after_ms = options.greeting_after_ms
        self._playout = Playout(options.lead_ms)
        self._playout.not_before_ms = options.plays_from_ms(now, epoch)
        self._held = HeldReply()
        self._disconnected_ms = float("inf")  # the caller hears nothing after the disconnection
        self._interruption = Interrupted(0, 0, 0)  # the newest

    # --- from the TTS worker --------------------------------------------------------------------------------------

    def play(self, audio: AudioOut, now: float) -> list[Output]:
        """Take frames of a reply."""
        frames = len(audio.mulaw) // FRAME_BYTES
        if not self._admits(audio):
            return [Dropped(frames, "stale")]
        if (parts := self._held.admit(audio)) is None:
            return [Dropped(frames, REFUSED)]
        return self._play_parts(parts, now)

    def reply_synthesized(self, reply: ReplySynthesized, now: float) -> list[Output]:
        """A TTS worker has sent all audio of a reply."""
        return self._play_parts(self._held.admit(reply) or [], now) if self._admits(reply) else []

    def release(self, release: ReplyReleased, now: float) -> list[Output]:
        """The caller's turn is over, and the reply that was held is its answer: play it."""
        self._held.release(release.turn)
        return self._play_parts(self._held.take(release.turn), now)

    def _admits(self, message: AudioOut | ReplySynthesized) -> bool:
        """Whether it is of this epoch, of the newest TTS worker, and of a reply that may still be heard."""
        known = message.epoch == self._epochs[-1] and self.turn.admits(message.turn)
        return known and self._fences.admits("tts", message.token)

    def _play_parts(self, parts: list[Part], now: float) -> list[Output]:
        out: list[Output] = []
        for part in parts:
            out += self._play(part, now) if isinstance(part, AudioOut) else self._complete(part, now)
        return out

    def _play(self, audio: AudioOut, now: float) -> list[Output]:
        interruptible = None if audio.interruptible < 0 else audio.interruptible > 0
        out = self._perform(self.turn.audio_arrived(audio.turn, audio.answers_utterance, interruptible), now)
        if audio.stage_ms:
            out.append(Arrived(audio.turn, audio.stage_ms))
        if refused := self._playout.push(audio.turn, audio.clause, audio.seq, audio.mulaw, audio.last, audio.sound):
            out.append(Dropped(refused, REFUSED))
        return out

    def _complete(self, reply: ReplySynthesized, now: float) -> list[Output]:
        newest_turn, newest_clause = self._playout.newest_clause
        last_clause = newest_clause if newest_turn == reply.turn else -1
        return self._perform(self.turn.reply_complete(reply.turn, last_clause, reply.then), now)

    # --- to the carrier -------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When frames are due; None: not before another event."""
        return self._playout.next_due()

    def wake(self, now: float) -> list[Output]:
        """The frames and checkpoints that are due at `now`."""
        out: list[Output] = []
        messages: list[bytes] = []
        frames = 0
        for each in self._playout.due(now):
            if isinstance(each, bytes):
                frames += 1
                messages.append(self.commands.play(each))
            elif isinstance(each, Checkpoint):
                messages.append(self.commands.checkpoint(name_of(each, self._epochs[-1])))
            else:
                out.append(Began(each.turn, self.turn.answers))
        if messages:
            out.append(Send(messages, frames))
        return out

    def media_began(self, now: float) -> None:
        """The carrier's first media arrived: the caller hears us, or will after a moment."""
        self._playout.not_before_ms = min(self._playout.not_before_ms, now + self._greeting_after_ms)

    # --- from the carrier: what was played ------------------------------------------------------------------------

    def played(self, name: str, now: float) -> list[Output]:
        """The carrier has played everything up to the checkpoint of this name."""
        if (checkpoint := checkpoint_of(name, self._epochs)) is None:
            return []
        self._playout.played(checkpoint)
        return self._heard(checkpoint, now)

    def _heard(self, checkpoint: Checkpoint, now: float) -> list[Output]:
        heard = Publish(ClausePlayed(checkpoint.turn, checkpoint.clause))
        return [heard, *self._perform(self.turn.clause_heard(checkpoint.turn, checkpoint.clause), now)]

    def cleared(self) -> None:
        """The carrier answered `clearAudio`."""
        self._playout.cleared()

    def housekeep(self, now: float, alive_ms: float) -> list[Output]:
        """Take overdue checkpoints for played, and wake the turn; call about once a second.

        `alive_ms` is when the carrier last sent anything.
        """
        out: list[Output] = []
        for checkpoint in self._playout.overdue(now, alive_ms):
            out += self._heard(checkpoint, now)
        return out + self.wake_turn(now)

    def key_pressed(self, now: float) -> list[Output]:
        """The caller pressed a key, which interrupts the agent."""
        self._playout.not_before_ms = 0  # the caller is listening
        return self._perform(self.turn.key_pressed(self._playout.started_turn), now)

    # --- from the STT worker --------------------------------------------------------------------------------------

    def caller_speaks(self, utterance: int, now: float) -> list[Output]:
        """The caller began to speak, which may interrupt the agent."""
        self._playout.not_before_ms = 0  # the caller is listening
        effects = self.turn.caller_speaks(utterance, self._playout.started_turn, now)
        return self._perform(effects, now)

    def caller_silent(self, utterance: int, now: float) -> list[Output]:
        """The caller fell silent: audio that waited may play."""
        return self._perform(self.turn.caller_silent(utterance, now), now)

    def words_detected(self, utterance: int, now: float) -> list[Output]:
        """The caller's speech has words: it is an interruption, not a cough."""
        return self._perform(self.turn.words_detected(utterance), now)

    def wake_turn(self, now: float) -> list[Output]:
        """The time of a `Wake` has come."""
        return self._perform(self.turn.wake(now), now)

    def _perform(self, effects: list[Effect], now: float) -> list[Output]:
        out: list[Output] = []
        for effect in effects:
            match effect:
                case Interrupt(utterance):
                    out += self._interrupt(utterance, now)
                case DiscardReply():
                    out += self._end_reply()
                case ResumeReply(turn, utterance):
                    out.append(Publish(ReplyResumed(turn, utterance)))
                case Wake():
                    out.append(effect)
                case PauseOutput():
                    self._playout.paused = True
                case ResumeOutput():
                    self._playout.paused = False
                case Finish(turn, then):
                    out += [ReplyOver("heard"), Publish(ReplyPlayed(turn))]
                    if then == "hangup":
                        out.append(StopCall(EndReason.AGENT_HUNG_UP))
        return out

    def _interrupt(self, utterance: int, now: float) -> list[Output]:
        """Clear the carrier's queue first, then publish.  Unheard audio is kept while `utterance` may be a cough."""
        cut = self._playout.cut(min(now, self._disconnected_ms))
        self._interruption = Interrupted(cut.turn, cut.clause, cut.heard_ms, utterance)
        events = [Publish(self._interruption)] if utterance else self._end_reply()
        return [ClearAudio(self.commands.clear()), *events] if cut.at_carrier else [*events]

    def _end_reply(self) -> list[Output]:
        """It was an interruption; the event log records it, since a "mm-hm" after which no reply resumes needs one."""
        self._playout.drop()
        return [ReplyOver("interrupted"), Publish(replace(self._interruption, utterance=0))]

    # --- the connection -------------------------------------------------------------------------------------------

    def disconnected(self, now: float) -> None:
        """The connection is gone: the caller hears nothing more of it."""
        self._disconnected_ms = now

    def continue_as(self, epoch: int) -> None:
        """Redis had lost the call and has it again under `epoch`.  Audio of the epoch before is stale."""
        self._epochs = range(self._epochs[0], epoch + 1)

    def drop(self) -> None:
        """Discard the audio that was not sent."""
        self._playout.drop()

    def heard(self, now: float) -> HeardPosition:
        """How much of the unfinished reply the caller has heard; empty if there is none."""
        if not self.turn.unfinished:
            return ()
        cut = self._playout.position(min(now, self._disconnected_ms))
        return (cut.turn, cut.clause, cut.heard_ms)

    @property
    def started_turn(self) -> int:
        """Number of the newest reply that began to play."""
        return self._playout.started_turn

    @property
    def held_frames(self) -> int:
        """Frames of 20 ms that wait to be sent."""
        return self._playout.held_frames
